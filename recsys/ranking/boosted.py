"""The boosted ranker: a LightGBM model over the cross features, kept as text, never as a pickle."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import ModelError
from recsys.ranking.forest import Forest, Parts

if TYPE_CHECKING:
    from lightgbm import Booster


class BoostedConfig(BaseConfig):
    """How the trees grow: many small ones, because labels are few."""

    objective: Literal["binary", "lambdarank"] = "binary"
    leaves: int = Field(default=7, ge=2)
    rounds: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    min_rows_in_leaf: int = Field(default=50, ge=1)
    feature_share: float = Field(default=0.6, gt=0, le=1)
    row_share: float = Field(default=0.8, gt=0, le=1)
    l2: float = Field(default=5.0, ge=0)

    def parameters(self, seed: int, threads: int) -> dict[str, object]:
        """As LightGBM names them."""
        return {
            "objective": self.objective,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_rows_in_leaf,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "lambdarank_truncation_level": 20,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": threads,
            "verbosity": -1,
        }


class RankingRows(NamedTuple):
    """E rows to learn from."""

    features: np.ndarray
    """[E, F] float32, NaN where missing."""
    label: np.ndarray
    """[E] float32 of zeros and ones."""
    query: np.ndarray
    """[E] int64, ascending: which question each row belongs to."""

    @classmethod
    def joined(cls, parts: Sequence["RankingRows"]) -> "RankingRows":
        """All rows of some parts, whose questions are others each: their numbers follow those of the parts before."""
        starts = np.cumsum([0, *(int(part.query.max(initial=-1)) + 1 for part in parts)])
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.query + start for part, start in zip(parts, starts[:-1].tolist(), strict=True)]),
        )

    def take(self, rows: np.ndarray) -> "RankingRows":
        """The rows in a [E] bool mask."""
        return RankingRows(*(values[rows] for values in self))


class BoostedRanker:
    """Scores rows; higher is better. With objective `binary` the score is a log-odds.

    LightGBM itself is imported where it is needed: to learn, to explain, and for trees that `Forest` does not know.
    Who only scores does without it, and without the 90 MB that come with it.
    """

    def __init__(self, text: str) -> None:
        if not _is_whole(text):
            raise ModelError("the bundle's ranker cannot be read (it is not whole): train again")
        self.text = text
        try:
            self.forest = Forest.parse(text)
            """None where LightGBM itself must be asked."""
        except ValueError as error:
            raise ModelError(f"the bundle's ranker cannot be read ({error}): train again") from error
        if self.forest is None:
            self._booster  # noqa: B018 - what cannot be read is refused now, not when it is asked

    @cached_property
    def _booster(self) -> "Booster":
        import lightgbm

        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"the bundle's ranker cannot be read ({error}): train again") from error

    @classmethod
    def fit(
        cls,
        rows: RankingRows,
        config: BoostedConfig,
        seed: int = 0,
        threads: int = 1,
        weight: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> "BoostedRanker":
        """Grows the trees; questions without a positive row teach a `lambdarank` model nothing and are left out.

        Args:
            rows: what to learn from.
            config: how.
            seed: of the draws.
            threads: to use.
            weight: [E] of the rows, for objective `binary`; None: all alike.
            start: [E] log-odds that the trees add to, for objective `binary`; `predict` is what they add.
        """
        import lightgbm

        if config.objective == "lambdarank":
            rows = rows.take(np.isin(rows.query, rows.query[rows.label > 0]))
        _, group = np.unique(rows.query, return_counts=True)
        data = lightgbm.Dataset(
            rows.features,
            rows.label,
            weight=weight,
            init_score=start,
            group=group if config.objective == "lambdarank" else None,
            free_raw_data=True,
        )
        booster = lightgbm.train(config.parameters(seed, threads), data, config.rounds)
        return cls(booster.model_to_string())

    def predict(self, features: np.ndarray, rounds: int | None = None) -> np.ndarray:
        """[E, F] to [E] float32; with `rounds`, by the first so many trees."""
        if self.forest is not None and features.dtype == np.float32:
            return self.predict_parts(Parts.of_rows(features), rounds)
        raw = self._booster.predict(features, raw_score=True, num_iteration=rounds or -1, num_threads=1)
        return np.asarray(raw, np.float32)

    def predict_parts(self, parts: Parts, rounds: int | None = None) -> np.ndarray:
        """As `predict` of `parts.rows()`, which are not made."""
        if self.forest is None:
            return self.predict(parts.rows(), rounds)
        return self.forest.predict(parts, rounds).astype(np.float32)

    def used(self) -> np.ndarray:
        """[U] int64: the features that any tree asks for, ascending; the values of the others are never looked at."""
        if self.forest is not None:
            return np.unique(self.forest.conditions.column).astype(np.int64)
        return np.flatnonzero(self._booster.feature_importance("split"))

    def contributions(self, features: np.ndarray, rounds: int | None = None) -> np.ndarray:
        """[E, F] to [E, F + 1] float64: what each feature adds to a row's score; the last column is the average score.

        Each row adds up to `predict` (TreeSHAP: Lundberg et al. 2020, From local explanations to global understanding).
        """
        found = self._booster.predict(features, pred_contrib=True, num_iteration=rounds or -1, num_threads=1)
        return np.asarray(found, np.float64)

    def gains(self) -> np.ndarray:
        """[F]: how much each feature lowered the loss."""
        return np.asarray(self._booster.feature_importance("gain"))


def _is_whole(text: str) -> bool:
    """Whether the text ends where its header says: LightGBM ends the process over a tree that was cut off."""
    header, begins, trees = text.partition("\n\nTree=")
    sizes = next((line for line in header.splitlines() if line.startswith("tree_sizes=")), "")
    length = sum(int(size) for size in sizes.removeprefix("tree_sizes=").split())
    body = (begins[2:] + trees).encode()
    return bool(begins) and body[length:].lstrip().startswith(b"end of trees")
