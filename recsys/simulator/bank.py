"""Simulates a bank and writes it as a dataset directory, with the truth beside it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.progress import Progress

from recsys.schema import Table
from recsys.simulator import truth
from recsys.simulator.behaviour import Bank, Block
from recsys.simulator.catalogue import build_catalogue
from recsys.simulator.clock import Clock
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.consent import Consent
from recsys.simulator.creatives import SentPictures, build_creatives, picture_of_product
from recsys.simulator.customers import draw_population
from recsys.simulator.drawing.picture import draw_photo, draw_picture, save_picture
from recsys.simulator.eligibility import Eligibility
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.logging_policy import LoggingPolicy
from recsys.simulator.messages import MESSAGE_SCHEMA, write_messages
from recsys.simulator.preference import Preference
from recsys.simulator.profiles import Profiles, holdings_frame, open_holdings
from recsys.simulator.transactions import TRANSACTION_SCHEMA, draw_transactions
from recsys.simulator.world import need_scenes
from recsys.simulator.write import TableWriter, new_directory

_DATASET_YAML = """\
# Written by `recsys simulate`: {customers} customers, {products} products, {days} days, seed {seed}.
name: simulated-bank-{language}
description: A simulated bank; truth/ beside the tables holds what it was drawn from and is never read by training.
currency: {currency}
policy: bank
repeatable: false
end: {end}
event_weights: {{view: 0.5, click: 1.0, apply: 3.0, convert: 5.0}}
features:
  customers: {{employment: categorical}}
  products: {{benefits: categorical_list}}
split:
  kind: global_time
  validation_start: {validation_start}
  test_start: {test_start}
"""


@dataclass(frozen=True)
class SimulationReport:
    """What was written."""

    path: Path
    rows: dict[str, int]
    """Rows by table; those of the truth under `truth/...`."""
    pictures: int
    """Files under `images/`."""


class _Seeds:
    """The seeds of the parts of a bank; a block's does not depend on how many blocks there are."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def part(self, *key: int) -> np.random.SeedSequence:
        """The seed of the part with this key."""
        return np.random.SeedSequence(self._seed, spawn_key=key)


def simulate(config: SimulatorConfig, out: Path, progress: Progress | None = None) -> SimulationReport:
    """Simulates a bank and writes it to `out`: equal configs write equal bytes.

    Args:
        config: size, period, language, seed.
        out: a directory that does not exist yet, or is empty.
        progress: shows a bar over days of blocks and one over pictures.

    Raises:
        DatasetError: `out` has something in it.
    """
    with new_directory(out) as folder:
        seeds, lexicon = _Seeds(config.seed), Lexicon.load(config.language)
        catalogue = build_catalogue(config, lexicon, seeds.part(0))
        creatives = build_creatives(catalogue, config, lexicon, seeds.part(1))
        pictures = SentPictures(config.sent_pictures, seeds.part(2), need_scenes())
        policy = LoggingPolicy(catalogue, creatives, config, seeds.part(3))
        bank = Bank(config, catalogue, creatives, policy, Clock(config, lexicon))
        writer = TableWriter(folder, config.blocks)
        drawn = _draw_pictures(bank, pictures, folder, seeds, progress)
        writer.write(Table.PRODUCTS, catalogue.frame(config))
        writer.write(Table.CONTENTS, creatives.frame(config, folder))
        task = progress.add_task("simulating customers", total=config.blocks * config.days) if progress else None
        for number in range(config.blocks):
            _simulate_block(
                bank,
                lexicon,
                pictures,
                writer,
                (number, seeds.part(4, number)),
                lambda: progress.advance(task) if progress and task is not None else None,
            )
        _write_words(config, lexicon, folder)
    return SimulationReport(out, writer.rows, drawn)


