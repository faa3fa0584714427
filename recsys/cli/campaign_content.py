"""`recsys campaign content`: copy and pictures for every segment, channel and language of a brief."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.terminal import JsonOption, emit, make_progress, plain
from recsys.home import Home

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("content")(content)


def content(
    context: typer.Context,
    brief: Annotated[Path, typer.Argument(help="A brief (YAML): see `recsys campaign example`.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.", show_default=False)],
    variants: Annotated[int, typer.Option(min=3, max=5, help="Of each product, segment, channel and language.")] = 3,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset; default: the home's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compose copy from approved blocks and the products' facts, with pictures in the channels' sizes.

    Each variant is in a tone that its segment answers to, as the log shows, passed the fact guard, and carries a
    visible label where a machine made its picture. The products are the brief's, or all of its categories.

    Example: recsys campaign content brief.yaml --out content
    """
    from recsys.campaigns.brief import Brief
    from recsys.campaigns.plan_files import require_free
    from recsys.campaigns.service import make_content, report_of
    from recsys.cli.campaign_bank import open_bank
    from recsys.cli.workflows import require_writable

    home: Home = context.obj
    asked = Brief.from_yaml(brief)
    require_free(out)
    require_writable(out)
    with make_progress() as progress:
        task = progress.add_task("composing copy and pictures", total=1)
        made = make_content(asked, open_bank(home, data), out, variants)
        progress.advance(task)
    few = made.skipped[:_SHOWN]
    lines = [
        f"wrote {len(made.variants):,} variant(s) of {made.products} product(s) and {len(made.segments)} segment(s) "
        f"to {out}",
        *(f"  no copy of {plain(one.product_id)} ({one.language}): {plain(one.reason)}" for one in few),
    ]
    emit({"out": str(out), **report_of(made)}, as_json, lines)
