"""What a campaign changed: everybody who could have been contacted beside those who were left alone.

The comparison is by intention to treat: whoever the rules let be contacted, chosen or not, against the holdout. Only so
are the two groups alike but for the campaign. Rates of channels and creatives have no such control: they say how those
who got a message answered, not what the message caused.
"""

from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from recsys.schema import CUSTOMER_ID

SMALL: Final = 10
"""Groups with fewer customers are not shown."""
NOTE: Final = (
    "Segments are compared with their own part of the holdout; p-values are Holm's, for there being several. Channels "
    "and creatives were chosen and not drawn: theirs say how those answered who got them beside those who got another "
    "one, again with Holm's p-values, and not what they caused."
)
_Z: Final = NormalDist().inv_cdf(0.975)
_RATIO_ALARM: Final = 0.001


class Difference(NamedTuple):
    """Treated minus held out, with its 95 % interval; rates per customer."""

    treated: float
    held_out: float
    lift: float
    low: float
    high: float
    p: float
    """Two-sided, of no difference."""
    treated_customers: int
    held_out_customers: int


class Report(NamedTuple):
    """What is reported."""

    funnel: dict[str, int]
    """Customers who were sent, saw, clicked, applied and converted."""
    lift: Difference
    """In customers who converted."""
    cuped: Difference
    """The same with less noise, by what customers did before (Deng et al. 2013)."""
    variance_saved: float
    """Share of the variance that the past explains."""
    opt_outs: Difference
    incremental: tuple[float, float, float]
    """Conversions that the campaign brought: mean, low, high."""
    cost: float
    cost_per_incremental: tuple[float | None, float | None, float | None]
    """Mean, low, high; None where it has no bound because the lift may be nothing."""
    segments: list[dict[str, Any]]
    """Lift of each segment with its p-value after Holm's correction."""
    responses: dict[str, list[dict[str, Any]]]
    """By channel and by creative: who answered of those who got it, beside those who got something else."""
    sample_ratio: dict[str, Any]
    """Whether the groups are as large as they were drawn."""
    note: str = NOTE


def measure(people: pl.DataFrame, messages: pl.DataFrame, held_out_share: float, cost: float | None = None) -> Report:
    """Measures a campaign.

    Args:
        people: one row for each customer who could be contacted: customer_id, segment, held_out bool, before f64 (what
            he did before the campaign), and bools viewed, clicked, applied, converted, opted_out.
        messages: one row for each message that was sent: customer_id, channel, content_id, cost.
        held_out_share: the share that should have been held out.
        cost: of the campaign; None: of the messages.

    Raises:
        ValueError: one of the two groups is empty.
    """
    held = people["held_out"].to_numpy()
    converted = people["converted"].to_numpy().astype(np.float64)
    if held.all() or not held.any():
        raise ValueError("one of the two groups is empty: without a holdout no lift can be measured")
    lift = difference(converted, held)
    adjusted, saved = cuped(converted, people["before"].to_numpy(), held)
    spent = float(messages["cost"].sum()) if cost is None else cost
    treated = int((~held).sum())
    incremental = (adjusted.lift * treated, adjusted.low * treated, adjusted.high * treated)
    sent = people.join(messages.select(CUSTOMER_ID).unique(), on=CUSTOMER_ID, how="semi")
    steps = ("viewed", "clicked", "applied", "converted")
    return Report(
        funnel={"delivered": len(sent), **{step: int(sent[step].sum()) for step in steps}},
        lift=lift,
        cuped=adjusted,
        variance_saved=saved,
        opt_outs=difference(people["opted_out"].to_numpy().astype(np.float64), held),
        incremental=incremental,
        cost=spent,
        cost_per_incremental=cost_per(spent, incremental),
        segments=by_segment(people),
        responses={name: _responses(people, messages, name) for name in ("channel", "content_id")},
        sample_ratio=sample_ratio(int(held.sum()), len(held), held_out_share),
    )


def difference(outcome: np.ndarray, held: np.ndarray) -> Difference:
    """Means of two groups of customers, with the interval of Welch's t statistic.

    Shares are as uncertain as with one more who did and one more who did not in each group (Agresti and Caffo 2000):
    that nobody has converted yet does not mean that nobody will.

    Args:
        outcome: [N] float64.
        held: [N] bool.
    """
    one, other = outcome[~held], outcome[held]
    lift = float(one.mean() - other.mean())
    shares = bool(np.isin(outcome, (0.0, 1.0)).all())
    spread = float(np.sqrt(sum(_variance_of_mean(group, shares) for group in (one, other))))
    p = 2 * NormalDist().cdf(-abs(lift) / spread) if spread > 0 else 1.0
    low, high = lift - _Z * spread, lift + _Z * spread
    return Difference(float(one.mean()), float(other.mean()), lift, low, high, p, len(one), len(other))


