"""`recsys campaign replay`: the same brief again, and whether it gives the same assignments."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, emit, make_progress, plain
from recsys.home import Home


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("replay")(replay)


def replay(
    context: typer.Context,
    manifest: Annotated[Path, typer.Argument(help="A plan's manifest.json, or its directory.", show_default=False)],
    data: Annotated[Path | None, typer.Option("--data", help="The dataset; default: the home's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a plan's brief again and compare the assignment hash; exit code 1 where it differs, and what did.

    Example: recsys campaign replay plan/manifest.json
    """
    from recsys.campaigns.plan_files import MANIFEST, verify_plan
    from recsys.campaigns.service import replay_plan
    from recsys.cli.campaign_bank import open_bank

    home: Home = context.obj
    verify_plan(manifest.parent if manifest.name == MANIFEST else manifest)  # before the bank is opened
    with make_progress() as progress:
        found = replay_plan(manifest, open_bank(home, data), progress)
    changed = found.changed_versions
    lines = (
        [f"[green]the same assignments[/green] ({found.now[:12]})"]
        if found.same
        else [
            f"[red]other assignments[/red]: {found.then[:12]} then, {found.now[:12]} now",
            *(f"  {name} was {plain(str(one['then']))}, is {plain(str(one['now']))}" for name, one in changed.items()),
            *(["  model, policy, features and data are the same: this is a defect, report it"] * found.broken),
        ]
    )
    emit(found._asdict(), as_json, lines)
    if not found.same:
        raise typer.Exit(1)
