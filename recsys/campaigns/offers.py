"""What a campaign can send: its products and approved creatives, by channel, and the options of some customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from recsys.campaigns.brief import ENGINE, Brief, BriefError
from recsys.campaigns.holdouts import draws
from recsys.campaigns.source import Contacts, History, RuleSource, Scores
from recsys.campaigns.valuation import Valued, added_conversions
from recsys.modeling.groups import best_of_groups
from recsys.policy.facts import BoolArray, ContentFacts, primary
from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID

SPARE_OPTIONS: Final = 2
"""Products that a customer can be offered on a channel beyond those that he may get: limits may shut some."""
WIDER: Final = 5
"""Products more that are looked at closely: the response model may order them otherwise than the chance of a response.
"""


class Offer(NamedTuple):
    """One channel of the campaign."""

    channel: str
    cost: float
    facts: ContentFacts
    rows: np.ndarray
    """[c] int64: where the creatives are among all contents; those of a product together, in the catalogue's order."""


@dataclass(frozen=True)
class Offers:
    """All channels of a campaign."""

    channels: tuple[Offer, ...]
    products: np.ndarray
    """[P] int64: the campaign's products, as positions in the catalogue."""
    margins: np.ndarray
    """[N] float64: what a conversion is worth, in money."""

    @classmethod
    def of(cls, brief: Brief, source: RuleSource) -> "Offers":
        """What the brief asks for, of what the bank has.

        Raises:
            BriefError: it has nothing of the kind.
        """
        products = campaign_products(brief, source)
        names = [source.products.ids[position] for position in products]
        languages = {primary(language) for language in brief.languages}
        usable = source.contents.with_row_index("row").filter(pl.col(PRODUCT_ID).is_in(names))
        if "language" in usable.columns:
            spoken = [row for row, tag in enumerate(usable["language"].to_list()) if primary(tag) in {"", *languages}]
            usable = usable[spoken]
        if brief.tone is not None:
            usable = usable.filter(pl.col("tone") == brief.tone) if "tone" in usable.columns else usable.clear()
        _require_creatives(usable, brief)
        offers = []
        for entry in brief.channels:
            channel = source.policy.pack.channel(entry.channel)
            own = usable
            if "channel" in usable.columns:
                own = usable.filter(pl.col("channel").is_null() | (pl.col("channel") == channel))
            own = own[np.argsort(source.products.positions(own[PRODUCT_ID].to_list()), kind="stable")]
            facts = ContentFacts.from_frame(own.drop("row"), source.products)
            offers.append(Offer(entry.channel, entry.cost_per_contact, facts, own["row"].to_numpy().astype(np.int64)))
        if not any(len(offer.rows) for offer in offers):
            wanted = ", ".join(entry.channel for entry in brief.channels)
            raise BriefError(f"channels: no creative of these products is made for {wanted}: have some made, or change")
        return cls(tuple(offers), products, _margins(source, products))

    def options(self, customers: "Reachable", scores: Scores, history: History, brief: Brief) -> pl.DataFrame:
        """The options of B customers: the columns of the allocator, and probability and language."""
        offers = [offer for offer in self.channels if len(offer.rows)]
        shorts = [self._short_list(offer, customers, scores, history, brief) for offer in offers]
        look = _best_creatives(offers, [short.among for short in shorts], scores)
        chance = np.empty(len(look.contacts.row))
        for number, short in enumerate(shorts):
            here = look.contacts.channel == number
            chance[here] = short.chance[look.contacts.row[here], short.owner[look.creative[here]]]
        product = np.concatenate([offer.facts.product for offer in offers])[look.column]
        valued = Valued(
            look.contacts,
            np.array(customers.ids, dtype=object)[look.contacts.row].tolist(),
            np.array(customers.source.products.ids, dtype=object)[product].tolist(),
            chance,
            look.logits,
        )
        added = added_conversions(valued, scores, history)
        worth = added * self.margins[product] - np.array([offer.cost for offer in offers])[look.contacts.channel]
        frames, most = [], brief.limits.per_customer + SPARE_OPTIONS
        for number, offer in enumerate(offers):
            here = np.flatnonzero(look.contacts.channel == number)
            best, rank = _best_of_rows(look.contacts.row[here], worth[here], most)
            kept = here[best]
            numbers = added[kept], worth[kept], chance[kept], rank
            frames.append(self._frame(offer, customers, (look.contacts.row[kept], look.creative[kept]), numbers))
        return pl.concat(frames).sort(
            CUSTOMER_ID, "value", PRODUCT_ID, "channel", descending=[False, True, False, False]
        )

    def _short_list(
        self, offer: Offer, customers: "Reachable", scores: Scores, history: History, brief: Brief
    ) -> "ShortList":
        """What is looked at closely on one channel."""
        allowed = customers.allowed[offer.channel]
        places, owner = np.unique(offer.facts.product, return_inverse=True)
        there = np.stack([allowed[:, owner == place].any(axis=1) for place in range(len(places))], axis=1)
        chance = history.curve(scores.products[:, places], offer.channel)
        value = np.where(there, chance * self.margins[places], -np.inf)
        short = np.zeros(value.shape, dtype=bool)
        np.put_along_axis(short, _best(value, brief.limits.per_customer + SPARE_OPTIONS + WIDER), values=True, axis=1)
        return ShortList(chance, owner, allowed & short[:, owner])

    @staticmethod
    def _frame(
        offer: Offer, customers: "Reachable", look: tuple[np.ndarray, np.ndarray], numbers: tuple[np.ndarray, ...]
    ) -> pl.DataFrame:
        """Of contacts on one channel: whose, and with which of the offer's creatives."""
        added, value, chance, rank = numbers
        (row, creative), products = look, customers.source.products
        product = offer.facts.product[creative]
        ids = np.array(offer.facts.ids, dtype=object)
        names = np.array(products.ids, dtype=object)
        return pl.DataFrame(
            {
                CUSTOMER_ID: pl.Series(np.array(customers.ids, dtype=object)[row], dtype=pl.String),
                PRODUCT_ID: pl.Series(names[product], dtype=pl.String),
                CONTENT_ID: pl.Series(ids[creative], dtype=pl.String),
                "channel": pl.Series([offer.channel], dtype=pl.String).new_from_index(0, len(row)),
                "slot": pl.Series((customers.slot[row] + rank) % customers.slots[row], dtype=pl.Int32),
                "category": pl.Series(products.category[product].astype(object), dtype=pl.String),
                "segment": pl.Series(np.array(customers.segments, dtype=object)[row], dtype=pl.String),
                "language": pl.Series(offer.facts.language[creative].astype(object), dtype=pl.String),
                "probability": chance,
                "added": added,
                "value": value,
                "cost": np.full(len(row), offer.cost),
            }
        )


