"""Products, customers and what joins them, of a few facts each; and the first rule that removes a product."""

from datetime import UTC, datetime, timedelta

import polars as pl

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts, ProductFacts, Relations, relations
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import PolicyName

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BANK = PolicyEngine(load_pack(PolicyName.BANK))
ADULT = {"risk_level": "C3", "risk_assessed_at": NOW - timedelta(days=10), "is_minor": False}
NOTHING = Relations.empty(1)


def products(*rows: dict[str, object]) -> ProductFacts:
    frame = [{"product_id": f"p{number}", **row} for number, row in enumerate(rows)]
    return ProductFacts.from_frame(pl.DataFrame(frame, infer_schema_length=None))


def customers(*rows: dict[str, object]) -> CustomerFacts:
    return CustomerFacts.from_frame(pl.DataFrame(list(rows), infer_schema_length=None))


def first_rule(
    customer: CustomerFacts, product: ProductFacts, engine: PolicyEngine = BANK, **request: str | None
) -> list[str]:
    outcome = engine.evaluate(customer, product, NOW, RequestContext(**request))
    return ["" if rule < 0 else outcome.rule_ids[rule] for rule in outcome.rule[0]]


def relation(product_id: str, since: datetime, until: datetime | None = None) -> Relations:
    rows = {"customer_id": ["c"], "product_id": [product_id], "since": [since], "until": [until]}
    schema = {
        "customer_id": pl.String,
        "product_id": pl.String,
        "since": pl.Datetime("us", "UTC"),
        "until": pl.Datetime("us", "UTC"),
    }
    return relations(pl.DataFrame(rows, schema=schema), ["c"], products({}, {}, {}, {}))
