"""What of a customer's row a reason may point to, and the row without it."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from recsys.decisions.catalogue import Catalogue
from recsys.decisions.scoring import Features
from recsys.decisions.wording import SPENDING_WORDS
from recsys.features.history import CONTENT_IDS, EVENT_TYPES, PRODUCT_IDS, PRODUCTS_EVER
from recsys.features.spec import AS_OF, ViewName, feature_name
from recsys.modeling.variants import Variant
from recsys.policy.facts import BoolArray
from recsys.schema import EVENT_TIMESTAMP, EventType, Kind, Modality

VIEWS: Final = MappingProxyType(
    {
        Modality.PROFILE: (ViewName.CUSTOMER_PROFILE,),
        Modality.BEHAVIOUR: (ViewName.CUSTOMER_BEHAVIOUR, ViewName.CUSTOMER_TRANSACTIONS),
        Modality.HISTORY: (ViewName.CUSTOMER_HISTORY,),
        Modality.TEXT: (ViewName.CUSTOMER_TEXT,),
        Modality.IMAGE: (ViewName.CUSTOMER_IMAGES,),
    }
)
"""The feature views that each modality is made of."""
HISTORY: Final = ViewName.CUSTOMER_HISTORY
_REFUSALS: Final = frozenset((EventType.DISMISS, EventType.OPT_OUT))
_NO_INPUT: Final = (EVENT_TIMESTAMP, AS_OF)
_PRODUCTS, _SPENDING, _TONES = 3, 1, 1
"""How many products of the history, kinds of spending and tones are looked at: bounds the time of an answer."""


class Evidence(NamedTuple):
    """A part of a customer's row."""

    view: str
    """The feature view."""
    feature: str = ""
    """Its column; empty: the whole view."""
    value: str = ""
    """What the entries of the history are about: a product's id, or a creative's tone; empty: the whole column."""


class Entry(NamedTuple):
    """An event of the history."""

    product: int
    """Position in the catalogue, of the product itself or of the one that the content is about; -1: not in it."""
    tone: str
    """Of the creative; empty where there is none."""
    refused: bool
    """He dismissed it."""


class Row(NamedTuple):
    """A customer's row, read once."""

    features: Features
    columns: Counter[str]
    """View to how many columns of it there are; the history has as many as it has entries."""
    entries: list[Entry]
    """The history, oldest first."""
    keys: dict[str, list[str]]
    """View to its columns, as the row names them."""

    @property
    def views(self) -> list[str]:
        """The views of which the customer has something, in the order of the modalities."""
        return [view for views in VIEWS.values() for view in views if self.columns[view]]


