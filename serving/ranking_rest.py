"""What of a decision's ranking was not shown: the same list whenever it is asked for."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recsys.decisions.answer import Decision
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.scoring import ScoreArray
from recsys.policy.engine import RuleArray
from recsys.policy.facts import BoolArray, IntArray
from recsys.schema import Kind
from serving.recording import Inputs

HeldBack = Mapping[Kind, Sequence[str]]


def have_more(decision: Decision, inputs: Inputs, catalogue: Catalogue) -> set[str]:
    """The placements with a product that could have been shown and was not, anywhere in the answer."""
    shown = {item.product_id for place in decision.placements for item in place.items}
    found = set()
    for place in decision.placements:
        if len(place.rule):
            left = np.zeros(len(catalogue.products), dtype=bool)
            left[catalogue.product_of(place.kind)[_open(place.kind, place.rule, inputs.held_back, catalogue)]] = True
            left[_positions(shown, catalogue)] = False
            if left.any():
                found.add(place.name)
    return found


def rest_of_ranking(
    kind: Kind, ranked: tuple[RuleArray, ScoreArray], shown: Iterable[str], held_back: HeldBack, catalogue: Catalogue
) -> IntArray:
    """Positions of the items that no rule removed and whose product was not shown, best first, one per product.

    Args:
        kind: of the items.
        ranked: [N] what the decision said of every item: the rule that removed it (-1: none), and its score; NaN
            where the log has none: the ranking has ended before it.
        shown: products.
        held_back: items that were changed after the decision's model was assembled.
        catalogue: of the decision.
    """
    rule, scores = ranked
    product_of = catalogue.product_of(kind)
    left = _open(kind, rule, held_back, catalogue) & ~np.isin(product_of, _positions(shown, catalogue))
    left &= ~np.isnan(scores)
    items = np.flatnonzero(left)
    order = items[np.argsort(-scores[items], kind="stable")]
    first = np.unique(product_of[order], return_index=True)[1]
    return order[np.sort(first)]


def _open(kind: Kind, rule: RuleArray, held_back: HeldBack, catalogue: Catalogue) -> BoolArray:
    mask: BoolArray = rule == -1
    return mask & catalogue.without(held_back)[kind] if held_back else mask


def _positions(products: Iterable[str], catalogue: Catalogue) -> list[int]:
    index = catalogue.products.index
    return [index[product] for product in products if product in index]
