"""Packs a trained model with its candidates into a bundle."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import torch

from recsys.bundle import Bundle, BundleManifest, PriorConfig
from recsys.data.contract import Dataset
from recsys.modeling.two_tower import TwoTower
from recsys.modeling.vectors import CandidateVectors
from recsys.retrieval.popularity import Popularity
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP
from training.config import TrainConfig
from training.dataset import Catalogue, Prepared
from training.loop import item_batches
from training.prior import popularity_prior
from training.scoring import fit_popularity


@dataclass(frozen=True)
class BundlePacker:
    """Packs the models of one run."""

    dataset: Dataset
    parts: pl.DataFrame
    """All positives of the dataset."""
    config: TrainConfig
    version: str
    schema_hash: str

    def pack(
        self,
        model: TwoTower,
        prepared: Prepared,
        catalogue: Catalogue,
        prior: PriorConfig,
        known_until: datetime | None,
    ) -> Bundle:
        """Packs a model with its candidates; `known_until` None means all events."""
        until = known_until or _after(self.dataset.end())
        parts = self.parts
        popularity = fit_popularity(self.dataset, parts, catalogue.product_ids, until, self.config.popularity)
        return Bundle(
            manifest=self._manifest(prepared, prior, until),
            weights={name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()},
            vectors=candidate_vectors(model, prepared),
            products=catalogue.products,
            contents=catalogue.contents,
            product_popularity=popularity,
            content_popularity=self._content_popularity(parts, catalogue, until),
            product_prior=popularity_prior(self.dataset, parts, catalogue.product_ids, until, prior.window_days),
        )

    def _content_popularity(self, parts: pl.DataFrame, catalogue: Catalogue, until: datetime) -> Popularity | None:
        if catalogue.contents is None:
            return None
        if CONTENT_ID not in parts.columns:
            return Popularity(np.zeros(len(catalogue.contents), np.float32), {})
        named = parts.filter(pl.col(CONTENT_ID).is_not_null(), pl.col(EVENT_TIMESTAMP) < until)
        return Popularity.fit(named, CONTENT_ID, catalogue.content_ids, until, self.config.popularity)

    def _manifest(self, prepared: Prepared, prior: PriorConfig, until: datetime) -> BundleManifest:
        dataset = self.dataset.config
        return BundleManifest(
            model_version=self.version,
            schema_hash=self.schema_hash,
            dataset=dataset.name,
            policy=dataset.policy,
            repeatable=dataset.repeatable,
            event_weights=dataset.event_weights,
            created_at=datetime.now(UTC),
            trained_until=until,
            popularity=self.config.popularity,
            prior=prior,
            inputs=prepared.inputs,
            model=self.config.model,
        )


def candidate_vectors(model: TwoTower, prepared: Prepared) -> CandidateVectors:
    """Every candidate as a trained model sees it, in host memory."""
    device = next(model.parameters()).device
    products, contents = item_batches(prepared, device)
    of_content = torch.from_numpy(prepared.product_of_content).to(device)
    model.eval()
    with torch.inference_mode():
        items = model.encode_items(products, contents, of_content)
    dim = items.products.shape[1]
    creative = np.zeros((0, dim), np.float32) if items.contents is None else items.contents[:-1].cpu().numpy()
    return CandidateVectors(items.products[:-1].cpu().numpy(), creative)


def _after(time: datetime) -> datetime:
    return datetime.fromtimestamp(time.timestamp() + 1, UTC)
