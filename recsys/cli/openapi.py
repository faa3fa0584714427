"""`recsys openapi`: the API's contract."""

import json
import sys
from typing import Annotated

import typer

from recsys.errors import RecsysError


def openapi(
    check: Annotated[bool, typer.Option("--check", help="Refuse a change that would break an app.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Make the present document the accepted one.")] = False,
) -> None:
    """Print the OpenAPI document, compare it with the accepted one, or accept it.

    Example: recsys openapi --check
    """
    from serving import contract

    document = contract.present_document()
    if accept:
        contract.accept(document)
        sys.stdout.write(f"accepted: {contract.BASELINE.name}, {len(document['paths'])} paths\n")
    elif check:
        broken = contract.breaking_changes(contract.accepted_document(), document)
        if broken:
            lines = "\n".join(f"  - {line}" for line in broken)
            raise RecsysError(
                f"the API breaks its contract ({len(broken)}):\n{lines}\n"
                "deprecate instead (serving/deprecations.py), or accept it: recsys openapi --accept"
            )
        sys.stdout.write("the API keeps its contract\n")
    else:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
