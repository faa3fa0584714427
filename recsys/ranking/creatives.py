"""What is known of creatives apart from the towers: arrays that are part of the bundle. C creatives, F columns."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.activity import Activity
from recsys.ranking.features import Columns
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.spread import Flat
from recsys.ranking.tables import ContentTables, pack_matrix, unpack_matrix

OF_CREATIVES = "creative_"
"""How the names of what is about creatives, and no column of theirs, begin."""
RATE = f"{OF_CREATIVES}rate"
_PRIOR_EXPOSURES = 20.0
"""A creative's rate counts as if so many average exposures had come before."""


@dataclass(frozen=True, eq=False)
class CreativeTables:
    """What the creatives are, and how they did."""

    columns: np.ndarray
    """[C, F] float32."""
    names: list[str]
    content: ContentTables
    """Their labels and embeddings."""
    shown: Activity
    """Their exposures."""
    answered: Activity
    """Their clicks."""

    @classmethod
    def fit(
        cls, encoding: EntityEncoding, rows: EntityRows, directions: int, shown: Activity, answered: Activity
    ) -> "CreativeTables":
        """Reads them from the columns that the towers read."""
        profiles, content = Profiles.fit(rows, directions), ContentTables.fit(encoding, rows)
        return cls(profiles.columns(rows), profiles.names(encoding), content, shown, answered)

    @cached_property
    def labels(self) -> Flat:
        """The creatives' labels, for the loops of `spread`."""
        return Flat.of(self.content.labels)

    @cached_property
    def mean_labels(self) -> np.ndarray:
        """[G] float32."""
        return np.asarray(self.content.labels.mean(axis=0), np.float32).ravel()

    @cached_property
    def of_mean(self) -> np.ndarray:
        """[C] float32: the inner product of each creative's labels with `mean_labels`."""
        return np.asarray(self.content.labels @ self.mean_labels, np.float32)

    @cached_property
    def _all(self) -> tuple[Activity, Activity]:
        """Exposures and clicks of all creatives together."""
        return self.shown.together(), self.answered.together()

    def rates(self, creative: np.ndarray, instant: np.ndarray) -> Columns:
        """[E] each: how often each creative was shown before, and the log-odds of a click, shrunk to the average."""
        shown, answered = self.shown.before(creative, instant), self.answered.before(creative, instant)
        all_shown, all_answered = (activity.before(np.zeros_like(creative), instant) for activity in self._all)
        average = (all_answered + 1) / (all_shown + 2)
        rate = (answered + _PRIOR_EXPOSURES * average) / (shown + _PRIOR_EXPOSURES)
        rate = np.clip(rate, 1e-4, 1 - 1e-4)
        return {f"{OF_CREATIVES}shown": np.log1p(shown), RATE: np.log(rate / (1 - rate))}

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file; the names are the config's."""
        vectors = {f"creatives.vectors.{name}": values for name, values in self.content.vectors.items()}
        own = {"creatives.columns": self.columns, "creatives.numbers": self.content.numbers}
        own |= {"creatives.present": self.content.present, **vectors}
        for name, activity in (("shown", self.shown), ("answered", self.answered)):
            own[f"creatives.{name}.cumulative"] = activity.cumulative
            own[f"creatives.{name}.grid"] = np.array([activity.start, activity.width], np.int64)
        return own | pack_matrix("creatives.labels", self.content.labels)

    @classmethod
    def from_arrays(cls, arrays: Arrays, names: list[str]) -> "CreativeTables":
        """The inverse of `to_arrays`."""
        prefix = "creatives.vectors."
        vectors = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
        labels = unpack_matrix("creatives.labels", arrays)
        content = ContentTables(vectors, labels, arrays["creatives.numbers"], arrays["creatives.present"])
        shown, answered = _activity("shown", arrays), _activity("answered", arrays)
        return cls(arrays["creatives.columns"], names, content, shown, answered)


def _activity(name: str, arrays: Arrays) -> Activity:
    start, width = (int(value) for value in arrays[f"creatives.{name}.grid"])
    return Activity(start, width, arrays[f"creatives.{name}.cumulative"])
