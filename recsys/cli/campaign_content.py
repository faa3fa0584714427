"""`recsys campaign content`: copy and pictures for every segment, channel and language of a brief."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.terminal import JsonOption, emit, make_progress, plain
from recsys.home import Home

if TYPE_CHECKING:
    from recsys.campaigns.content.rewriting import Rewrites

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("content")(content)


def content(
    context: typer.Context,
    brief: Annotated[Path, typer.Argument(help="A brief (YAML): see `recsys campaign example`.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.", show_default=False)],
    variants: Annotated[int, typer.Option(min=3, max=5, help="Of each product, segment, channel and language.")] = 3,
    writer: Annotated[
        Path | None, typer.Option(help="A language model that may rewrite the copy: YAML, see below; default: none.")
    ] = None,
    rewrites: Annotated[int | None, typer.Option(min=1, help="Variants that it is asked about; default: all.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset; default: the home's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compose copy from approved blocks and the products' facts, with pictures in the channels' sizes.

    Each variant is in a tone that its segment answers to, as the log shows, passed the fact guard, and carries a
    visible label where a machine made its picture. The products are the brief's, or all of its categories.

    The writer's file names a causal model of transformers (`model: FOLDER-OR-ID`, perhaps `gguf_file`), or with a `url`
    an OpenAI-compatible endpoint, whose key is read from RECSYS_COPY_KEY. A rewrite that states anything that is not
    the catalogue's is not used: the template's copy is, and report.json says how many and why.

    Example: recsys campaign content brief.yaml --out content

    Example: recsys campaign content brief.yaml --out content --writer writer.yaml --rewrites 50
    """
    from recsys.campaigns.brief import Brief
    from recsys.campaigns.plan_files import require_free
    from recsys.campaigns.service import Rewriting, make_content, report_of
    from recsys.cli.campaign_bank import open_bank
    from recsys.cli.workflows import require_writable
    from serving.copy_writer import open_writer
    from serving.settings import Settings

    home: Home = context.obj
    asked = Brief.from_yaml(brief)
    require_free(out)
    require_writable(out)
    rewriting = None if writer is None else Rewriting(open_writer(writer, Settings(home=home.path)), rewrites)
    with make_progress() as progress:
        task = progress.add_task("composing copy and pictures", total=1)
        made = make_content(asked, open_bank(home, data), out, variants, rewriting)
        progress.advance(task)
    few = made.skipped[:_SHOWN]
    lines = [
        f"wrote {len(made.variants):,} variant(s) of {made.products} product(s) and {len(made.segments)} segment(s) "
        f"to {out}",
        *_rewritten(made.rewrites),
        *(f"  no copy of {plain(one.product_id)} ({one.language}): {plain(one.reason)}" for one in few),
    ]
    emit({"out": str(out), **report_of(made)}, as_json, lines)


def _rewritten(rewrites: "Rewrites | None") -> list[str]:
    if rewrites is None:
        return []
    why = ", ".join(f"{rule} {count:,}" for rule, count in rewrites.reasons.items())
    refused = f"; {rewrites.rejected:,} refused ({why}), where the template's copy stays" if rewrites.rejected else ""
    return [f"  the language model rewrote {rewrites.accepted:,}{refused}"]
