"""The simulated bank run forward under a plan, as often as one likes: the same people, other luck."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsys.simulator.bank import Bank
from recsys.simulator.behaviour import Block
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.holdings import open_holdings
from recsys.simulator.journal import Journal
from recsys.simulator.simulation import found_block
from recsys.simulator.world import Ints


class Contacts(NamedTuple):
    """n contacts of a plan; index arrays [n]."""

    customer: Ints
    product: Ints
    content: Ints
    """`preference.NO_CONTENT`: the product without a creative."""
    channel: Ints
    day: Ints
    """Of the period."""

    def take(self, rows: np.ndarray) -> "Contacts":
        """Some of them."""
        return Contacts(*(column[rows] for column in self))


def block_before(config: SimulatorConfig, day: int) -> Block:
    """The first block of customers of a bank, as it is when a day begins.

    Args:
        config: of the bank.
        day: at least 1, and not after its last day.
    """
    block, profiles = found_block(Bank.found(config), 0)
    open_holdings(block, profiles)
    for earlier in range(day):
        block.start_day(earlier)
        block.live_day(earlier)
    return block


def run_forward(block: Block, contacts: Contacts, days: range, seed: int) -> Journal:
    """What happens on some days if the contacts are made, beside all that happens anyway; `block` stays as it is.

    A contact on a day that its customer does not agree to, or of a product that he may not have then, is not made.
    """
    lived = _copied(block)
    lived.rng = np.random.default_rng(seed)
    for day in days:
        lived.start_day(day)
        lived.live_day(day)
        for channel, due in _due(contacts, day):
            lived.contact(due.customer, due.product, due.content, channel, day)
    return lived.journal


def _due(contacts: Contacts, day: int) -> Iterator[tuple[int, Contacts]]:
    today = contacts.take(contacts.day == day)
    for channel in np.unique(today.channel).tolist():
        yield channel, today.take(today.channel == channel)


def _copied(block: Block) -> Block:
    """Another block in the same bank, which never changes; with a journal of its own."""
    kept, block.journal = block.journal, Journal()
    try:
        shared = {id(block.bank): block.bank}
        return copy.deepcopy(block, shared | {id(part): part for part in vars(block.bank).values()})
    finally:
        block.journal = kept