class ShortList(NamedTuple):
    """What is looked at closely of B customers on one channel: p products, c creatives."""

    chance: np.ndarray
    """[B, p] float64: of a response, by the curve."""
    owner: np.ndarray
    """[c] int64, rising: which of the p products each creative is about."""
    among: BoolArray
    """[B, c]"""


class Look(NamedTuple):
    """n contacts that were looked at closely, by customer."""

    contacts: Contacts
    column: np.ndarray
    """[n] int64: which creative, of all channels' creatives in a row."""
    creative: np.ndarray
    """[n] int64: which of its channel's creatives."""
    logits: np.ndarray | None
    """[n, 3]: what the response model says; None: there is none."""


def _best_creatives(offers: Sequence[Offer], among: Sequence[BoolArray], scores: Scores) -> Look:
    """For each customer, channel and product, of the creatives `among` the one that the model likes best.

    All channels are looked at together: what is known of a customer is worked out once.

    Args:
        offers: the channels.
        among: [B, c] of each channel.
        scores: what the champion says.
    """
    counts = [len(offer.rows) for offer in offers]
    channel = np.repeat(np.arange(len(offers)), counts)
    products = np.concatenate([offer.facts.product for offer in offers])
    group = np.cumsum((np.diff(products, prepend=-1) != 0) | (np.diff(channel, prepend=-1) != 0))
    row, column = np.nonzero(np.concatenate(among, axis=1))
    content = np.concatenate([offer.rows for offer in offers])[column]
    whose = row * (len(group) + 1) + group[column]
    contacts = Contacts(row, content, channel[column], whose, tuple(offer.channel for offer in offers))
    liking = scores.contents[row, content]
    if scores.respond is None:
        best, logits = best_of_groups(liking, contacts.group), None
    else:
        best, logits = scores.respond.choose(contacts, liking)
    starts = np.cumsum([0, *counts])[:-1]
    return Look(contacts.take(best), column[best], column[best] - starts[channel[column[best]]], logits)


