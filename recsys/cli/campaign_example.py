"""`recsys campaign example`: a commented brief that works on the simulated bank."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from recsys.errors import HomeError
from recsys.home import Home


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("example")(example)


def example(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file instead of the screen.")] = None,
) -> None:
    """Print a commented brief that works on the simulated bank.

    Its dates follow the data of the home, or the simulated bank's where the home is new.

    Example: recsys campaign example > brief.yaml
    """
    from recsys.campaigns.example import example_brief

    text = example_brief(_end_of_data(context.obj))
    if out is None:
        sys.stdout.write(text)
        return
    from recsys.cli.workflows import require_writable, write_file

    require_writable(out)
    write_file(out, text)


def _end_of_data(home: Home) -> datetime:
    from recsys.cli.workflows import open_dataset
    from recsys.simulator.config import SimulatorConfig

    try:
        dataset = open_dataset(home, home.dataset_path())
    except HomeError:
        return SimulatorConfig().end
    return dataset.config.end or dataset.end()
