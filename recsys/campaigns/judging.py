"""Who of an audience may be contacted at all: asked of the rules in batches of customers whose ids are neighbours.

Neighbours' facts and features lie together, so that a batch is read at once, and memory does not grow with the bank.
The rules are asked zone by zone, at the very instant at which the customers of a zone would be written to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl

from recsys.campaigns.audience import compile_audience, fields_of, parse_audience
from recsys.campaigns.brief import Brief
from recsys.campaigns.holdouts import NONE, hold_out
from recsys.campaigns.offers import Offers, may_be_credit
from recsys.campaigns.slots import slot_times
from recsys.campaigns.source import RuleSource
from recsys.campaigns.waterfall import STAYED, Waterfall, last_rule
from recsys.policy.facts import BoolArray, CustomerFacts
from recsys.policy.rules import RequestContext
from recsys.schema import CUSTOMER_ID

BATCH: Final = 10_000
"""Customers looked at at a time."""
Facts = Callable[[Sequence[str]], CustomerFacts]
_PROFILING: Final = "CONSENT_PROFILING"
_HOLDOUT_RULE: Final = "HOLDOUT_"


class Zone(NamedTuple):
    """The customers of a batch from `start` up to `stop`, who share a time zone."""

    name: str | None
    start: int
    stop: int


class Batch(NamedTuple):
    """A range of customers, zone by zone."""

    rows: pl.DataFrame
    zones: tuple[Zone, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """Puts some rows of an audience in order."""
        ordered = rows.sort("time_zone", CUSTOMER_ID, nulls_last=True)
        counts = ordered.group_by("time_zone", maintain_order=True).len()
        stops = np.cumsum(counts["len"].to_numpy()).tolist()
        starts = [0, *stops]
        return cls(ordered, tuple(map(Zone, counts["time_zone"].to_list(), starts, stops)))


class Reached(NamedTuple):
    """Whom of a batch the rules let be contacted."""

    rows: np.ndarray
    """Which of the batch may be contacted and are not held out, rising."""
    allowed: dict[str, BoolArray]
    """By channel, [B, c]: what each of the batch may get."""
    rules: np.ndarray
    """[B] object: the rule at which each lost the last of it; STAYED if he did not."""
    groups: dict[str, list[str]]
    """By holdout group, the customers whom the rules let be contacted."""


@dataclass
class Reach:
    """Whom the rules let be contacted, batch by batch."""

    waterfall: Waterfall
    reachable: dict[str, list[str]] = field(default_factory=dict)
    """By holdout group, the customers whom the rules let be contacted."""

    @classmethod
    def of(cls, audience: pl.DataFrame, source: RuleSource) -> Self:
        """Nobody yet of an audience."""
        return cls(Waterfall(len(audience), source.policy.rule_ids))

    def add(self, reached: Reached) -> None:
        """Counts a batch."""
        self.waterfall.remove(reached.rules)
        for group, customers in reached.groups.items():
            self.reachable.setdefault(group, []).extend(customers)
            if group != NONE:
                self.waterfall.remove_count(f"{_HOLDOUT_RULE}{group.upper()}", len(customers))


def read_audience(brief: Brief, source: RuleSource) -> pl.DataFrame:
    """customer_id, segment, language, time_zone of the customers whom the brief names, by id.

    Raises:
        AudienceError: a field is refused or not known, or a value does not fit it.
    """
    expression = parse_audience(brief.audience)
    credit = source.policy.pack.credit if may_be_credit(brief, source) else None
    condition = compile_audience(expression, source.fields(), credit)
    return source.audience(condition, fields_of(expression)).sort(CUSTOMER_ID)


def batches(audience: pl.DataFrame) -> Iterator[Batch]:
    """The customers of `read_audience`, in its order."""
    for rows in audience.iter_slices(BATCH):
        yield Batch.of(rows)


def reach_batch(batch: Batch, brief: Brief, source: RuleSource, offers: Offers, facts: Facts) -> Reached:
    """Asks the rules about a batch; `facts` is what they know of the audience."""
    ids = batch.rows[CUSTOMER_ID].to_list()
    held_out = hold_out(ids, brief)  # before anything is known of anybody
    allowed, rules = _judge(batch, brief, source, offers, facts(ids))
    stayed, names = rules == STAYED, np.array(ids, dtype=object)
    groups = {group: names[stayed & (held_out == group)].tolist() for group in np.unique(held_out.astype(str)).tolist()}
    return Reached(np.flatnonzero(stayed & (held_out == NONE)), allowed, rules, groups)


def _judge(
    batch: Batch, brief: Brief, source: RuleSource, offers: Offers, facts: CustomerFacts
) -> tuple[dict[str, BoolArray], np.ndarray]:
    """By channel what each customer may get, [B, c], and [B] the rule at which he lost the last of it."""
    parts = [_judge_zone(zone, brief, source, offers, facts.slice(zone.start, zone.stop)) for zone in batch.zones]
    allowed = {
        offer.channel: np.concatenate([part[0][place] for part in parts]) for place, offer in enumerate(offers.channels)
    }
    return allowed, np.concatenate([rules for _, rules in parts])


def _judge_zone(
    zone: Zone, brief: Brief, source: RuleSource, offers: Offers, facts: CustomerFacts
) -> tuple[list[BoolArray], np.ndarray]:
    """As `_judge`, at the instant of one zone; a mask for each channel."""
    now = slot_times(brief, zone.name)[0]
    allowed, removed_by = [], []
    for offer in offers.channels:
        context = RequestContext(channel=offer.channel, taken=source.taken())
        outcome = source.policy.evaluate_contents(facts, offer.facts, source.products, now, context)
        allowed.append(outcome.allowed)
        removed_by.append(outcome.rule)
    rules = last_rule(np.concatenate(removed_by, axis=1), source.policy.rule_ids)
    refused = source.policy.profiling_refused(facts, now)
    return allowed, np.where((rules == STAYED) & refused, _PROFILING, rules)
