"""product_attributes, product_text and product_images.

`value`, the bank's margin, is no feature: investment products are never ranked by it, and arbitration weighs it where
everybody can see it (domain.md, Suitability, Decisions). Capacity, availability and the lists that say who may have a
product are the rules' business.
"""

from types import MappingProxyType
from typing import Final

from recsys.features.items import plan_attributes, plan_images, plan_text
from recsys.features.plan import Sources, ViewPlan
from recsys.features.spec import Entity, ViewName
from recsys.schema import FeatureKind, Table

CANONICAL: Final = MappingProxyType(
    {
        **dict.fromkeys(
            ("category", "currency", "issuer_risk", "bank_risk", "status", "is_credit", "repeatable"),
            FeatureKind.CATEGORICAL,
        ),
        **dict.fromkeys(("rate", "fee", "min_amount", "term_months", "min_age"), FeatureKind.NUMERIC),
        "available_from": FeatureKind.TIMESTAMP,
    }
)
TEXTS: Final = ("name", "description")


def plan_products(sources: Sources) -> list[ViewPlan]:
    """The views of products that the dataset has something for."""
    plans = (
        plan_attributes(sources, Table.PRODUCTS, ViewName.PRODUCT_ATTRIBUTES, Entity.PRODUCT, CANONICAL),
        plan_text(sources, Table.PRODUCTS, ViewName.PRODUCT_TEXT, Entity.PRODUCT, TEXTS),
        plan_images(sources, Table.PRODUCTS, ViewName.PRODUCT_IMAGES, Entity.PRODUCT),
    )
    return [plan for plan in plans if plan is not None]
