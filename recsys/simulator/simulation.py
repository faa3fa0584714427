"""Simulates a bank and writes it as a dataset directory, with the truth beside it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from rich.progress import Progress

from recsys.data.output import new_directory
from recsys.drawing.picture import draw_photo, draw_picture, save_picture
from recsys.schema import CUSTOMER_ID, Table
from recsys.simulator import truth
from recsys.simulator.bank import Bank, seed_of
from recsys.simulator.behaviour import Block
from recsys.simulator.canaries import plant_canaries
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.consent import Consent
from recsys.simulator.creatives import picture_of_product
from recsys.simulator.customers import draw_population
from recsys.simulator.demographics import demographics
from recsys.simulator.eligibility import Eligibility
from recsys.simulator.holdings import holdings_frame, open_holdings
from recsys.simulator.messages import MESSAGE_SCHEMA, write_messages
from recsys.simulator.preference import Preference
from recsys.simulator.profiles import Profiles
from recsys.simulator.transactions import TRANSACTION_SCHEMA, draw_transactions
from recsys.simulator.write import TableWriter

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


def simulate(config: SimulatorConfig, out: Path, progress: Progress | None = None) -> SimulationReport:
    """Simulates a bank and writes it to `out`: equal configs write equal bytes.

    Args:
        config: size, period, language, seed.
        out: a directory that does not exist yet, or is empty.
        progress: shows a bar over pictures and one over the days of all blocks.

    Raises:
        RecsysError: `out` has something in it, or cannot be written.
    """
    with new_directory(out) as folder:
        bank = Bank.found(config)
        writer = TableWriter(folder, config.blocks)
        pictures = _draw_pictures(bank, folder, progress)
        writer.write(Table.PRODUCTS, bank.catalogue.frame(config))
        writer.write(Table.CONTENTS, bank.creatives.frame(config, folder))
        task = progress.add_task("simulating customers", total=config.blocks * config.days) if progress else None
        for number in range(config.blocks):
            for _ in _simulate_block(bank, number, writer):
                if progress and task is not None:
                    progress.advance(task)
        _write_words(bank, folder)
    return SimulationReport(out, writer.rows, pictures)


def found_block(bank: Bank, number: int) -> tuple[Block, Profiles]:
    """A block of customers before their first day."""
    config, clock = bank.config, bank.clock
    rng = np.random.default_rng(seed_of(config, 4, number))
    first = number * config.block_size
    people = draw_population(first, min(config.block_size, config.customers - first), config, bank.lexicon, rng)
    profiles = Profiles(people, clock, rng)
    block = Block(
        bank=bank,
        population=people,
        preference=Preference(people, bank.catalogue, bank.creatives, config),
        eligibility=Eligibility(people, bank.catalogue),
        consent=Consent(people, profiles.joined, clock, rng),
        rng=rng,
    )
    return block, profiles


def _simulate_block(bank: Bank, number: int, writer: TableWriter) -> Iterator[int]:
    """Simulates and writes one block of customers; yields each day when it is over."""
    config = bank.config
    block, profiles = found_block(bank, number)
    before = open_holdings(block, profiles)
    offers = []
    for day in range(config.days):
        block.start_day(day)
        if day in (config.validation_day, config.test_day):
            offers.append(_write_truth(block, number, day, writer))
        block.live_day(day)
        yield day
    writer.write("truth/offers", pl.concat(offers), number)
    writer.write("truth/contacts", truth.contacts(block, config.days - 1, _some(block, config.truth_contacts)), number)
    _write_block(block, profiles, before, number, writer)


def _write_block(block: Block, profiles: Profiles, before: pl.DataFrame, number: int, writer: TableWriter) -> None:
    bank, people, journal = block.bank, block.population, block.journal
    events, responses = journal.event_frames(people, bank.catalogue, bank.creatives, number)
    writer.write(Table.EVENTS, events, number)
    writer.write("truth/responses", responses, number)
    known = demographics(people, bank.config, number)
    customers = profiles.frame(bank.config, bank.lexicon).join(known, on=CUSTOMER_ID, maintain_order="left")
    writer.write(Table.CUSTOMERS, customers, number)
    writer.write(Table.HOLDINGS, holdings_frame(before, journal.holdings, people, bank.catalogue), number)
    writer.write(Table.CONSENTS, block.consent.frame(journal.opt_outs), number)
    written = _with_ids(write_messages(people, bank, block.rng), "message_id", "m", number)
    messages, canaries = plant_canaries(written.cast(MESSAGE_SCHEMA), bank, number)
    writer.write(Table.MESSAGES, messages, number)
    writer.write("truth/canaries", canaries, number)
    movements = draw_transactions(people, bank, block.rng)
    named = _with_ids(movements, "transaction_id", "t", number).cast(TRANSACTION_SCHEMA)
    writer.write(Table.TRANSACTIONS, named, number)


def _write_truth(block: Block, number: int, day: int, writer: TableWriter) -> pl.DataFrame:
    """Writes what is true at the start of a part; returns the best offers, for the parts to share a table."""
    config = block.bank.config
    if day == config.test_day:
        horizon = config.days - day
        writer.write("truth/creatives", truth.creatives(block, day, _some(block, config.truth_customers)), number)
        writer.write("truth/contact_effect", truth.contact_effect(block, day, horizon), number)
    else:
        horizon = config.test_day - day
    return truth.offers(block, day, horizon, config.truth_offers)


def _some(block: Block, customers: int) -> np.ndarray:
    """The block's share of so many customers of the bank, drawn at random, in their order."""
    config, count = block.bank.config, block.population.count
    mine = min(-(-customers // config.blocks), count)
    draw = np.random.default_rng((config.seed, block.population.first // config.block_size))
    return np.sort(draw.choice(count, mine, replace=False))


def _with_ids(frame: pl.DataFrame, name: str, letter: str, block: int) -> pl.DataFrame:
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(8)
    return frame.select(pl.format("{}{}", pl.lit(f"{letter}{block:03d}"), number).alias(name), pl.all())


def _draw_pictures(bank: Bank, folder: Path, progress: Progress | None) -> int:
    rng = random.Random(int(np.random.default_rng(seed_of(bank.config, 5)).integers(2**62)))
    specs = [(item.row["image_path"], item.picture, draw_picture) for item in bank.creatives.items]
    specs += [(p.row["image_path"], picture_of_product(p, rng), draw_picture) for p in bank.catalogue.products]
    specs += [(path, spec, draw_photo) for path, spec in zip(bank.pictures.paths, bank.pictures.specs, strict=True)]
    for name in ("creatives", "products", "sent"):
        (folder / "images" / name).mkdir(parents=True)
    task = progress.add_task("drawing pictures", total=len(specs)) if progress else None
    for path, spec, draw in specs:
        save_picture(draw(spec), folder / path)
        if progress and task is not None:
            progress.advance(task)
    return len(specs)


def _write_words(bank: Bank, folder: Path) -> None:
    """dataset.yaml and the README of the truth."""
    config = bank.config
    text = _DATASET_YAML.format(
        **config.model_dump(include={"customers", "products", "days", "seed", "language"}),
        currency=bank.lexicon.currency,
        end=config.end.isoformat(),
        validation_start=(config.start + timedelta(days=config.validation_day)).isoformat(),
        test_start=(config.start + timedelta(days=config.test_day)).isoformat(),
    )
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    words = truth.README.format(
        offers=config.truth_offers,
        customers=min(config.truth_customers, config.customers),
        contacts=min(config.truth_contacts, config.customers),
        horizon=truth.CONTACT_HORIZON,
    )
    (folder / "truth" / "README.txt").write_text(words, encoding="utf-8")