class Reachable(NamedTuple):
    """B customers whom the rules let be contacted."""

    ids: Sequence[str]
    segments: Sequence[str]
    allowed: dict[str, BoolArray]
    """By channel, [B, c]: the creatives that each may get."""
    slot: np.ndarray
    """[B] int64: the slot of each customer's first message."""
    slots: np.ndarray
    """[B] int64: how many there are in his zone."""
    source: RuleSource


def first_slots(customers: Sequence[str], brief: Brief, slots: np.ndarray) -> np.ndarray:
    """[B] int64: spreads the customers over their slots evenly, the same way every time."""
    return (draws(brief.salt, f"slot:{brief.campaign_id}", customers) * slots).astype(np.int64)


def campaign_products(brief: Brief, source: RuleSource) -> np.ndarray:
    """[P] int64: the campaign's products as positions in the catalogue, in rising order.

    Raises:
        BriefError: one is not in the catalogue, or no product is of a category that the brief names.
    """
    if brief.products != ENGINE:
        positions = source.products.positions(brief.products)
        unknown = [name for name, place in zip(brief.products, positions, strict=True) if place < 0]
        if unknown:
            raise BriefError(f"products: {', '.join(unknown)}: no such product in the champion's catalogue")
        return np.unique(positions)
    if not brief.categories:
        return np.arange(len(source.products), dtype=np.int64)
    known = {str(name) for name in source.products.category}
    unknown = [name for name in brief.categories if name not in known]
    if unknown:
        raise BriefError(f"categories: {', '.join(unknown)}: no such category; there are {', '.join(sorted(known))}")
    return np.flatnonzero(np.isin(source.products.category, list(brief.categories)))


def in_app_channels(brief: Brief, source: RuleSource) -> list[str]:
    """The brief's channels on which nothing is sent: what is meant for a customer waits there until he comes.

    Raises:
        BriefError: one is to be so where the bank reaches out of its own accord.
    """
    pack, found = source.policy.pack, []
    for entry in brief.channels:
        pushed = pack.channel(entry.channel) in pack.pushed_channels
        if pushed and entry.delivery == "in_app":
            raise BriefError(f"channels: {entry.channel} is where the bank reaches out: it has no in_app delivery")
        if entry.delivery == "in_app" or (entry.delivery is None and not pushed):
            found.append(entry.channel)
    return found


def may_be_credit(brief: Brief, source: RuleSource) -> bool:
    """Whether a message of the campaign can be about credit."""
    return bool(source.policy.credits(source.products)[campaign_products(brief, source)].any())


def _margins(source: RuleSource, products: np.ndarray) -> np.ndarray:
    """[N] the catalogue's values; of investments the average one, because margin may not rank them (domain.md)."""
    stated = source.products.columns.get("value")
    if stated is None:
        return np.ones(len(source.products))
    margins = np.array([np.nan if value is None else float(value) for value in stated])
    average = float(np.nanmean(margins[products])) if np.isfinite(margins[products]).any() else 1.0
    neutral = source.policy.investments(source.products) | ~np.isfinite(margins)
    return np.where(neutral, average, np.maximum(margins, 0.0))


def _require_creatives(usable: pl.DataFrame, brief: Brief) -> None:
    if usable.is_empty():
        tone = "" if brief.tone is None else f" in the tone {brief.tone}"
        raise BriefError(
            f"languages: no creative of the campaign's products is in {', '.join(brief.languages)}{tone}: "
            "have some made, or name other languages, products or tones"
        )


def _best(value: np.ndarray, count: int) -> np.ndarray:
    """[B, count] the columns of the highest values of each row, best first."""
    return np.argsort(-value, axis=1, kind="stable")[:, :count]


def _best_of_rows(row: np.ndarray, value: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n entries are among the `count` of the highest value of their row (rising), and which place each has."""
    order = np.lexsort((-value, row))
    starts = np.flatnonzero(np.diff(row[order], prepend=-1) != 0)
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return order[place < count], place[place < count]