def _simulate_block(
    bank: Bank,
    lexicon: Lexicon,
    pictures: SentPictures,
    writer: TableWriter,
    block_and_seed: tuple[int, np.random.SeedSequence],
    advance: Callable[[], None],
) -> None:
    number, seed = block_and_seed
    config, clock = bank.config, bank.clock
    rng = np.random.default_rng(seed)
    first = number * config.block_size
    people = draw_population(first, min(config.block_size, config.customers - first), config, lexicon, rng)
    profiles = Profiles(people, clock, rng)
    preference = Preference(people, bank.catalogue, bank.creatives, config)
    eligibility = Eligibility(people, bank.catalogue)
    block = Block(bank, people, preference, eligibility, Consent(people, profiles.joined, clock, rng), rng)
    before = open_holdings(people, bank.catalogue, eligibility, block.utility, profiles, clock, rng)
    offers = []
    for day in range(config.days):
        block.start_day(day)
        if day in (config.validation_day, config.test_day):
            offers.append(_write_truth(block, number, day, writer))
        block.live_day(day)
        advance()
    events, responses = block.journal.event_frames(people, bank.catalogue, bank.creatives, number)
    writer.write(Table.EVENTS, events, number)
    writer.write("truth/responses", responses, number)
    writer.write("truth/offers", pl.concat(offers), number)
    writer.write(Table.CUSTOMERS, profiles.frame(config, lexicon), number)
    writer.write(Table.HOLDINGS, holdings_frame(before, block.journal.holdings, people, bank.catalogue), number)
    writer.write(Table.CONSENTS, block.consent.frame(block.journal.opt_outs), number)
    messages = write_messages(people, pictures, clock, config, lexicon, rng)
    writer.write(Table.MESSAGES, _with_ids(messages, "message_id", "m", number).cast(MESSAGE_SCHEMA), number)
    movements = draw_transactions(people, clock, config, lexicon, rng)
    writer.write(
        Table.TRANSACTIONS, _with_ids(movements, "transaction_id", "t", number).cast(TRANSACTION_SCHEMA), number
    )


def _write_truth(block: Block, number: int, day: int, writer: TableWriter) -> pl.DataFrame:
    """Writes what is true at the start of a part; returns the best offers, for the parts to share a table."""
    config = block.bank.config
    if day == config.test_day:
        horizon = config.days - day
        count = min(-(-config.truth_customers // config.blocks), block.population.count)
        chosen = np.random.default_rng((config.seed, number)).choice(block.population.count, count, replace=False)
        writer.write("truth/creatives", truth.creatives(block, day, np.sort(chosen)), number)
        writer.write("truth/contact_effect", truth.contact_effect(block, day, horizon), number)
    else:
        horizon = config.test_day - day
    return truth.offers(block, day, horizon, config.truth_offers)


def _with_ids(frame: pl.DataFrame, name: str, letter: str, block: int) -> pl.DataFrame:
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(8)
    return frame.select(pl.format("{}{}", pl.lit(f"{letter}{block:03d}"), number).alias(name), pl.all())


def _draw_pictures(bank: Bank, pictures: SentPictures, folder: Path, seeds: _Seeds, progress: Progress | None) -> int:
    rng = random.Random(int(np.random.default_rng(seeds.part(5)).integers(2**62)))
    specs = [(item.row["image_path"], item.picture, draw_picture) for item in bank.creatives.items]
    specs += [(p.row["image_path"], picture_of_product(p, rng), draw_picture) for p in bank.catalogue.products]
    specs += [(path, spec, draw_photo) for path, spec in zip(pictures.paths, pictures.specs, strict=True)]
    for name in ("creatives", "products", "sent"):
        (folder / "images" / name).mkdir(parents=True)
    task = progress.add_task("drawing pictures", total=len(specs)) if progress else None
    for path, spec, draw in specs:
        save_picture(draw(spec), folder / path)
        if progress and task is not None:
            progress.advance(task)
    return len(specs)


def _write_words(config: SimulatorConfig, lexicon: Lexicon, folder: Path) -> None:
    def stamp(day: int) -> str:
        return (config.start + np.timedelta64(day, "D").astype("timedelta64[D]").item()).isoformat()

    facts = config.model_dump(include={"customers", "products", "days", "seed", "language"})
    text = _DATASET_YAML.format(
        **facts,
        currency=lexicon.currency,
        end=config.end.isoformat(),
        validation_start=stamp(config.validation_day),
        test_start=stamp(config.test_day),
    )
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    words = truth.README.format(offers=config.truth_offers, customers=min(config.truth_customers, config.customers))
    (folder / "truth" / "README.txt").write_text(words, encoding="utf-8")
