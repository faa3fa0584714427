"""What the rules read: products, contents and customers as aligned numpy arrays, built from frames.

B customers, N products, C contents, E entries of compressed rows (who has what, who was written to when).
"""

from recsys.policy.facts.arrays import (
    NO_RATING,
    NOT_A_TIME,
    BoolArray,
    CodeArray,
    FloatArray,
    IntArray,
    Restriction,
    TextArray,
    TimeArray,
    as_instant,
    primary,
)
from recsys.policy.facts.consents import ConsentAnswer, Consents
from recsys.policy.facts.contacts import Contact, Contacts
from recsys.policy.facts.contents import ContentFacts
from recsys.policy.facts.customers import FACT_COLUMNS, FLAGS, CustomerFacts
from recsys.policy.facts.products import DRAFT, LIVE, PAUSED, SOLD_OUT, ProductFacts
from recsys.policy.facts.relations import Relations, relations

__all__ = [
    "DRAFT",
    "FACT_COLUMNS",
    "FLAGS",
    "LIVE",
    "NOT_A_TIME",
    "NO_RATING",
    "PAUSED",
    "SOLD_OUT",
    "BoolArray",
    "CodeArray",
    "ConsentAnswer",
    "Consents",
    "Contact",
    "Contacts",
    "ContentFacts",
    "CustomerFacts",
    "FloatArray",
    "IntArray",
    "ProductFacts",
    "Relations",
    "Restriction",
    "TextArray",
    "TimeArray",
    "as_instant",
    "primary",
    "relations",
]
