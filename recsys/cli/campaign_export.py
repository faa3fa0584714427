"""`recsys campaign export`: a plan for somebody outside."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, emit
from recsys.home import Home


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("export")(export)


def export(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="A plan's directory.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.", show_default=False)],
    formats: Annotated[list[str] | None, typer.Option("--format", help="csv, parquet; default: both.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a plan under pseudonyms, with a manifest of sha256; the export is written to the home's audit log.

    No customer id, no salt and no cell that a spreadsheet would run is in it.

    Example: recsys campaign export plan --out for-the-agency

    Example: recsys campaign export plan --out for-the-agency --format csv
    """
    from recsys.campaigns.export import FORMATS
    from recsys.cli.campaign_bank import open_desk
    from recsys.cli.workflows import require_writable
    from serving.campaigns.desk import Exporter
    from serving.settings import Settings

    home: Home = context.obj
    require_writable(out)
    exporter = Exporter(home.path, Settings(home=home.path).signing_key().encode(), _user())
    with open_desk(home) as desk:
        manifest = desk.export(plan, out, exporter, tuple(formats or FORMATS))
    lines = [
        f"exported {manifest['rows']:,} assignment(s) of {manifest['campaign_id']} to {out}",
        f"  {len(manifest['files'])} files, their sha256 in manifest.json; customers are pseudonyms",
    ]
    emit({"out": str(out), **manifest}, as_json, lines)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
