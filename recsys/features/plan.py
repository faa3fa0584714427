"""What every feature view is built with: a range of customers, the encoders, and the shape of a builder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from rich.progress import Progress

from recsys.data.contract import Dataset
from recsys.encoders.cache import Encoded, EncodingCache
from recsys.encoders.image import ImageEncoder, build_image_encoder
from recsys.encoders.text import TextEncoder, build_text_encoder
from recsys.features.config import FeatureConfig
from recsys.features.consent import Consent
from recsys.features.spec import FeatureView
from recsys.privacy.redaction import Redactor
from recsys.schema import CUSTOMER_ID


class CustomerRange(NamedTuple):
    """Customers from `first` on and before `before` in the order of their ids; None: no bound."""

    first: str | None = None
    before: str | None = None

    def of(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of these customers."""
        if self.first is not None:
            rows = rows.filter(pl.col(CUSTOMER_ID) >= self.first)
        return rows if self.before is None else rows.filter(pl.col(CUSTOMER_ID) < self.before)


def customer_ranges(ids: Sequence[str], size: int) -> list[CustomerRange]:
    """Cuts sorted distinct ids into ranges of `size` customers that together cover every id.

    >>> customer_ranges(["a", "b", "c"], 2)
    [CustomerRange(first=None, before='c'), CustomerRange(first='c', before=None)]
    """
    starts = list(ids[size::size])
    return [CustomerRange(*bounds) for bounds in zip([None, *starts], [*starts, None], strict=True)]


@dataclass
class Encodings:
    """The encoders, loaded when first asked for, behind the cache that encodes everything once."""

    folder: Path
    config: FeatureConfig
    progress: Progress | None = None
    missing: dict[str, int] = field(default_factory=dict)
    """View name to the number of blank texts or unreadable pictures in it."""

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """Raises ConfigError where the config names no usable encoder."""
        return build_text_encoder(self.config.text)

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        """Raises ConfigError where the config names no usable encoder."""
        return build_image_encoder(self.config.image)

    @property
    def text_identity(self) -> str:
        """Of the text encoder; empty where no view needed it."""
        return self.text_encoder.identity if "text_encoder" in self.__dict__ else ""

    @property
    def image_identity(self) -> str:
        """Of the image encoder; empty where no view needed it."""
        return self.image_encoder.identity if "image_encoder" in self.__dict__ else ""

    @cached_property
    def _cache(self) -> EncodingCache:
        return EncodingCache(self.folder)

    @cached_property
    def _redactor(self) -> Redactor:
        return Redactor(self.config.redaction)

    def used_keys(self) -> np.ndarray:
        """The distinct keys of all that was asked for, sorted."""
        return self._cache.used_keys()

    def written(self, view: str, texts: pl.Series, countries: pl.Series | None = None) -> Encoded:
        """Vectors of N texts that customers wrote, redacted before anything is computed of them, a hash included.

        Args:
            view: counts blank ones.
            texts: [N] strings.
            countries: [N] ISO 3166 codes of the writers, null where unknown.
        """
        return self.texts(view, self._redactor.redact(texts, countries).to_list())

    def texts(self, view: str, texts: Sequence[str | None]) -> Encoded:
        """Vectors of N texts of the bank's own; a blank or missing one has index -1 and is counted for `view`."""
        encoded = self._cache.texts(texts, self.text_encoder, self.progress)
        self.missing[view] = self.missing.get(view, 0) + encoded.missing
        return encoded

    def images(self, view: str, paths: Sequence[Path | None]) -> Encoded:
        """Vectors of N picture files; None and unreadable ones have index -1, the latter are counted for `view`."""
        encoded = self._cache.images(paths, self.image_encoder, self.progress)
        absent = sum(path is None for path in paths)
        unreadable = int((encoded.index < 0).sum()) - absent
        self.missing[view] = self.missing.get(view, 0) + unreadable
        return encoded


@dataclass(frozen=True)
class Sources:
    """All that a builder reads."""

    dataset: Dataset
    config: FeatureConfig
    encodings: Encodings
    consent: Consent


class ViewPlan(NamedTuple):
    """How one view is built."""

    view: FeatureView
    source: str
    """The file that it is made from, for errors."""
    frames: Callable[[CustomerRange], Iterator[pl.DataFrame]]
    """Rows of the given customers (of all items, for product and content views) as a stream of frames, each with the
    entity key, event_timestamp and the view's columns, sorted by entity and time across the whole stream."""
