"""What the second stage's features are about: the groups that staff reads."""

from types import MappingProxyType
from typing import Final

AVERAGE: Final = "average"
"""The average score, which is no feature's."""
OTHER: Final = "content"
_PREFIXES: Final = MappingProxyType(
    {
        "towers": ("tower",),
        "interest": ("interest",),
        "similar_customers": ("ease", "knn", "transition", "factors"),
        "popularity": ("count", "age_", "trend"),
        "history": ("length", "since_last", "span", "own_"),
        "attributes": ("attribute_",),
    }
)


def feature_group(name: str) -> str:
    """The group of one of `FeatureBuilder`'s columns.

    >>> [feature_group(name) for name in ("tower_rank", "knn_recent", "count_7d", "own_click", "text_last_1")]
    ['towers', 'similar_customers', 'popularity', 'history', 'content']
    """
    return next((group for group, prefixes in _PREFIXES.items() if name.startswith(prefixes)), OTHER)


def is_proposal(name: str) -> bool:
    """Whether one of `FeatureBuilder`'s columns is the score of a source that proposes, not a place in its list.

    >>> [is_proposal(name) for name in ("tower", "tower_rank", "ease_recent", "count_7d", "interest")]
    [True, False, True, False, True]
    """
    return feature_group(name) in {"towers", "interest", "similar_customers"} and not name.endswith("_rank")
