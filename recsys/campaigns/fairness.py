"""Who a plan reaches, group by group: small groups masked, intervals, and an alarm below four fifths."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from recsys.campaigns.source import Groups
from recsys.metrics.bootstrap import Interval
from recsys.metrics.fairness import FOUR_FIFTHS, Resampled, chance_of_shortfall, mean_of, share_ratio

MINIMUM_GROUP: Final = 10
_SAMPLES: Final = 1000
_ALPHA: Final = 0.05
_HIT, _ALL = 0, 1


def fairness_table(attributes: Sequence[Groups], reachable: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    """How often the customers of each group are contacted, of those whom the rules let be contacted.

    Args:
        attributes: groups of B customers of the audience.
        reachable: [B] bool: the rules leave something to send.
        chosen: [B] bool: the plan contacts him.
    """
    tables = {attribute.name: _table(attribute, reachable, chosen, seed) for seed, attribute in enumerate(attributes)}
    compared = sum(len(rows) for rows in tables.values())
    alarms = [
        {"attribute": name, "group": row["group"], "ratio": row["ratio"], "p": row["p"]}
        for name, rows in tables.items()
        for row in rows
        if not row["masked"] and row["ratio"] is not None and row["ratio"]["mean"] < FOUR_FIFTHS
    ]
    for alarm in alarms:
        alarm["certain"] = alarm["p"] < _ALPHA / compared
    return {
        "minimum_group": MINIMUM_GROUP,
        "alarm_below": FOUR_FIFTHS,
        "attributes": tables,
        "alarms": alarms,
        "note": "rates of those whom the rules let be contacted; `certain` after Bonferroni over all groups",
    }


def _table(attribute: Groups, reachable: np.ndarray, chosen: np.ndarray, seed: int) -> list[dict[str, Any]]:
    names = sorted({str(label) for label in attribute.labels if label is not None})
    of_group = {name: attribute.labels == name for name in names}
    sizes = {name: int(mask.sum()) for name, mask in of_group.items()}
    counts = {name: (int((mask & reachable).sum()), int((mask & chosen).sum())) for name, mask in of_group.items()}
    drawn = {
        name: _binomial(hits, n, seed * 1000 + place)
        for place, (name, (n, hits)) in enumerate(counts.items())
        if n >= MINIMUM_GROUP
    }
    reference = max(drawn, key=lambda name: (drawn[name].n, name), default=None)
    rows: list[dict[str, Any]] = []
    for name in names:
        if name not in drawn or reference is None:
            rows.append({"group": name, "kind": attribute.kind, "masked": True})
            continue
        mine, theirs = drawn[name], drawn[reference]
        rows.append(
            {
                "group": name,
                "kind": attribute.kind,
                "masked": False,
                "audience": sizes[name],
                "reachable": mine.n,
                "rate": _json(mean_of(mine, _HIT)),
                "reference": name == reference,
                "ratio": None if name == reference else _json(share_ratio(mine, theirs, _HIT, _ALL)),
                "p": 1.0 if name == reference else chance_of_shortfall(mine, theirs, _HIT, _ALL, FOUR_FIFTHS),
            }
        )
    return rows


def _binomial(hits: int, n: int, seed: int) -> Resampled:
    """What `metrics.fairness.resample` makes of n zeros and ones: the sum of such a resample is a binomial draw."""
    rate = hits / n
    draws = np.random.default_rng(seed).binomial(n, rate, _SAMPLES) / n
    return Resampled(np.array([rate, 1.0]), np.stack([draws, np.ones(_SAMPLES)], axis=1), n)


def _json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}
