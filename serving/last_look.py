"""The last look at what leaves: nothing that the policy removed, nothing twice. What is found is a fault of ours."""

from recsys.decisions.answer import Decision, PlacementDecision
from recsys.decisions.catalogue import Catalogue
from recsys.policy.engine import ALLOWED
from recsys.schema import Kind


def without_violations(decision: Decision, catalogue: Catalogue) -> tuple[Decision, int]:
    """The decision without what must not be shown, and how many items those were: 0 unless the program is wrong."""
    seen: set[str] = set()
    places, found = [], 0
    for place in decision.placements:
        kept = [item for item in place.items if _is_lawful(place, item.product_id, item.content_id, catalogue, seen)]
        found += len(place.items) - len(kept)
        places.append(place if len(kept) == len(place.items) else place._replace(items=kept))
    return (decision, 0) if not found else (decision._replace(placements=places), found)


def _is_lawful(
    place: PlacementDecision, product_id: str, content_id: str | None, catalogue: Catalogue, seen: set[str]
) -> bool:
    """Whether no rule removed the item, and its product was not shown before; notes the product."""
    product = catalogue.products.index.get(product_id)
    item = product if place.kind is Kind.PRODUCTS else catalogue.content_index(content_id or "")
    if product is None or item is None or product_id in seen:
        return False
    seen.add(product_id)
    owner = int(catalogue.product_of(place.kind)[item])
    return bool(owner == product and place.rule[item] == ALLOWED)
