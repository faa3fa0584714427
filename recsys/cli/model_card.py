"""`recsys model-card`: what a version is, what it was measured at, and who approved it."""

import sys
from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, console, emit
from recsys.home import Home


def model_card(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version of the registry, `champion` or `challenger`.")] = "champion",
    as_json: JsonOption = False,
) -> None:
    """Print the model card of a version, as Markdown on standard output.

    Example: recsys model-card

    Example: recsys model-card 3 > card.md
    """
    from recsys.cli.governance import read_model_card

    home: Home = context.obj
    with console.status("reading the model card"):
        card, text = read_model_card(home, version)
    if as_json:
        emit(card, as_json, [])
    else:
        sys.stdout.write(text)
