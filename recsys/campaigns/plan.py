"""What a plan says: who gets what and when, what to expect of it, what it costs, and how sure that is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys.campaigns.brief import RESPONSES
from recsys.campaigns.fairness import fairness_table
from recsys.campaigns.holdouts import CAMPAIGN, GLOBAL, NONE
from recsys.campaigns.planner import Planned
from recsys.campaigns.power import power_of
from recsys.campaigns.response import Estimate
from recsys.campaigns.slots import slot_times
from recsys.campaigns.source import History
from recsys.campaigns.valuation import effect_of
from recsys.campaigns.waterfall import WaterfallStep
from recsys.schema import CUSTOMER_ID

PROPENSITY, UPLIFT = "propensity", "uplift"
KEYS = (CUSTOMER_ID, "product_id", "content_id", "channel", "slot")
ASSIGNMENT_COLUMNS = (*KEYS, "send_at", "segment", "language", "probability", "uplift", "value", "cost")


class Plan(NamedTuple):
    """All that is written of a plan, but its pictures."""

    summary: dict[str, Any]
    """plan.json, without `created_at`."""
    assignments: pl.DataFrame
    """ASSIGNMENT_COLUMNS, sorted by KEYS."""
    holdout: pl.DataFrame
    """customer_id and group (`global`, `campaign`) of those whom the rules would have let be contacted."""
    reachable: pl.DataFrame
    """customer_id of those whom the rules let be contacted and who are not held out, chosen or not: a holdout is fairly
    compared with all of these."""
    waterfall: Sequence[WaterfallStep]


def describe(planned: Planned) -> Plan:
    """The plan in the form in which it is kept."""
    assignments = _assignments(planned)
    reachable = planned.draft.reach.reachable
    holdout = pl.concat([_group(reachable.get(name, []), name) for name in (GLOBAL, CAMPAIGN)]).sort(CUSTOMER_ID)
    steps = planned.draft.reach.waterfall.steps(planned.source.count())
    summary = {
        "brief": planned.brief.model_dump(mode="json"),
        "as_of": planned.source.as_of.isoformat(),
        "seed": planned.brief.seed,
        "in_app_channels": list(planned.in_app),
        **_method(planned),
        "learned_from": _learned_from(planned.draft.history),
        "waterfall": [step._asdict() for step in steps],
        "totals": _totals(planned, assignments),
        "constraints": [{**price._asdict(), "binding": price.binding} for price in planned.allocation.prices],
        "allocation": planned.allocation.method,
        "gap": planned.allocation.gap,
        "power": _power(planned, len(holdout))._asdict(),
        "fairness": _fairness(planned, assignments),
        "versions": dict(planned.source.versions),
    }
    free = pl.DataFrame({CUSTOMER_ID: pl.Series(reachable.get(NONE, []), dtype=pl.String)}).sort(CUSTOMER_ID)
    return Plan(summary, assignments, holdout, free, steps)


def _assignments(planned: Planned) -> pl.DataFrame:
    chosen = planned.allocation.assignments
    zones = planned.audience.select(CUSTOMER_ID, "time_zone")
    slots = [
        {"time_zone": zone, "slot": number, "send_at": moment}
        for zone in zones["time_zone"].unique().to_list()
        for number, moment in enumerate(slot_times(planned.brief, zone))
    ]
    schema: dict[str, Any] = {"time_zone": pl.String, "slot": pl.Int32, "send_at": pl.Datetime("us", "UTC")}
    timed = chosen.join(zones, on=CUSTOMER_ID, how="left").join(
        pl.DataFrame(slots, schema=schema), on=["time_zone", "slot"], how="left", nulls_equal=True
    )
    return timed.rename({"added": "uplift"}).select(ASSIGNMENT_COLUMNS).sort(KEYS)


def _group(customers: Sequence[str], name: str) -> pl.DataFrame:
    return pl.DataFrame({CUSTOMER_ID: pl.Series(customers, dtype=pl.String)}).with_columns(pl.lit(name).alias("group"))


def _method(planned: Planned) -> dict[str, Any]:
    """How customers are ranked, and why."""
    history, uplift = planned.draft.history, planned.draft.history.uplift
    table = None if uplift is None else {"best": uplift.learner, "reason": uplift.reason, "qini": uplift.qini}
    if uplift is not None and uplift.predict is not None:
        return {"method": UPLIFT, "why": f"ranked by what a contact adds: {uplift.reason}", "uplift": table}
    why = _why_propensity(history, RESPONSES[planned.brief.objective])
    return {"method": PROPENSITY, "why": why if uplift is None else f"{why}; {uplift.reason}", "uplift": table}


def _learned_from(history: History) -> dict[str, int]:
    """How much was looked at to say what a contact brings."""
    return {
        "customers": history.customers,
        "exposures": history.curve.exposures,
        "responses": history.curve.responses,
        "scored": history.scored,
    }


def _why_propensity(history: History, wanted: str) -> str:
    share = history.share
    blended = ", blended with the champion's ranking," if history.blended else ""
    why = (
        f"ranked by the response model's probability{blended} that a conversion follows from the contact itself"
        if history.by_responses
        else f"ranked by the probability of `{wanted}` after a contact"
    )
    why += (
        f"; responses expected from {history.curve.responses} to {history.curve.exposures} logged impressions of "
        f"{history.customers} customers; "
    )
    if share is None:
        why += "the history has no randomised control group that responded: what contact adds is not known"
    elif share.low > 0:
        why += f"of the responses {share.mean:.0%} ({share.low:.0%} to {share.high:.0%}) come from contact, by its arms"
    else:
        why += (
            f"its arms do not show that contact adds anything ({share.mean:.0%}, {share.low:.0%} to {share.high:.0%}): "
            "values count every response"
        )
    return why


def _totals(planned: Planned, assignments: pl.DataFrame) -> dict[str, Any]:
    history = planned.draft.history
    expected = history.curve.expected(assignments["probability"].to_numpy())
    return {
        "customers": assignments[CUSTOMER_ID].n_unique(),
        "contacts": len(assignments),
        "cost": float(assignments["cost"].sum()),
        "expected_responses": expected._asdict(),
        "incremental_responses": _incremental(expected, history.share),
        "conversions_per_response": history.worth,
        "value": planned.allocation.objective,
        "value_bound": planned.allocation.bound,
    }


def _incremental(expected: Estimate, share: Estimate | None) -> dict[str, float] | None:
    """Responses times the share that contact brings; relative errors of independent factors add in quadrature."""
    if share is None or not expected.mean:
        return None
    mean = expected.mean * share.mean
    spread = (expected.high - expected.low) / 2 * abs(share.mean)
    below = float(np.hypot(spread, expected.mean * (share.mean - share.low)))
    above = float(np.hypot(spread, expected.mean * (share.high - share.mean)))
    return Estimate(mean, mean - below, mean + above)._asdict()


def _power(planned: Planned, held_out: int) -> Any:
    """Of comparing everybody who could be contacted with everybody who is held out, contacted or not."""
    treated = len(planned.draft.reach.reachable.get(NONE, []))
    responses = float(planned.allocation.assignments["probability"].sum())
    share = planned.draft.history.share
    effect = effect_of(planned.draft.history)
    rate = responses / treated if treated else 0.0
    if share is None or share.low <= 0:
        return power_of(treated, held_out, min(rate, 1.0), None)
    return power_of(treated, held_out, min(rate * (1 - effect), 1.0), rate * effect)


def _fairness(planned: Planned, assignments: pl.DataFrame) -> dict[str, Any]:
    ids = planned.audience[CUSTOMER_ID]
    free = pl.Series(planned.draft.reach.reachable.get(NONE, []), dtype=pl.String)
    return fairness_table(
        planned.source.groups(ids.to_list()),
        ids.is_in(free.implode()).to_numpy(),
        ids.is_in(assignments[CUSTOMER_ID].unique().implode()).to_numpy(),
    )
