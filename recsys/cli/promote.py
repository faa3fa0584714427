"""`recsys promote`: somebody other than the trainer makes a version champion."""

from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, console, emit, plain
from recsys.home import Home


def promote(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version of the registry, or `challenger`.", show_default=False)],
    approver: Annotated[str, typer.Option(help="Who approves; not the trainer.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Approve a version that passed its gate: it becomes champion, and its model card says who approved and when.

    A running server takes it up by itself. An earlier version that passed can be promoted again: that is the way back.

    Example: recsys promote 3 --approver "Ada Lovelace"

    Example: recsys promote challenger --approver risk.committee
    """
    from recsys.cli.governance import promote_version

    home: Home = context.obj
    with console.status("promoting"):
        result = promote_version(home, version, approver)
    lines = [f"recommender version {result['version']}: [green]promoted to champion[/green]"]
    lines.append(f"  trained by {plain(result['trainer'])}, approved by {plain(result['approver'])}")
    emit(result, as_json, lines)
