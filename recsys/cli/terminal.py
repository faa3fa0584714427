"""What every verb shares: its common arguments, and how it talks to a terminal."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)

DatasetArgument = Annotated[Path, typer.Argument(help="A dataset directory (with dataset.yaml).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: key=value, for example loop.epochs=5. Repeatable.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="A recipe: YAML, see training/configs.")]


def make_progress() -> Progress:
    """The one progress display, on standard error so that standard output stays the result's."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=False,
    )


def emit(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Prints a result: JSON on standard output, or the lines."""
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1, default=str) + "\n")
    else:
        for line in lines:
            console.print(line, highlight=False)


def plain(text: str) -> str:
    """Text of others, in which brackets are no markup."""
    return text.replace("[", "\\[")
