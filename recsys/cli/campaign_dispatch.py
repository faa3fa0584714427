"""`recsys campaign dispatch`: sends what is due."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.campaign_bank import open_bank, open_desk
from recsys.cli.terminal import JsonOption, emit, make_progress
from recsys.home import Home

if TYPE_CHECKING:
    from serving.campaigns.channels import Channel
    from serving.campaigns.dispatcher import Bank
    from serving.store.database import Store


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("dispatch")(dispatch)


def dispatch(
    context: typer.Context,
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="CHANNEL=TARGET, a folder, an http address or smtp://HOST:PORT/DOMAIN; default: folders in the home."
        ),
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between looks; 0: look once and end.")] = 0.0,
    now: Annotated[str | None, typer.Option(help="Another present, for trials on old data: ISO 8601.")] = None,
    sender: Annotated[str, typer.Option(help="Who mails are from.")] = "offers@bank.example",
    as_json: JsonOption = False,
) -> None:
    """Send what is due, if at this moment it still may: consent, caps, quiet hours, suitability, approved words.

    A dispatcher that is killed loses nothing, and several may run side by side.

    Example: recsys campaign dispatch

    Example: recsys campaign dispatch --to email=smtp://127.0.0.1:1025/gateway.example --to app=out/app --every 10
    """
    import os
    import time

    from serving.campaigns.dispatcher import Dispatcher

    home: Home = context.obj
    total: Counter[str] = Counter()
    with make_progress() as progress, open_desk(home) as desk:
        progress.add_task("dispatching", total=None)
        while True:
            present = datetime.now(UTC) if now is None else _instant(now)
            store = desk.store
            channels = _channels(home, store, to or [], sender)
            counts = Dispatcher(_bank(home, store), channels, f"dispatcher-{os.getpid()}").run_once(present)
            total.update(counts)
            if not every:
                break
            time.sleep(every)
    lines = [f"{name}: {count:,}" for name, count in sorted(total.items())] or ["nothing is due"]
    emit({"counts": dict(total)}, as_json, lines)


def _bank(home: Home, store: "Store") -> "Bank":
    """The champion, the policy and the catalogue of now, and the versions of its creatives."""
    from recsys.campaigns.content.facts import facts_of
    from serving.campaigns.dispatcher import Bank
    from serving.live_catalogue import open_live_catalogue
    from serving.loading import load_champion
    from serving.store.tables import campaign_variants

    with store.reading() as connection:
        used = connection.scalars(campaign_variants.select().with_only_columns(campaign_variants.c.content_id)).all()
    bank = open_bank(home, None)
    variants = bank.creatives(sorted(set(used))).variants
    served = open_live_catalogue(store, home).assemble(load_champion(home.path))
    versions = {one["content_id"]: (one["content_hash"], one["product_version"]) for one in variants}
    facts = {row["product_id"]: facts_of(row).version for row in bank.product_rows()}
    return Bank(store, served.pipeline, versions, facts)


def _channels(home: Home, store: "Store", targets: list[str], sender: str) -> "dict[str, Channel]":
    from urllib.parse import urlsplit

    from serving.campaigns.channels import FileDrop, Smtp, Webhook
    from serving.settings import Settings
    from serving.store.tables import campaign_messages

    outbox = FileDrop(home.path / "outbox")
    with store.reading() as connection:
        names = connection.scalars(campaign_messages.select().with_only_columns(campaign_messages.c.channel).distinct())
        found: dict[str, Channel] = dict.fromkeys(names.all(), outbox)
    for target in targets:
        name, _, place = target.partition("=")
        if not name or not place:
            raise typer.BadParameter(f"{target} is not CHANNEL=TARGET", param_hint="--to")
        parts = urlsplit(place)
        if parts.scheme in ("http", "https"):
            found[name] = Webhook(place, Settings(home=home.path).signing_key().encode())
        elif parts.scheme == "smtp":
            domain = parts.path.strip("/")
            if not parts.hostname or not parts.port or not domain:
                raise typer.BadParameter(f"{place} is not smtp://HOST:PORT/DOMAIN", param_hint="--to")
            found[name] = Smtp(parts.hostname, parts.port, sender, domain)
        else:
            found[name] = FileDrop(Path(place))
    return found


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no time such as 2026-11-01T00:00:00Z", param_hint="--now") from error
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text} has no time zone: write 2026-11-01T00:00:00Z", param_hint="--now")
    return instant.astimezone(UTC)
