"""How an audience becomes a list of recipients: who fell out at which rule, and how many are left."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

START: Final = "start"
ELIGIBLE: Final = "eligible"
SUITABLE: Final = "suitable"
CONSENTED: Final = "consented"
UNDER_CAPS: Final = "under caps"
CONTENT: Final = "approved content"
HOLDOUT: Final = "holdout"
CAPACITY: Final = "capacity"
CHOSEN: Final = "chosen"
STEPS: Final = (START, ELIGIBLE, SUITABLE, CONSENTED, UNDER_CAPS, CONTENT, HOLDOUT, CAPACITY, CHOSEN)
_STEP_OF_PREFIX: Final = {
    "SUIT": SUITABLE,
    "CONSENT": CONSENTED,
    "CONTACT": UNDER_CAPS,
    "CONTENT": CONTENT,
    "HOLDOUT": HOLDOUT,
    "CAP": CAPACITY,
    "VALUE": CAPACITY,
}
STAYED: Final = ""
OTHER: Final = "OTHER"
"""Stands for the rules of a step that removed fewer than SMALL customers each: which of them did is not told."""
SMALL: Final = 10


class WaterfallStep(NamedTuple):
    """One rule."""

    step: str
    rule: str
    removed: int
    left: int


def masked(step: WaterfallStep) -> tuple[str, str]:
    """What may be shown of a rule: removed and left, in words; where few were removed, neither.

    >>> masked(WaterfallStep("suitable", "SUIT_RISK", 3, 900))
    ('<10', '')
    >>> masked(WaterfallStep("suitable", "SUIT_RISK", 1200, 900))
    ('1,200', '900')
    """
    left = f"<{SMALL}" if 0 < step.left < SMALL else f"{step.left:,}"
    if not step.removed:
        return "", left
    return (f"<{SMALL}", "") if step.removed < SMALL else (f"{step.removed:,}", left)


def step_of(rule: str) -> str:
    """The step that a rule belongs to.

    >>> step_of("SUIT_RISK"), step_of("VULN_MINOR"), step_of("CONTACT_CAP")
    ('suitable', 'eligible', 'under caps')
    """
    return _STEP_OF_PREFIX.get(rule.split("_", 1)[0], ELIGIBLE)


def last_rule(removed_by: np.ndarray, rule_ids: Sequence[str]) -> np.ndarray:
    """[B] object: the rule at which each customer lost the last of what he could have been sent; STAYED if he did not.

    Rules act in the pack's order, so of the rules that took his options the latest one took the last.

    Args:
        removed_by: [B, N] int: position of the first rule that removed an option, -1 where none did.
        rule_ids: the pack's, in order.
    """
    if not removed_by.shape[1]:
        raise ValueError("there are no options to judge")
    lost = (removed_by >= 0).all(axis=1)
    names = np.array([*rule_ids, STAYED], dtype=object)
    return names[np.where(lost, removed_by.max(axis=1), len(rule_ids))]


class Waterfall:
    """Counts, chunk by chunk."""

    def __init__(self, audience: int, rule_ids: Sequence[str]) -> None:
        self.audience = audience
        self._rule_ids = tuple(rule_ids)
        self._removed: Counter[str] = Counter()

    def remove(self, rules: np.ndarray) -> None:
        """Adds what `last_rule` says of some customers."""
        self._removed.update(rule for rule in rules.tolist() if rule != STAYED)

    def remove_count(self, rule: str, count: int) -> None:
        """Adds customers that one rule removed."""
        self._removed[rule] += count

    def steps(self, everybody: int) -> list[WaterfallStep]:
        """Every rule that removed somebody, in order, and every step even if nobody fell out at it.

        Args:
            everybody: customers of the bank, of whom the audience is a part.
        """
        rows = [WaterfallStep(START, "customers", 0, everybody)]
        rows.append(WaterfallStep(START, "audience", everybody - self.audience, self.audience))
        left = self.audience
        for step in STEPS[1:]:
            for rule, removed in self._of_step(step) or [("", 0)]:
                left -= removed
                rows.append(WaterfallStep(step, rule, removed, left))
        return rows

    def _of_step(self, step: str) -> list[tuple[str, int]]:
        """The step's rules in order with what each removed; those that removed few are one."""
        removed = [(rule, self._removed[rule]) for rule in self._order() if step_of(rule) == step]
        if step in (HOLDOUT, CAPACITY):
            return [(rule, count) for rule, count in removed if count]
        shown = [(rule, count) for rule, count in removed if count >= SMALL]
        few = sum(count for _, count in removed if count < SMALL)
        return [*shown, (OTHER, few)] if few else shown

    def _order(self) -> list[str]:
        return [*self._rule_ids, *(rule for rule in self._removed if rule not in self._rule_ids)]
