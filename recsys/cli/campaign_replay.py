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
    import json

    from recsys.campaigns.brief import Brief
    from recsys.campaigns.plan import describe
    from recsys.campaigns.plan_files import MANIFEST, PLANNED_HASH, assignment_hash, verify_plan
    from recsys.campaigns.planner import plan_campaign
    from recsys.cli.campaign_plan import open_bank
    from recsys.errors import RecsysError

    home: Home = context.obj
    folder = manifest.parent if manifest.name == MANIFEST else manifest
    said = verify_plan(folder)
    if not (folder / "plan.json").exists():
        raise RecsysError(f"{folder}: is an export, which has no salt: replay the plan that it was made of")
    summary = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    brief = Brief.parse(summary["brief"], source=str(folder / "plan.json"))
    with make_progress() as progress:
        bank = open_bank(home, data)
        again = describe(plan_campaign(brief, bank, progress))
    found = assignment_hash(again.assignments)
    changed = {
        name: {"then": said["versions"].get(name), "now": value}
        for name, value in again.summary["versions"].items()
        if said["versions"].get(name) != value
    }
    then = said.get(PLANNED_HASH, said["assignment_hash"])
    same = found == then
    result = {"same": same, "then": then, "now": found, "changed_versions": changed}
    lines = (
        [f"[green]the same assignments[/green] ({found[:12]})"]
        if same
        else [
            f"[red]other assignments[/red]: {then[:12]} then, {found[:12]} now",
            *(f"  {name} was {plain(str(one['then']))}, is {plain(str(one['now']))}" for name, one in changed.items()),
            *([] if changed else ["  model, policy, features and data are the same: this is a defect, report it"]),
        ]
    )
    emit(result, as_json, lines)
    if not same:
        raise typer.Exit(1)
