"""`recsys benchmark`: the model beside its peers, on the same questions of the same split."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from recsys.cli.terminal import ConfigOption, DatasetArgument, SetOption, emit, make_progress
from recsys.home import Home
from recsys.schema import PRODUCT_ID

if TYPE_CHECKING:
    from training.config import TrainConfig

ALL_PEERS = "installed"


def benchmark(
    context: typer.Context,
    directory: DatasetArgument,
    peers: Annotated[
        str,
        typer.Option(
            help="Names with commas: popularity, itemknn, ease, als, bpr, lightgbm, and after `make peers` sasrec and "
            "bert4rec; `installed` is all of them that can run; an empty string is none."
        ),
    ] = ALL_PEERS,
    model: Annotated[bool, typer.Option("--model/--no-model", help="Train and measure our model too.")] = True,
    k: Annotated[int, typer.Option(min=1, help="Length of the lists.")] = 10,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Answers that the dataset does not hold (parquet: customer_id, product_id as a list, boolean columns "
            "as slices): all methods then learn from everything in the dataset."
        ),
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="With --truth: parquet with product_id, the only items to rank.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Our model and its peers on one frozen split, in one table: quality with intervals, seconds and memory.

    Each peer is tuned on validation over a stated grid, refitted on train plus validation, and asked once. Each method
    runs in a process of its own. Nothing is registered or promoted.

    Example: recsys benchmark bank --peers popularity,ease,lightgbm --json table.json

    Example: recsys benchmark movies --truth answers.parquet --no-model
    """
    from recsys.cli.benchmark_report import describe_benchmark
    from recsys.cli.workflows import load_config, require_writable, write_file

    if candidates is not None and truth is None:
        raise typer.BadParameter("--candidates needs --truth: the dataset's own split has its own candidates")
    methods = _methods(peers, model)
    recipe = load_config(config, [*(settings or []), f"evaluation.k={k}"])
    if file is not None:
        require_writable(file)
    report = run_benchmark(context.obj, directory, methods, recipe, (truth, candidates))
    if file is not None:
        write_file(file, json.dumps(report, indent=1))
    emit(report, False, describe_benchmark(report))


def _methods(peers: str, model: bool) -> list[str]:
    from training.benchmark import METHODS, default_peers
    from training.peers.worker import OWN

    named = [name.strip() for name in peers.split(",") if name.strip()]
    chosen = default_peers() if named == [ALL_PEERS] else list(dict.fromkeys(named))
    unknown = [name for name in chosen if name not in METHODS]
    if unknown:
        raise typer.BadParameter(f"--peers: unknown {', '.join(unknown)}; there are {', '.join(METHODS)}")
    chosen = [OWN] * model + chosen
    if not chosen:
        raise typer.BadParameter("nothing to run: name peers, or leave --no-model out")
    return chosen


def run_benchmark(
    home: Home,
    directory: Path,
    methods: list[str],
    recipe: "TrainConfig",
    outside: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    """Features if stale, the task, every method, the report; `outside` is truth and candidates.

    Raises:
        RecsysError: the dataset, the answers or the candidates cannot be used, or a method died.
    """
    from recsys.cli.workflows import build_features_and_materialise
    from training.benchmark import report_contest, run_methods

    started = time.perf_counter()
    with make_progress() as progress, TemporaryDirectory(prefix="recsys-benchmark-") as scratch:
        build_features_and_materialise(home, directory, recipe, progress)
        built = time.perf_counter() - started
        folder = Path(scratch) / "task"
        about = _write_task(home, directory, recipe, outside, folder)
        contest = run_methods(folder, methods, progress)
    return {**about, "features_seconds": built, **report_contest(contest, recipe.evaluation)}


def _write_task(
    home: Home, directory: Path, recipe: "TrainConfig", outside: tuple[Path | None, Path | None], folder: Path
) -> dict[str, Any]:
    """Writes the task and our model's plan; returns what the report says of them."""
    from recsys.cli.workflows import open_dataset
    from training.peers.own import OwnPlan
    from training.peers.preparation import OutsideTruth, prepare_frozen, prepare_outside, with_test_part

    dataset = open_dataset(home, directory)
    truth, candidates = outside
    only: tuple[str, ...] | None = None
    if truth is None:
        dataset = with_test_part(dataset)
        task = prepare_frozen(dataset, home.path, recipe.evaluation.k)
    else:
        task = prepare_outside(dataset, home.path, recipe.evaluation.k, OutsideTruth(truth, candidates))
        if candidates is not None:
            only = tuple(pl.read_parquet(candidates)[PRODUCT_ID].unique().sort().to_list())
    task.save(folder)
    plan = OwnPlan(
        dataset=directory,
        split=dataset.config.split,
        home=home.path,
        recipe=recipe,
        outside=truth is not None,
        candidates=only,
    )
    plan.save(folder)
    measured = "the dataset's test part" if truth is None else f"answers from {truth}"
    return {
        "dataset": dataset.config.name,
        "measured_on": measured,
        "split": dataset.config.split.model_dump(mode="json"),
    }
