"""`recsys campaign content`: copy and pictures for every segment, channel and language of a brief."""

from pathlib import Path
from typing import Annotated, Any

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
    from recsys.campaigns.content.composer import ComposerConfig, compose_variants
    from recsys.campaigns.content.facts import facts_of
    from recsys.campaigns.content.pictures import PictureConfig, illustrate
    from recsys.campaigns.content.tones import estimate_tone_lifts
    from recsys.campaigns.offers import campaign_products
    from recsys.campaigns.plan_files import require_free
    from recsys.cli.campaign_plan import open_bank
    from recsys.cli.workflows import require_writable
    from training.campaign_tones import read_tone_responses

    home: Home = context.obj
    asked = Brief.from_yaml(brief)
    require_free(out)
    require_writable(out)
    bank = open_bank(home, data)
    wanted = {bank.products.ids[place] for place in campaign_products(asked, bank)}
    rows = [row for row in bank.bundle.products.iter_rows(named=True) if row["product_id"] in wanted]
    facts = [facts_of(row) for row in rows]
    responses = read_tone_responses(bank.dataset, bank.as_of)
    segments = tuple(sorted(set(responses["segment"].to_list()))) or ("",)
    config = ComposerConfig(
        segments=segments,
        channels=tuple(entry.channel for entry in asked.channels),
        languages=asked.languages,
        tones=None if asked.tone is None else (asked.tone,),
        variants=variants,
        seed=asked.seed,
    )
    with make_progress() as progress:
        task = progress.add_task("composing copy and pictures", total=2)
        lifts = estimate_tone_lifts(responses)
        made = compose_variants(facts, config, lifts)
        progress.advance(task)
        temporary = out.with_name(f".{out.name}.partial")
        by_id = {one.product_id: one for one in facts}
        pictures = PictureConfig(provider=bank.dataset.config.name, seed=asked.seed)
        done = illustrate(made.variants, by_id, temporary / "images", pictures)
        progress.advance(task)
    _write(temporary, out, [one.model_dump(mode="json") for one in done], lifts)
    skipped = [one._asdict() for one in made.skipped]
    few = made.skipped[:_SHOWN]
    result = {"out": str(out), "variants": len(done), "products": len(facts), "segments": segments, "skipped": skipped}
    lines = [
        f"wrote {len(done):,} variant(s) of {len(facts)} product(s) and {len(segments)} segment(s) to {out}",
        *(f"  no copy of {plain(one.product_id)} ({one.language}): {plain(one.reason)}" for one in few),
    ]
    emit(result, as_json, lines)


def _write(temporary: Path, out: Path, variants: list[dict[str, Any]], lifts: Any) -> None:
    from recsys.campaigns.plan_files import write_json
    from recsys.errors import RecsysError

    try:
        write_json(temporary / "variants.json", variants)
        lifts.write_csv(temporary / "tone_lifts.csv")
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
