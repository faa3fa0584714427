"""What serves: a bundle's model for inference, with its candidates in memory. Plain functions, no torch."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.errors import ModelError
from recsys.modeling.config import modalities_of
from recsys.modeling.encoding import Columns, EntityRows
from recsys.modeling.inference import CustomerEncoder
from recsys.modeling.reader import HISTORY_VIEW, CustomerRows, HistoryArrays, ModelReader
from recsys.ranking.blend import blend_inputs, log_shares
from recsys.ranking.companions import companions
from recsys.ranking.features import Asked
from recsys.ranking.response import Creatives, ResponseModel
from recsys.ranking.response_features import Exposed
from recsys.ranking.stage import SecondStage, StageRead
from recsys.schema import Kind, Modality

_CHUNK = 4096
"""Customers encoded at a time: bounds memory."""
_FEW = 64
"""Of so many customers, what the second stage sees is kept: a request ranks, and then asks why."""


class CustomerStates(NamedTuple):
    """B customers as the model sees them: what the towers made of them, and what the second stage looks at."""

    vectors: np.ndarray
    """[B, D + 1] float32; the last component is the weight of the popularity prior."""
    history: HistoryArrays
    now: np.ndarray
    """[B] int64 epoch µs."""
    columns: EntityRows
    channel: np.ndarray
    """[B] int64, 0 = none."""
    ever: np.ndarray
    """[B, K] int64: rows of the products that each ever took up, -1 = none."""
    read: StageRead | None = None
    """What the second stage sees of them, where they are few; None: it looks anew whenever it is asked."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> "CustomerStates":  # type: ignore[override]
        return CustomerStates(
            self.vectors[rows],
            self.history.take(rows),
            self.now[rows],
            self.columns.take(rows),
            self.channel[rows],
            self.ever[rows],
            None if self.read is None else self.read.take(rows),
        )


