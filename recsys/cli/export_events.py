"""`recsys export-events`: brings what the app reported back into a dataset, for the next training."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, emit, make_progress
from recsys.home import Home


def export_events(
    context: typer.Context,
    since: Annotated[
        str, typer.Option(help="Events that were received from then on: ISO 8601 with a zone.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The home's dataset directory, which is appended to.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Append the events that the service took in to the dataset, each once, with position, channel and propensity.

    Products and creatives that were put over the API come along, as they are now.

    Doing it twice adds nothing. Afterwards `recsys train DATASET` learns from them.

    Example: recsys export-events --since 2026-11-01T00:00:00Z --out bank
    """
    from recsys.data.contract import Dataset
    from recsys.privacy.suppression import SuppressionList
    from serving.decision_log import JOURNAL_FOLDER, drain_left_over
    from serving.export import Exporter
    from serving.export_catalogue import export_catalogue
    from serving.settings import Settings
    from serving.store.database import open_store

    home: Home = context.obj
    instant = _instant(since)
    dataset = Dataset.open(out)
    home.require_owner(dataset.config.name)
    with make_progress() as progress, open_store(Settings(home=home.path).store_url()) as store:
        drain_left_over(home.path / JOURNAL_FOLDER, store)  # decisions that a killed server left in its journal
        items = export_catalogue(store, dataset)  # first: events are about them
        report = Exporter(store, dataset, SuppressionList(home).__contains__).run(instant, progress)
    lines = [
        f"added {report.added:,} of {report.read:,} event(s) to {out}, {report.with_propensity:,} with a propensity",
        f"  {report.already_there:,} were there already",
        f"  {items:,} row(s) of products and creatives that were put over the API",
        *(f"  {count:,} left out: {reason}" for reason, count in report.skipped.items()),
    ]
    emit({"out": str(out), "since": instant, "items": items, **report._asdict()}, as_json, lines)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no time such as 2026-11-01T00:00:00Z", param_hint="--since") from error
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text} has no time zone: write 2026-11-01T00:00:00Z", param_hint="--since")
    return instant.astimezone(UTC)
