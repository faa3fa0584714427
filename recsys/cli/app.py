"""One Typer command per verb. Every verb imports what it needs when it runs, so that `--help` is quick."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli.ablate import ablate
from recsys.cli.audit import audit_commands
from recsys.cli.benchmark import benchmark
from recsys.cli.benchmark_serving import benchmark_serving
from recsys.cli.campaign import campaign_commands
from recsys.cli.erase import erase
from recsys.cli.export_events import export_events
from recsys.cli.fairness import fairness
from recsys.cli.faithfulness import faithfulness
from recsys.cli.model_card import model_card
from recsys.cli.openapi import openapi
from recsys.cli.people import People, TrainerOption
from recsys.cli.promote import promote
from recsys.cli.quarantine import quarantine
from recsys.cli.retention import retention
from recsys.cli.terminal import (
    ConfigOption,
    DatasetArgument,
    JsonOption,
    SetOption,
    console,
    emit,
    make_progress,
    plain,
)
from recsys.errors import RecsysError
from recsys.home import Home
from recsys.schema import Kind

app = typer.Typer(
    name="recsys",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="An open, multimodal, lawful recommendation engine for banks. Start with [bold]recsys demo[/bold].",
)
importers = typer.Typer(no_args_is_help=True, help="Bring a public dataset into the data contract.")
app.add_typer(importers, name="import")
app.add_typer(audit_commands(), name="audit")
app.add_typer(campaign_commands(), name="campaign")
app.command()(ablate)
app.command()(benchmark)
app.command("benchmark-serving")(benchmark_serving)
app.command()(erase)
app.command("export-events")(export_events)
app.command("quarantine")(quarantine)
app.command()(fairness)
app.command("model-card")(model_card)
app.command()(promote)
app.command()(faithfulness)
app.command()(retention)
app.command()(openapi)


@app.callback()
def choose_home(
    context: typer.Context,
    home: Annotated[
        Path, typer.Option("--home", envvar="RECSYS_HOME", help="Where features, models and decisions live.")
    ] = Path(".recsys"),
) -> None:
    """Remembers the state directory for the verb."""
    context.obj = Home(home)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.")],
    customers: Annotated[int, typer.Option(min=20)] = 5000,
    products: Annotated[int, typer.Option(min=10)] = 80,
    days: Annotated[int, typer.Option(min=30)] = 180,
    language: Annotated[str, typer.Option(help="Language of the texts: en or zh.")] = "en",
    seed: int = 7,
    as_json: JsonOption = False,
) -> None:
    """Write a bank that does not exist, with the truth that it was drawn from.

    Example: recsys simulate --out bank --customers 1000 --days 120
    """
    from recsys.simulator import SimulatorConfig, simulate

    values = {"customers": customers, "products": products, "days": days, "language": language, "seed": seed}
    config = SimulatorConfig.parse(values, source="recsys simulate")
    with make_progress() as progress:
        report = simulate(config, out, progress)
    rows = dict(report.rows)
    emit({"out": str(out), "rows": rows}, as_json, [f"wrote {out}", *(f"  {n:>10,} {t}" for t, n in rows.items())])


@importers.command("movielens")
def import_movielens_command(
    source: Annotated[Path, typer.Argument(help="MovieLens-100K as distributed (u.data, u.item, u.user).")],
    out: Annotated[Path, typer.Option("--out", help="The dataset directory to write; must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """MovieLens-100K, with posters and plot texts where they lie beside it.

    Example: recsys import movielens ml-100k --out movies
    """
    from recsys.data.importers.movielens import import_movielens

    with make_progress() as progress:
        dataset = import_movielens(source, out, progress)
    emit({"out": str(out), "name": dataset.config.name}, as_json, [f"wrote {out} ({dataset.config.name})"])


@importers.command("bank-marketing")
def import_bank_marketing_command(
    source: Annotated[Path, typer.Argument(help="Bank Marketing as distributed (bank-additional-full.csv).")],
    out: Annotated[Path, typer.Option("--out", help="The dataset directory to write; must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """UCI's Bank Marketing: telephone contacts of a real bank about a term deposit, with their outcomes.

    Example: recsys import bank-marketing bank-additional --out contacts
    """
    from recsys.data.importers.bank_marketing import import_bank_marketing

    dataset = import_bank_marketing(source, out)
    emit({"out": str(out), "name": dataset.config.name}, as_json, [f"wrote {out} ({dataset.config.name})"])


@app.command()
def validate(directory: DatasetArgument, as_json: JsonOption = False) -> None:
    """Check a dataset against the data contract; all findings at once. Exits with 1 if there are any.

    Example: recsys validate bank
    """
    from recsys.data.validation import validate as check

    with make_progress() as progress:
        report = check(directory, progress)
    lines = [*(f"[red]✗[/red] {plain(finding)}" for finding in report.findings)]
    lines += [f"[yellow]note[/yellow] {plain(note)}" for note in report.notes]
    lines.append("[green]keeps the contract[/green]" if report.ok else f"[red]{len(report.findings)} finding(s)[/red]")
    rows = {str(table): count for table, count in report.rows.items()}
    result = {"ok": report.ok, "findings": report.findings, "notes": report.notes, "rows": rows}
    emit(result, as_json, lines)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def features(
    context: typer.Context,
    directory: DatasetArgument,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the feature tables, apply and materialise the feature repo. Does nothing if nothing is new.

    Example: recsys features bank --set features.text.model=e5
    """
    from recsys.cli.workflows import build_features_and_materialise, load_config

    with make_progress() as progress:
        result = build_features_and_materialise(context.obj, directory, load_config(config, settings or []), progress)
    word = "built" if result["changed"] else "nothing new: features are up to date"
    lines = [word, *(f"  {rows:>10,} {view}" for view, rows in result["rows"].items())]
    lines += [f"  missing: {count:,} {what}" for what, count in result["missing"].items() if count]
    emit(result, as_json, lines)


