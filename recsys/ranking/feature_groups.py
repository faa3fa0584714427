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
