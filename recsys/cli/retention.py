"""`recsys retention`: deletes what is past its time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.terminal import JsonOption, console, emit
from recsys.home import Home

if TYPE_CHECKING:
    from recsys.privacy.retention import Expiry


def retention(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="YAML: days for each kind of data.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    now: Annotated[
        str | None, typer.Option(help="The instant to count from, ISO 8601 with a zone; default: now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Delete what is past its time: events, contacts, logs, unused encodings; make old decisions anonymous.

    Example: recsys retention --dry-run --now 2027-01-01T00:00:00Z
    """
    from recsys.privacy.retention import Retention, RetentionConfig

    home: Home = context.obj
    instant = _instant(now)
    settings = RetentionConfig() if config is None else RetentionConfig.from_yaml(config)
    with console.status("looking for what is past its time"):
        expired = Retention(home, settings, stored_kinds(home)).run(instant, dry_run=dry_run)
    word = "would go" if dry_run else "gone"
    lines = [f"{item.removed:>10,} {item.kind} from before {item.before.isoformat()} {word}" for item in expired]
    emit({"now": instant, "dry_run": dry_run, "expired": [item._asdict() for item in expired]}, as_json, lines)


def stored_kinds(home: Home) -> "list[Expiry]":
    """The kinds that lie in the SQL store."""
    from recsys.privacy.retention import Expiry
    from serving.settings import Settings
    from serving.store.database import open_store
    from serving.store.erasure import anonymise_decisions, compact, erase_before
    from serving.store.tables import contacts, events, quarantined_events

    url = Settings(home=home.path).store_url()

    def expire_events(before: datetime, dry_run: bool) -> int:
        with open_store(url) as store:
            kept_apart = erase_before(store, quarantined_events, "received_at", before, dry_run=dry_run)
            return kept_apart + erase_before(store, events, "event_timestamp", before, dry_run=dry_run)

    def expire_contacts(before: datetime, dry_run: bool) -> int:
        with open_store(url) as store:
            return erase_before(store, contacts, "contacted_at", before, dry_run=dry_run)

    def expire_decisions(before: datetime, dry_run: bool) -> int:
        with open_store(url) as store:
            count = anonymise_decisions(store, before, dry_run=dry_run)
            if not dry_run:
                compact(store)
            return count

    return [
        Expiry("events", expire_events),
        Expiry("contacts", expire_contacts),
        Expiry("decisions", expire_decisions),
    ]


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no time such as 2027-01-01T00:00:00Z", param_hint="--now") from error
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text} has no time zone: write 2027-01-01T00:00:00Z", param_hint="--now")
    return instant.astimezone(UTC)
