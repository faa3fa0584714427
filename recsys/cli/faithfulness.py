"""`recsys faithfulness`: does a score really fall without what a reason names?"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.cli.terminal import DatasetArgument, console, emit
from recsys.home import Home


def faithfulness(
    context: typer.Context,
    directory: DatasetArgument,
    customers: Annotated[int, typer.Option(min=1, help="How many of whom something is known, drawn at random.")] = 200,
    items: Annotated[int, typer.Option(min=1, max=50, help="Explained products of each, and as many creatives.")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="Random removals beside each named one.")] = 8,
    seed: int = 0,
    file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
) -> None:
    """How much an item's score falls without the evidence that its reasons name, beside as much evidence at random.

    Exits with 1 where the 95 % interval of the difference is not above zero.

    Example: recsys faithfulness bank --customers 500 --json faithfulness.json
    """
    from recsys.cli.workflows import require_writable, write_file

    if file is not None:
        require_writable(file)
    with console.status("leaving out what reasons name"):
        report = measure_champion(context.obj, directory, (customers, items, draws, seed))
    if file is not None:
        write_file(file, json.dumps(report, indent=1))
    emit(report, False, _describe(report))
    if not report["faithful"]:
        raise typer.Exit(1)


def measure_champion(home: Home, directory: Path, asked: tuple[int, int, int, int]) -> dict[str, Any]:
    """The report on the champion of a home; `asked` is customers, items, draws and seed as on the command line.

    Raises:
        RecsysError: there is no champion, or nobody of whom anything is known.
    """
    from recsys.bundle import Bundle
    from recsys.cli.workflows import check_schema, open_known
    from training.faithfulness import FaithfulnessConfig
    from training.faithfulness_sample import measure_bundle
    from training.tracking import Tracker

    customers, items, draws, seed = asked
    dataset = open_known(home, directory)
    bundle = Bundle.load(Tracker(home.path).bundle_folder())
    check_schema(home, bundle.manifest.schema_hash)
    config = FaithfulnessConfig(draws=draws, seed=seed)
    return measure_bundle(dataset, home.path, bundle, (customers, items), config).to_json()


def _describe(report: dict[str, Any]) -> list[str]:
    word = "[green]faithful[/green]" if report["faithful"] else "[red]not faithful[/red]"
    lines = [
        f"{word}: {report['reasons']:,} reasons of {report['customers']:,} customers",
        f"  score falls by {report['named']:.3f} without the named evidence, {report['random']:.3f} at random",
        f"  {'difference':<17} {_interval(report['named_minus_random'])}",
    ]
    lines += [f"  {code:<17} {_interval(found)}" for code, found in report["by_code"].items()]
    return lines + [f"  {f'reason {rank}':<17} {_interval(found)}" for rank, found in report["by_rank"].items()]


def _interval(found: dict[str, Any]) -> str:
    return f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]   customers {found['n']:,}"
