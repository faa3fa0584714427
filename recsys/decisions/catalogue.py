"""The items that can be shown, as decisions see them: their facts for the policy and their words for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl

from recsys.decisions.versions import product_version, words_hash
from recsys.policy.facts import BoolArray, ContentFacts, IntArray, ProductFacts
from recsys.schema import CONTENT_ID, PRODUCT_ID, Kind


@dataclass(frozen=True)
class Catalogue:
    """N products and C contents in the model's candidate order."""

    products: ProductFacts
    contents: ContentFacts | None
    product_titles: tuple[str, ...]
    content_titles: tuple[str, ...]
    content_tones: tuple[str, ...] = ()
    """Empty strings where it is not known; nothing where contents have no tones."""
    frames: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)
    """What it was made from."""

    @classmethod
    def from_frames(cls, products: pl.DataFrame, contents: pl.DataFrame | None) -> Self:
        """From one row an item, with the canonical columns that are there."""
        facts = ProductFacts.from_frame(products)
        names = products["name"].to_list() if "name" in products.columns else list(facts.ids)
        content_facts = None if contents is None else ContentFacts.from_frame(contents, facts)
        headlines: list[str | None] = []
        tones: list[str | None] = []
        if contents is not None:
            headlines = contents["headline"].to_list() if "headline" in contents.columns else [None] * len(contents)
            about = dict(zip(facts.ids, names, strict=True))
            owners = contents[PRODUCT_ID].to_list()
            headlines = [line or about[owner] for line, owner in zip(headlines, owners, strict=True)]
            tones = contents["tone"].to_list() if "tone" in contents.columns else []
        titles, said = (tuple(text or "" for text in column) for column in (headlines, tones))
        frames = (products,) if contents is None else (products, contents)
        return cls(facts, content_facts, tuple(names), titles, said, frames)

    def ids(self, kind: Kind) -> tuple[str, ...]:
        """The ids of a kind, in candidate order."""
        if kind is Kind.PRODUCTS:
            return self.products.ids
        return () if self.contents is None else self.contents.ids

    def titles(self, kind: Kind) -> tuple[str, ...]:
        """What each item of a kind is called."""
        return self.product_titles if kind is Kind.PRODUCTS else self.content_titles

    def product_of(self, kind: Kind) -> IntArray:
        """The product's position for each item of a kind: itself, or the one that a content is about."""
        if kind is Kind.PRODUCTS:
            return self._own
        return self._none if self.contents is None else self.contents.product

    def mask(self, kind: Kind, ids: Iterable[str]) -> BoolArray:
        """[N]: true for the items named by `ids`; an id that is not in the catalogue names nothing."""
        wanted = set(ids)
        return np.array([item in wanted for item in self.ids(kind)], dtype=bool)

    def without(self, held_back: Mapping[Kind, Sequence[str]]) -> dict[Kind, BoolArray]:
        """[N] of each kind: all items but those named, and the creatives of products that are."""
        products = self.mask(Kind.PRODUCTS, held_back.get(Kind.PRODUCTS, ()))
        contents = self.mask(Kind.CONTENTS, held_back.get(Kind.CONTENTS, ()))
        return {Kind.PRODUCTS: ~products, Kind.CONTENTS: ~(contents | products[self.product_of(Kind.CONTENTS)])}

    def is_as_approved(self, content_id: str, version: str, words: str) -> bool:
        """Whether a creative and its product are still what somebody approved (`recsys.decisions.versions`)."""
        return self._approvable.get(content_id) == (version, words)

    def content_index(self, content_id: str) -> int | None:
        """A content's position."""
        return self._content_index.get(content_id)

    @cached_property
    def _approvable(self) -> dict[str, tuple[str, str]]:
        if len(self.frames) < len(Kind):
            return {}
        products, contents = self.frames
        versions = {row[PRODUCT_ID]: product_version(row) for row in products.iter_rows(named=True)}
        rows = contents.iter_rows(named=True)
        return {row[CONTENT_ID]: (versions[row[PRODUCT_ID]], words_hash(row)) for row in rows}

    @cached_property
    def _own(self) -> IntArray:
        return np.arange(len(self.products), dtype=np.int64)

    @cached_property
    def _none(self) -> IntArray:
        return np.empty(0, dtype=np.int64)

    @cached_property
    def _content_index(self) -> dict[str, int]:
        return {content_id: position for position, content_id in enumerate(self.ids(Kind.CONTENTS))}