class EvidenceFinder:
    """Finds what an item's score may depend on.

    Args:
        catalogue: what can be shown.
        named: [P]: the products that a reason may name.
    """

    def __init__(self, catalogue: Catalogue, named: BoolArray) -> None:
        self._catalogue = catalogue
        self._named = named

    def read(self, features: Features) -> Row:
        """Reads a customer's row."""
        entries = list(self._entries(*(_list(features, name) for name in (PRODUCT_IDS, CONTENT_IDS, EVENT_TYPES))))
        keys: dict[str, list[str]] = {}
        columns: Counter[str] = Counter()
        for key, value in features.items():
            view, is_read = _view_of(key)
            keys.setdefault(view, []).append(key)
            if is_read and value is not None:
                columns[view] += 1
        columns[HISTORY] = len(entries)
        return Row(features, columns, entries, keys)

    def find(self, row: Row, held: Collection[int], kinds: Collection[Kind]) -> list[Evidence]:
        """All that is worth a look, each once: whole views first, then what is more specific.

        Args:
            row: the customer's.
            held: positions of the products that he has: they come before what he only looked at.
            kinds: what will be shown; tones matter to creatives only.
        """
        entries = row.entries
        found = [Evidence(view) for view in row.views]
        found += [Evidence(ViewName.CUSTOMER_TRANSACTIONS, column) for column in _spending(row.features)]
        touched = dict.fromkeys(entry.product for entry in reversed(entries) if not entry.refused)
        products = [product for product in touched if product >= 0 and self._named[product]]
        products.sort(key=lambda product: product not in held)  # stable: the latest first
        ids = self._catalogue.products.ids
        found += [Evidence(HISTORY, PRODUCT_IDS, ids[product]) for product in products[:_PRODUCTS]]
        if Kind.CONTENTS in kinds:
            tones = Counter(entry.tone for entry in entries if entry.tone and not entry.refused)
            found += [Evidence(HISTORY, CONTENT_IDS, tone) for tone, _ in tones.most_common(_TONES)]
        return found

    def without_each(self, row: Row, evidence: Sequence[Evidence]) -> list[Features]:
        """The row once without each evidence."""
        return [self._without(row, part) for part in evidence]

    def sizes(self, row: Row, evidence: Sequence[Evidence]) -> tuple[list[int], int]:
        """How many atoms each evidence has, and how many the row: its columns, and the entries of its history."""
        sizes = [
            len(self.places(row.entries, part)) if part.value else 1 if part.feature else row.columns[part.view]
            for part in evidence
        ]
        return sizes, sum(row.columns[view] for view in row.views)

    def places(self, entries: Sequence[Entry], evidence: Evidence) -> list[int]:
        """The places of the history's entries that evidence with a value is about."""
        if evidence.feature == CONTENT_IDS:
            return [place for place, entry in enumerate(entries) if entry.tone == evidence.value]
        product = self._catalogue.products.index.get(evidence.value)
        return [place for place, entry in enumerate(entries) if entry.product == product]

    def _without(self, row: Row, evidence: Evidence) -> Features:
        features = row.features
        if not evidence.feature:
            return Variant(features, row.keys.get(evidence.view, ()))
        if not evidence.value:
            return Variant(features, (feature_name(evidence.view, evidence.feature),))
        places = self.places(row.entries, evidence)
        if evidence.feature == CONTENT_IDS:
            return without_contents(features, places)
        return without_entries(features, places)

    def _entries(self, products: Sequence[str], contents: Sequence[str], types: Sequence[str]) -> Iterator[Entry]:
        catalogue = self._catalogue
        about = catalogue.product_of(Kind.CONTENTS)
        for place in range(max(len(products), len(contents))):
            product_id = products[place] if products else ""
            content = catalogue.content_index(contents[place]) if contents and contents[place] else None
            product = catalogue.products.index.get(product_id, -1)
            if not product_id and content is not None:
                product = int(about[content])
            tone = "" if content is None or not catalogue.content_tones else catalogue.content_tones[content]
            yield Entry(product, tone, bool(types) and types[place] in _REFUSALS)


@lru_cache(maxsize=4096)
def _view_of(key: str) -> tuple[str, bool]:
    """Whose column a row's key is, and whether a model may read it."""
    return key.partition("__")[0], is_input(key)


def is_input(key: str) -> bool:
    """Whether a model may read a column of a row: the times at which rows became true are none of its business."""
    return key.rpartition("__")[2] not in _NO_INPUT


def drop(features: Features, views: Sequence[str]) -> Features:
    """The row without whole views."""
    prefixes = tuple(feature_name(view, "") for view in views)
    return {key: value for key, value in features.items() if not key.startswith(prefixes)}


def without_entries(features: Features, places: Collection[int]) -> Features:
    """The row without some entries of the history; without the history where none is left.

    A product that no other entry is about is no more among those that the customer ever took up.
    """
    gone, prefix = frozenset(places), feature_name(HISTORY, "")
    ever = feature_name(HISTORY, PRODUCTS_EVER)
    lists = {k: v for k, v in features.items() if k.startswith(prefix) and k != ever and _is_list(v)}
    if all(len(gone) >= len(value) for value in lists.values()):
        return Variant(features, [key for key in features if key.startswith(prefix)])
    kept = {key: [one for place, one in enumerate(value) if place not in gone] for key, value in lists.items()}
    if ever in features:
        products = _list(features, PRODUCT_IDS)
        lost = {product for place, product in enumerate(products) if place in gone}
        lost -= {product for place, product in enumerate(products) if place not in gone}
        kept[ever] = [product for product in _list(features, PRODUCTS_EVER) if product not in lost]
    return Variant(features, changed=kept)


def without_contents(features: Features, places: Collection[int]) -> Features:
    """The row as if some entries of the history had been about no creative."""
    key, gone = feature_name(HISTORY, CONTENT_IDS), frozenset(places)
    blank = ["" if place in gone else value for place, value in enumerate(_list(features, CONTENT_IDS))]
    return Variant(features, changed={key: blank})


def _spending(features: Features) -> list[str]:
    """The largest of the shares that may be named."""
    values = {name: features.get(feature_name(ViewName.CUSTOMER_TRANSACTIONS, name)) for name in SPENDING_WORDS}
    shares = {name: share for name, share in values.items() if share}
    return sorted(shares, key=lambda name: (-shares[name], name))[:_SPENDING]


def _list(features: Features, column: str) -> Sequence[Any]:
    value = features.get(feature_name(HISTORY, column))
    return () if value is None else value


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)
