"""The contents (marketing creatives) as the rules see them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import (
    BoolArray,
    IntArray,
    TextArray,
    TimeArray,
    primary,
    texts,
    times_of,
    values_of,
)
from recsys.policy.facts.claims import Claims, read_claims
from recsys.policy.facts.products import ProductFacts
from recsys.schema import CONTENT_ID, PRODUCT_ID

COPY: Final = ("headline", "body", "call_to_action", "disclaimer")
"""The columns of a creative that people read."""


@dataclass(frozen=True, eq=False)
class ContentFacts:
    """C contents as the rules see them, in catalogue order."""

    ids: tuple[str, ...]
    product: IntArray
    """The position of the product that each is about."""
    status: TextArray | None
    """None where the catalogue keeps no states; empty where one is missing."""
    hash_matches: BoolArray
    """Whether the approval is of exactly this content."""
    valid_from: TimeArray
    valid_to: TimeArray
    language: TextArray
    """Primary language tags; empty where it is not known."""
    channel: TextArray
    """The only channel that it was made for; empty: any."""
    claims: tuple[Claims, ...]
    """The numbers in its copy."""

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, products: ProductFacts) -> Self:
        """From one row a content; each must be about one of `products`.

        Raises:
            ValueError: a content is about a product that is not in the catalogue.
        """
        product = products.positions(frame[PRODUCT_ID].to_list())
        if (product < 0).any():
            orphan = frame.row(int(np.argmin(product)), named=True)
            raise ValueError(f"content {orphan[CONTENT_ID]} is about product {orphan[PRODUCT_ID]}, which is unknown")
        hashes = zip(values_of(frame, "content_hash"), values_of(frame, "approved_hash"), strict=True)
        hashed = {"content_hash", "approved_hash"} <= set(frame.columns)
        copy = zip(*(values_of(frame, column) for column in COPY), strict=True)
        return cls(
            ids=tuple(frame[CONTENT_ID].to_list()),
            product=product,
            status=texts(frame["status"].to_list()) if "status" in frame.columns else None,
            hash_matches=np.array([not hashed or (a is not None and a == b) for a, b in hashes], dtype=bool),
            valid_from=times_of(frame, "valid_from"),
            valid_to=times_of(frame, "valid_to"),
            language=texts([primary(tag) for tag in values_of(frame, "language")]),
            channel=texts(values_of(frame, "channel")),
            claims=tuple(read_claims(words) for words in copy),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def in_another_language(self, wanted: str) -> BoolArray:
        """[C]: those whose language is known and is not the one that is wanted; none where none is."""
        return _others(self._by_language, wanted) if wanted else self._none

    def for_another_channel(self, channel: str) -> BoolArray:
        """[C]: those that were made for one channel only, and not for this one."""
        return _others(self._by_channel, channel)

    @cached_property
    def _by_language(self) -> dict[str, BoolArray]:
        return _by_value(self.language)

    @cached_property
    def _by_channel(self) -> dict[str, BoolArray]:
        return _by_value(self.channel)

    @cached_property
    def _none(self) -> BoolArray:
        return np.zeros(len(self), dtype=bool)


def _by_value(texts: TextArray) -> dict[str, BoolArray]:
    """Which have each text; the empty one tells which have any. Comparing texts is slow, and there are few of them."""
    found = {str(value): texts == value for value in np.unique(texts) if value}
    return found | {"": texts != ""}


def _others(by_value: dict[str, BoolArray], wanted: str) -> BoolArray:
    mine = by_value.get(wanted)
    return by_value[""] if mine is None or not wanted else by_value[""] & ~mine
