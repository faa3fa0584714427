"""The recipe: select on validation, measure on the frozen split, refit on everything, register, promote."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.progress import Progress

from recsys.bundle import SELECTION, Bundle, BundleManifest, CandidateVectors, PriorConfig
from recsys.data.contract import Dataset
from recsys.data.splits import Part
from recsys.features.spec import FeatureManifest
from recsys.modeling.two_tower import TwoTower
from recsys.retrieval.popularity import Popularity
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP
from training.config import TrainConfig
from training.dataset import Catalogue, DatasetBuilder, Prepared, load_catalogue, load_parts
from training.evaluate import Evaluation, FrozenSplit, evaluate_bundle, load_split
from training.loop import Trainer, TrainingResult, item_batches
from training.prior import WINDOWS, choose_prior, popularity_prior
from training.scoring import TrainingScorer, fit_popularity, query_instant

_ALL_PARTS = (Part.TRAIN, Part.VALIDATION, Part.TEST)


@dataclass(frozen=True)
class TrainingOutcome:
    """What a run made."""

    folder: Path
    """The bundle, with the selection bundle inside."""
    manifest: BundleManifest
    selection: TrainingResult
    evaluation: Evaluation
    split: FrozenSplit
    labels: int

    def clean_up(self) -> None:
        """Removes the working files of the run, checkpoints among them: the registry has the bundle."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)


class Training:
    """One training run of one dataset in one home."""

    def __init__(self, dataset: Dataset, home: Path, config: TrainConfig, version: str) -> None:
        """`version` names the run; its working files are in `<home>/runs/<version>`."""
        self.dataset = dataset
        self.home = home
        self.config = config
        self.version = version
        self.folder = home / "runs" / version
        self.manifest = FeatureManifest.read(home / "features")
        self._parts = load_parts(dataset)

    def run(self, progress: Progress | None = None) -> TrainingOutcome:
        """Trains, measures and refits; writes the bundle.

        Raises:
            DatasetError: there is nothing to learn from or to ask.
        """
        torch.set_flush_denormal(True)
        say = _sayer(progress)
        say("reading the frozen split")
        split = load_split(self.dataset, self.home)
        builder = DatasetBuilder(self.dataset, self.home, self.config.encoding)
        say("joining features to labels")
        prepared = builder.build((Part.TRAIN,), split.catalogue)
        queries = split.validation if len(split.validation) else split.test
        scorer = TrainingScorer(prepared, split.catalogue, queries, self.config.evaluation.k)
        result = self._train(prepared, "selection", scorer, None, progress)
        prior = self._choose_prior(result.model, scorer, split)
        bundle = self._bundle(result.model, prepared, split.catalogue, prior, query_instant(split.measured[1]))
        bundle.save(self.folder / "bundle-selection")
        say("measuring on the frozen split")
        evaluation = evaluate_bundle(bundle, split, self.config.evaluation)
        served = bundle
        if self.config.refit:
            say("joining features to all labels")
            catalogue = load_catalogue(self.dataset, self.home, self.manifest, self.dataset.end())
            everything = builder.build(_ALL_PARTS, catalogue)
            refitted = self._train(everything, "refit", None, result.state.best_epoch, progress)
            served = self._bundle(refitted.model, everything, catalogue, prior, None)
        served.save(self.folder / "bundle")
        (self.folder / "bundle-selection").rename(self.folder / "bundle" / SELECTION)
        return TrainingOutcome(
            self.folder / "bundle", served.manifest, result, evaluation, split, len(prepared.training.labels)
        )

    def _train(
        self,
        prepared: Prepared,
        stage: str,
        scorer: Callable[[TwoTower], float] | None,
        epochs: int | None,
        progress: Progress | None,
    ) -> TrainingResult:
        torch.manual_seed(self.config.loop.seed)
        model = TwoTower(prepared.inputs, self.config.model)
        loop = self.config.loop if epochs is None else self.config.loop.model_copy(update={"epochs": epochs})
        return Trainer(model, prepared, loop, self.folder / f"{stage}.checkpoint").fit(scorer, progress)

    def _choose_prior(self, model: TwoTower, scorer: TrainingScorer, split: FrozenSplit) -> PriorConfig:
        now, ids = query_instant(scorer.queries), split.catalogue.product_ids
        priors = {window: popularity_prior(self.dataset, split.parts, ids, now, window) for window in WINDOWS}
        return choose_prior(scorer.scores(model), priors, scorer.queries, self.config.evaluation.k)

    def _bundle(
        self,
        model: TwoTower,
        prepared: Prepared,
        catalogue: Catalogue,
        prior: PriorConfig,
        known_until: datetime | None,
    ) -> Bundle:
        """Packs a model with its candidates; `known_until` None means all events."""
        until = known_until or _after(self.dataset.end())
        parts = self._parts
        popularity = fit_popularity(self.dataset, parts, catalogue.product_ids, until, self.config.popularity)
        return Bundle(
            manifest=self._bundle_manifest(prepared, prior, until),
            weights={name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
            vectors=_candidate_vectors(model, prepared),
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

    def _bundle_manifest(self, prepared: Prepared, prior: PriorConfig, until: datetime) -> BundleManifest:
        dataset = self.dataset.config
        return BundleManifest(
            model_version=self.version,
            schema_hash=self.manifest.schema_hash,
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


def _candidate_vectors(model: TwoTower, prepared: Prepared) -> CandidateVectors:
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


def _sayer(progress: Progress | None) -> Callable[[str], None]:
    def say(text: str) -> None:
        if progress is not None:
            progress.console.print(f"[dim]{text} …[/dim]")

    return say


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `a.b.c` keys.

    >>> flatten({"loop": {"epochs": 3}, "refit": True})
    {'loop.epochs': 3, 'refit': True}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