class Recommender:
    """Encodes customers and scores candidates."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.product_ids: list[str] = bundle.products["product_id"].to_list()
        self.content_ids: list[str] = [] if bundle.contents is None else bundle.contents["content_id"].to_list()
        self.reader = ModelReader(manifest.inputs, self.product_ids, self.content_ids)
        self._encoder = CustomerEncoder(bundle.weights, manifest.inputs, manifest.model, bundle.vectors)
        self.modalities = modalities_of(manifest.inputs.customers)
        """The modalities that the model was trained with."""
        self.stage = None if bundle.ranking is None else SecondStage(*bundle.ranking)
        """The second stage; None where validation found it no better than the towers alone."""
        self._owners = _owners(bundle, self.product_ids)
        nothing = np.zeros(len(self.content_ids), np.float32)
        self._candidates = {
            Kind.PRODUCTS: self.scaled(bundle.vectors.products, bundle.product_prior),
            Kind.CONTENTS: self.scaled(bundle.vectors.contents, nothing),
        }

    def scaled(self, vectors: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """[N, D] raw vectors as candidates, [N, D + 1]: with the popularity that a customer's last component weighs."""
        scaled = self._scaled(vectors) / self.bundle.manifest.model.temperature
        return np.concatenate([scaled, prior[:, None]], axis=1).astype(np.float32)

    def candidates(self, kind: Kind) -> np.ndarray:
        """[N, D + 1] float32: scores are inner products with these; the last component is the popularity prior."""
        return self._candidates[kind]

    def encode(
        self, customers: Sequence[Mapping[str, Any]], now: Sequence[datetime], channel: str | None = None
    ) -> CustomerStates:
        """Encodes B customers.

        Args:
            customers: B feature rows, `<view>__<column>` to value; a missing key or None is a missing modality.
            now: when each is asked for.
            channel: where it will be shown.
        """
        instants = np.array([int(instant.timestamp() * 1_000_000) for instant in now], np.int64)
        return self.encode_rows(self.reader.read_variants(customers, instants, [channel] * len(customers)))

    def encode_columns(self, columns: Columns, now: np.ndarray, channels: Sequence[str | None]) -> CustomerStates:
        """As `encode`, from columns; `now` is [B] int64 epoch µs."""
        return self.encode_rows(self.reader.read_customers(columns, now, channels))

    def encode_rows(self, rows: CustomerRows) -> CustomerStates:
        """As `encode`, from arrays that the reader made."""
        total = len(rows.channel)
        parts = [self._encode(rows.take(np.arange(i, min(i + _CHUNK, total)))) for i in range(0, total, _CHUNK)]
        nobody = np.zeros((0, self._candidates[Kind.PRODUCTS].shape[1]), np.float32)
        vectors = np.concatenate(parts) if parts else nobody
        seen = (vectors, rows.history, rows.now, rows.columns, rows.channel, rows.ever)
        states = CustomerStates(*seen)
        if self.stage is None or not 0 < total <= _FEW:
            return states
        return CustomerStates(*seen, self.stage.read(self._asked(states)))

    def _encode(self, rows: CustomerRows) -> np.ndarray:
        prior = self.bundle.manifest.prior
        weight = np.where(rows.history.length > 0, prior.weight, prior.new_weight).astype(np.float32)
        return np.concatenate([self._scaled(self._encoder.encode(rows)), weight[:, None]], axis=1)

    def _scaled(self, vectors: np.ndarray) -> np.ndarray:
        """As the model's `scale`."""
        if not self.bundle.manifest.model.normalise:
            return vectors
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def score(self, states: CustomerStates, kind: Kind, allowed: np.ndarray | None = None) -> np.ndarray:
        """Scores of all candidates of a kind, [B, N] float32.

        Args:
            states: B customers.
            kind: what to score.
            allowed: [B, N] bool: the only candidates that the second stage looks at; None: all.
        """
        scores = self.tower_scores(states, kind)
        if kind is not Kind.PRODUCTS:
            every = np.arange(scores.shape[1])
            return self._reordered_contents(states, scores, allowed, every) if self.reorders(kind) else scores
        if self.stage is not None:
            scores = self.stage.score(self._asked(states, scores), allowed, states.read)
        cold = self.bundle.cold
        return scores if cold is None else cold.reorder(states.ever, scores, allowed)

    def score_items(self, states: CustomerStates, kind: Kind, items: np.ndarray) -> np.ndarray:
        """[B, K] float32 of K items, [K] int64: what `score` says of them where nothing else is allowed."""
        if kind is Kind.CONTENTS:
            scores = states.vectors @ self._candidates[kind][items].T
            return self._reordered_contents(states, scores, None, items) if self.reorders(kind) else scores
        allowed = np.zeros((len(states), len(self.product_ids)), bool)
        allowed[:, items] = True
        return self.score(states, kind, allowed)[:, items]

    def reorders(self, kind: Kind) -> bool:
        """Whether anything stands behind the towers' order."""
        if kind is Kind.PRODUCTS:
            return self.stage is not None or self.bundle.cold is not None
        return self.bundle.response is not None and self.bundle.response.config.ranks_creatives

    def _reordered_contents(
        self, states: CustomerStates, scores: np.ndarray, allowed: np.ndarray | None, items: np.ndarray
    ) -> np.ndarray:
        """[B, K] scores of K creatives in the response model's order."""
        assert self.bundle.response is not None  # noqa: S101 - asked before
        creatives = Creatives(items, self._owners[items])
        return self.bundle.response.reorder(self._asked(states), scores, creatives, allowed)

    def _asked(self, states: CustomerStates, tower: np.ndarray | None = None) -> Asked:
        scores = self.tower_scores(states, Kind.PRODUCTS) if tower is None else tower
        return Asked(states.history, states.now, scores, states.columns, states.channel)

    def responses(self, states: CustomerStates, exposed: Exposed, ranked: np.ndarray | None = None) -> np.ndarray:
        """[E, 3] float64: probabilities of a click, an application and a conversion.

        Args:
            states: B customers.
            exposed: E creatives in their places.
            ranked: [B, P] scores of the products, where they are at hand: the ranking has a say where it helps.

        Raises:
            ModelError: the model has learned from no exposures.
        """
        return self.chances(states, exposed, self.response_logits(states, exposed), ranked)

    def response_logits(self, states: CustomerStates, exposed: Exposed) -> np.ndarray:
        """[E, 3] float32: log-odds of the same, each given the one before; by the first creatives are compared.

        Raises:
            ModelError: the model has learned from no exposures.
        """
        return self._response.logits(self._asked(states), exposed)

    def choose_creatives(
        self, states: CustomerStates, exposed: Exposed, group: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of each group of E exposures the likeliest to be clicked, [m] int64, and what `response_logits` says of it.

        Args:
            states: B customers.
            exposed: E creatives in their places.
            group: [E] int64, rising; a group is one customer's.

        Raises:
            ModelError: the model has learned from no exposures.
        """
        return self._response.choose(self._asked(states), exposed, group)

    def chances(
        self, states: CustomerStates, exposed: Exposed, logits: np.ndarray, ranked: np.ndarray | None = None
    ) -> np.ndarray:
        """As `responses`, of what `response_logits` says of them."""
        blend = self._response.config.blend
        found = self._response.calibrated(logits, exposed.product)
        if blend is None or not len(found):
            return found
        scores = self.score(states, Kind.PRODUCTS) if ranked is None else ranked
        pairs = exposed.customer, exposed.product
        shares = log_shares(self.tower_scores(states, Kind.PRODUCTS))
        return blend(found, blend_inputs(found[:, 1], scores[pairs], shares[pairs]))

    @property
    def _response(self) -> ResponseModel:
        if self.bundle.response is None:
            raise ModelError("this model knows no responses: train it on a dataset with logged exposures")
        return self.bundle.response

    def tower_scores(self, states: CustomerStates, kind: Kind) -> np.ndarray:
        """[B, N] float32: the first stage's scores, inner products."""
        return states.vectors @ self._candidates[kind].T

    def popularity(self, segment: str | None, kind: Kind) -> np.ndarray:
        """[N] float32: the most recent popularity in a segment, or overall where it is unknown."""
        popularity = self.bundle.product_popularity if kind is Kind.PRODUCTS else self.bundle.content_popularity
        return np.zeros(0, np.float32) if popularity is None else popularity.scores(segment)

    def companions(self, product: int) -> np.ndarray:
        """[P] bool: the products that many customers chose soon after one; the second stage knows them."""
        if self.stage is None:
            return np.zeros(len(self.product_ids), bool)
        return companions(self.stage.tables, product)

    def ranker_contributions(self, states: CustomerStates, product: int) -> dict[str, float]:
        """What the second stage's groups of features add to one product's score for one customer.

        Empty without a second stage, and for a product that nobody touched yet: another ranker places it.
        """
        cold = self.bundle.cold
        if self.stage is None or (cold is not None and product in cold.tables.cold):
            return {}
        return self.stage.contributions(self._asked(states), product, states.read)

    def missing_modalities(self, customer: Mapping[str, Any]) -> list[Modality]:
        """Those of the model's modalities of which the customer has nothing."""
        present = {
            group.name
            for group in self.bundle.manifest.inputs.customers.groups
            if any(customer.get(column.key) is not None for column in group.columns)
        }
        if customer.get(f"{HISTORY_VIEW}__product_ids"):
            present.add(Modality.HISTORY)
        return [modality for modality in self.modalities if modality not in present]


def _owners(bundle: Bundle, product_ids: list[str]) -> np.ndarray:
    """[C] int64 row of each creative's product, -1 where it is not in the catalogue."""
    if bundle.contents is None:
        return np.zeros(0, np.int64)
    row = {identifier: position for position, identifier in enumerate(product_ids)}
    return np.array([row.get(identifier, -1) for identifier in bundle.contents["product_id"].to_list()], np.int64)
