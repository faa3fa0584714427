"""`recsys campaign export`: a plan for somebody outside."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.terminal import JsonOption, emit
from recsys.home import Home

if TYPE_CHECKING:
    from serving.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("export")(export)


def export(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="A plan's directory.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.", show_default=False)],
    formats: Annotated[list[str] | None, typer.Option("--format", help="csv, parquet; default: both.")] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="RECSYS_TOKEN", help="A bearer token with the scope campaigns:export.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a plan under pseudonyms, with a manifest of sha256, where the scope campaigns:export allows it.

    No customer id, no salt and no cell that a spreadsheet would run is in it. In production a token with the scope is
    needed, in local mode none. Who took it, and who tried without the scope, is in the home's campaign_exports.jsonl.

    Example: recsys campaign export plan --out for-the-agency --format csv

    Example: RECSYS_TOKEN=$(recsys token --service ann --scope campaigns:export) recsys campaign export plan --out there
    """
    from recsys.campaigns.export import FORMATS
    from recsys.cli.campaign_bank import open_desk
    from recsys.cli.workflows import require_writable
    from serving.campaigns.desk import Exporter
    from serving.settings import read_settings

    home: Home = context.obj
    settings = read_settings(home=home.path)
    by = _authorised(settings, token, plan)
    require_writable(out)
    exporter = Exporter(home.path, settings.signing_key().encode(), by)
    with open_desk(home) as desk:
        manifest = desk.export(plan, out, exporter, tuple(formats or FORMATS))
    lines = [
        f"exported {manifest['rows']:,} assignment(s) of {manifest['campaign_id']} to {out}",
        f"  {len(manifest['files'])} files, their sha256 in manifest.json; customers are pseudonyms",
    ]
    emit({"out": str(out), **manifest}, as_json, lines)


def _authorised(settings: "Settings", token: str | None, plan: Path) -> str:
    """Who exports; a refusal is in the log before it is told."""
    from datetime import UTC, datetime

    from recsys.campaigns.export_log import log_refusal
    from recsys.cli.people import local_user
    from serving.auth.staff import RefusedError, authorise
    from serving.tokens import CAMPAIGNS_EXPORT

    try:
        return authorise(settings, token, CAMPAIGNS_EXPORT, local_user()).subject
    except RefusedError as error:
        log_refusal(settings.home, plan, error.by, str(error), datetime.now(UTC))
        raise