@app.command()
def train(
    context: typer.Context,
    directory: DatasetArgument,
    config: ConfigOption = None,
    settings: SetOption = None,
    trainer: TrainerOption = None,
    approver: Annotated[str | None, typer.Option(help="Who approves the version if its gate passes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train, evaluate on the frozen split, log to MLflow, register, and promote if the gate passes.

    Where the bank's policy pack asks for a second approver, the version waits for `recsys promote` unless --approver
    names somebody other than the trainer.

    Example: recsys train bank --set loop.seed=1

    Example: recsys train bank --trainer ann --approver bob
    """
    from recsys.cli.report import describe_evaluation, describe_registration
    from recsys.cli.workflows import load_config, train_and_register

    with make_progress() as progress:
        people = People.of_process(trainer, approver)
        result = train_and_register(context.obj, directory, load_config(config, settings or []), progress, people)
    emit(result, as_json, [*describe_evaluation(result["evaluation"]), *describe_registration(result)])


@app.command()
def evaluate(
    context: typer.Context,
    directory: DatasetArgument,
    file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
) -> None:
    """The champion and the baselines on the frozen split, with bootstrap intervals and slices.

    Example: recsys evaluate bank --json report.json
    """
    from recsys.cli.report import describe_evaluation
    from recsys.cli.workflows import evaluate_champion, require_writable, write_file

    if file is not None:
        require_writable(file)
    with console.status("measuring the champion"):
        report = evaluate_champion(context.obj, directory)
    if file is not None:
        write_file(file, json.dumps(report, indent=1))
    emit(report, False, describe_evaluation(report))


@app.command()
def recommend(
    context: typer.Context,
    directory: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", help="The parquet file to write.")],
    customers: Annotated[str, typer.Option(help="`all`, or a file of ids: text, one a line, or parquet.")] = "all",
    kind: Annotated[Kind, typer.Option(help="What to rank.")] = Kind.PRODUCTS,
    k: Annotated[int, typer.Option(min=1, help="How many for each customer.")] = 10,
    candidates: Annotated[
        Path | None, typer.Option(help="A file of ids (text or parquet): the only items allowed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ranked lists for many customers, by the champion and within the policy.

    Example: recsys recommend bank --customers all --kind products --k 10 --out lists.parquet
    """
    from recsys.cli.workflows import recommend_batch

    with make_progress() as progress:
        result = recommend_batch(context.obj, directory, (customers, kind, k, candidates), out, progress)
    modes = ", ".join(f"{count:,} {mode}" for mode, count in result["modes"].items())
    lines = [f"wrote {out}: {result['rows']:,} rows for {result['customers']:,} customers ({modes})"]
    if result["refused_version"] is not None:
        lines.append("  no version passed its gate (`recsys model-card challenger` says why): by popularity alone")
    if result["short_lists"]:
        lines.append(f"  {result['short_lists']:,} lists are shorter than {k}: the policy left no more candidates")
    emit(result, as_json, lines)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(envvar="RECSYS_HOST", help="Others than this machine's: see RECSYS_MODE.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="RECSYS_PORT")] = 8000,
    workers: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Serve the champion over HTTP.

    Example: recsys serve --port 8080 --workers 2
    """
    from recsys.cli.workflows import serve_champion

    serve_champion(context.obj, host, port, workers, console)


@app.command()
def token(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option(help="For this customer only.")] = None,
    service: Annotated[str | None, typer.Option(help="For a service, which may ask about any customer.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Repeatable; default: read and events.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a bearer token for the local server.

    Example: recsys token --customer C000001
    """
    from recsys.cli.workflows import issue_local_token

    if (customer is None) == (service is None):
        raise typer.BadParameter("name one of --customer ID and --service NAME")
    bearer = issue_local_token(context.obj, customer, service, scope)
    sys.stdout.write((json.dumps({"token": bearer}) if as_json else bearer) + "\n")


@app.command()
def demo(
    context: typer.Context,
    serve_after: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve at the end.")] = True,
    customers: Annotated[int, typer.Option(min=20)] = 5000,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Simulate a bank, build features, train, promote and serve.

    Example: recsys demo --no-serve
    """
    from recsys.cli.demo import run_demo
    from recsys.cli.workflows import serve_champion

    run_demo(context.obj, customers, port, console, make_progress)
    if serve_after:
        serve_champion(context.obj, "127.0.0.1", port, 1, console)


def prepare_process() -> None:
    """What has to be set before the heavy libraries load.

    Threads of torch that wait must sleep: spinning, they made an epoch 15 times slower beside another busy process.
    MLflow's bars and migrations, and what libraries call deprecated in each other, would only bury ours.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # its import sets the level of its loggers anew
    for name in ("alembic", "mlflow", "torch.fx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    show = warnings.showwarning

    def show_others(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, DeprecationWarning):
            show(message, category, *place, **more)

    warnings.showwarning = show_others  # a filter would not last: Feast's import puts its own before it


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line: exit code 0 done, 1 the input is at fault, 2 the call is at fault.

    Args:
        arguments: instead of those of the process.
    """
    prepare_process()
    try:
        app(args=arguments)
    except RecsysError as error:
        Console(stderr=True).print(f"[red]error:[/red] {plain(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


def run() -> None:
    """The process's entry point: `main`, then an exit that skips the interpreter's teardown.

    DuckDB's bindings print some sixty lines about types that they themselves leak when the interpreter is torn down
    after a point-in-time join. Nothing of ours waits for that teardown: files are closed, transactions committed.
    """
    code: int | str | None = 0
    try:
        main()
    except SystemExit as exit_:
        code = exit_.code
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