def cuped(outcome: np.ndarray, before: np.ndarray, held: np.ndarray) -> tuple[Difference, float]:
    """The difference after what the past explains is taken away, and the share of the variance that was.

    Source: Deng, Xu, Kohavi and Walker 2013, Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data.
    """
    spread = float(before.var())
    if spread == 0 or outcome.var() == 0:
        return difference(outcome, held), 0.0
    slope = float(np.cov(outcome, before, bias=True)[0, 1]) / spread
    adjusted = outcome - slope * (before - before.mean())
    saved = 1 - float(adjusted.var()) / float(outcome.var())
    return difference(adjusted, held), saved


def cost_per(cost: float, incremental: tuple[float, float, float]) -> tuple[float | None, float | None, float | None]:
    """Cost of one more conversion: mean, low, high; None where the number of conversions may be nothing.

    >>> cost_per(100.0, (10.0, -1.0, 20.0))
    (10.0, 5.0, None)
    """
    mean, low, high = incremental
    return (
        cost / mean if mean > 0 else None,
        cost / high if high > 0 else None,
        cost / low if low > 0 else None,
    )


def sample_ratio(held_out: int, people: int, share: float) -> dict[str, Any]:
    """A chi-square test of the groups' sizes; an alarm means that no lift of this campaign is to be believed."""
    from scipy.stats import chisquare

    expected = np.array([share, 1 - share]) * people
    if not (expected > 0).all():
        return {"held_out": held_out, "expected": float(expected[0]), "p": None, "alarm": held_out != expected[0]}
    p = float(chisquare([held_out, people - held_out], expected).pvalue)
    return {"held_out": held_out, "expected": float(expected[0]), "p": p, "alarm": p < _RATIO_ALARM}


def by_segment(people: pl.DataFrame) -> list[dict[str, Any]]:
    """The lift in each segment; p-values are corrected by Holm for there being several."""
    rows = []
    for name in sorted(people["segment"].fill_null("").unique().to_list()):
        mine = people.filter(pl.col("segment").fill_null("") == name)
        held = mine["held_out"].to_numpy()
        if min(int(held.sum()), int((~held).sum())) < SMALL:
            continue
        rows.append({"segment": name, **difference(mine["converted"].to_numpy().astype(np.float64), held)._asdict()})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def holm(values: list[float]) -> list[float]:
    """p-values so that the chance of any false alarm among them is bounded (Holm 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values)
    found = np.empty(len(values))
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - rank) * values[place]))
        found[place] = worst
    return found.tolist()


def _responses(people: pl.DataFrame, messages: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    """Shares of those who got something, with Wilson intervals; small groups are left out.

    `beside` is the difference of the share who converted to that of those who got another one, where there are enough.
    """
    from scipy.stats import binomtest

    joined = messages.select(CUSTOMER_ID, column).unique().join(people, on=CUSTOMER_ID)
    rows = []
    for (name,), mine in sorted(joined.group_by(column), key=lambda pair: str(pair[0])):
        if len(mine) < SMALL:
            continue
        row: dict[str, Any] = {column: name, "customers": len(mine)}
        for step in ("clicked", "converted"):
            count = int(mine[step].sum())
            interval = binomtest(count, len(mine)).proportion_ci(method="wilson")
            row[step] = {"mean": count / len(mine), "low": float(interval.low), "high": float(interval.high)}
        here = (joined[column] == name).to_numpy()
        if len(here) - here.sum() >= SMALL:
            row["beside"] = difference(joined["converted"].to_numpy().astype(np.float64), ~here)._asdict()
        rows.append(row)
    compared = [row["beside"] for row in rows if "beside" in row]
    for one, p in zip(compared, holm([one["p"] for one in compared]), strict=True):
        one["p_holm"] = p
    return rows


def _variance_of_mean(values: np.ndarray, shares: bool) -> float:
    if shares:
        share = (float(values.sum()) + 1) / (len(values) + 2)
        return share * (1 - share) / (len(values) + 2)
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
