"""The recipe: select on validation, measure on the frozen split, refit on everything, register, promote."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID
from threadpoolctl import threadpool_limits

from recsys.bundle import SELECTION, Bundle, BundleManifest, PriorConfig
from recsys.data.contract import Dataset
from recsys.data.splits import Part
from recsys.features.spec import FeatureManifest
from recsys.modeling.two_tower import TwoTower
from recsys.policy.fair_inputs import RefusedColumn, require_fair_inputs
from recsys.policy.registry import pack_in_force
from training.answers import FirstStage
from training.cold import fit_cold, with_cold
from training.config import TrainConfig
from training.dataset import Catalogue, DatasetBuilder, Prepared, load_catalogue, load_parts
from training.evaluate import Evaluation, FrozenSplit, evaluate_bundle, load_split
from training.labels import LabelsConfig, choose_labels, teachers
from training.loop import Trainer, TrainingResult, loop_threads
from training.packing import BundlePacker
from training.pretrain import Pretraining
from training.prior import WINDOWS, choose_prior, popularity_prior
from training.response import ResponseLog
from training.response_stage import ResponseStage
from training.scoring import TrainingScorer, query_instant
from training.second_stage import SecondStage

Warm = Callable[[TwoTower, Path], TwoTower]
"""Pretrains a model, with a checkpoint."""
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
    refused: tuple[RefusedColumn, ...]
    """Features that the policy kept from the model."""

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
        self.pack = pack_in_force(home, dataset.config.policy)
        self._counted = choose_labels(load_parts(dataset), LabelsConfig(share=config.labels.share))
        """What popularity counts: everybody's positives but the hidden labels."""

    def run(self, progress: Progress | None = None) -> TrainingOutcome:
        """Trains, measures and refits; writes the bundle.

        Raises:
            DatasetError: there is nothing to learn from or to ask.
            ModelError: the model would rank credit by a column that the policy refuses.
        """
        torch.set_flush_denormal(True)
        with threadpool_limits(loop_threads(self.config.loop), "blas"):  # beside other processes, more of them spin
            return self._run(progress)

    def _run(self, progress: Progress | None) -> TrainingOutcome:
        say = _Steps(progress)
        packer = BundlePacker(self.dataset, self._counted, self.config, self.version, self.manifest.schema_hash)
        say("reading the frozen split")
        split = load_split(self.dataset, self.home)
        builder = DatasetBuilder(self.dataset, self.home, self.config.encoding, self.config.labels)
        for column in builder.refused:
            say.note(f"left out of the model by policy {self.pack.name}: {column.key} ({column.kind}: {column.entry})")
        say("joining features to labels")
        warm, prepared = self._prepare(builder, (Part.TRAIN,), split.catalogue)
        queries = split.of(teachers(builder.parts, self.config.labels)).learned_from
        scorer = TrainingScorer(prepared, split.catalogue, queries, self.config.evaluation.k)
        say.done()
        result = self._train((warm, prepared), "selection", scorer, None, progress)
        prior = self._choose_prior(result.model, scorer, split)
        say("fitting the second stage")
        stage = SecondStage(FirstStage(packer, result.model, prepared, prior), split, builder.parts, self.config)
        cold = self.config.ranking.cold
        before = _ALL_PARTS[:1] if split.measured[0] is Part.VALIDATION else _ALL_PARTS[:2]
        bundle = with_cold(stage.for_measuring(), fit_cold(builder.parts, before, split.catalogue, prepared, cold))
        log = ResponseLog.open(self.dataset, self.home, split.catalogue, self.config.ranking.response)
        responses = None if log is None else ResponseStage(log, builder.parts, self.config)
        if responses is not None:
            say("learning responses from the logged exposures")
            bundle = responses.for_measuring(bundle, prepared)
        bundle.save(self.folder / "bundle-selection")
        say("measuring on the frozen split")
        evaluation = evaluate_bundle(bundle, split, self.config.evaluation)
        evaluation.report["second_stage"] = stage.report()
        if responses is not None:
            evaluation.report["response"] = responses.report
        served = bundle
        if self.config.refit:
            say("joining features to all labels")
            catalogue = load_catalogue(self.dataset, self.home, self.manifest, self.dataset.end())
            warm, everything = self._prepare(builder, _ALL_PARTS, catalogue)
            say.done()
            refitted = self._train((warm, everything), "refit", None, result.state.best_epoch, progress)
            packed = packer.pack(refitted.model, everything, catalogue, prior, None)
            say("fitting the second stage on all answers")
            new = fit_cold(builder.parts, _ALL_PARTS, catalogue, everything, cold)
            served = with_cold(stage.for_serving(packed, everything), new)
            if responses is not None:
                say("learning responses from all exposures")
                served = responses.for_serving(served, everything)
        say.done()
        self._require_fair(served)
        served.save(self.folder / "bundle")
        (self.folder / "bundle-selection").rename(self.folder / "bundle" / SELECTION)
        return TrainingOutcome(
            folder=self.folder / "bundle",
            manifest=served.manifest,
            selection=result,
            evaluation=evaluation,
            split=split,
            labels=len(prepared.training.labels),
            refused=builder.refused,
        )

    def _require_fair(self, bundle: Bundle) -> None:
        """The last look at the signature: nothing that the policy refuses is packed, however it got there."""
        stage = bundle.manifest.stage
        require_fair_inputs(bundle.manifest.inputs.customers, stage.features if stage else (), self.pack.credit)

    def _prepare(
        self, builder: DatasetBuilder, keep: tuple[Part, ...], catalogue: Catalogue
    ) -> tuple[Warm | None, Prepared]:
        """The pretraining, where there is one, and the labels, read by the same encodings."""
        pretraining = Pretraining(builder, self.config.pretrain, self.config.loop)
        unlabelled = pretraining.prepare(keep, catalogue) if self.config.pretrain.enabled else None
        if unlabelled is None:
            return None, builder.build(keep, catalogue)
        warm = partial(pretraining.fit, unlabelled)
        return warm, builder.build(keep, catalogue, inputs=unlabelled.inputs)

    def _train(
        self,
        prepared: tuple[Warm | None, Prepared],
        stage: str,
        scorer: Callable[[TwoTower], float] | None,
        epochs: int | None,
        progress: Progress | None,
    ) -> TrainingResult:
        warm, labelled = prepared
        torch.manual_seed(self.config.loop.seed)
        model = TwoTower(labelled.inputs, self.config.model)
        if warm is not None:
            model = warm(model, self.folder / f"{stage}-pretraining.checkpoint")
        loop = self.config.loop if epochs is None else self.config.loop.model_copy(update={"epochs": epochs})
        return Trainer(model, labelled, loop, self.folder / f"{stage}.checkpoint").fit(scorer, progress)

    def _choose_prior(self, model: TwoTower, scorer: TrainingScorer, split: FrozenSplit) -> PriorConfig:
        now, ids = query_instant(scorer.queries), split.catalogue.product_ids
        priors = {window: popularity_prior(self.dataset, self._counted, ids, now, window) for window in WINDOWS}
        return choose_prior(scorer.scores(model), priors, scorer.queries, self.config.evaluation.k)


class _Steps:
    """Says what is being done, with a bar that moves until it is done; where nobody watches, as a line."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def __call__(self, text: str) -> None:
        """The next step begins; the one before is done."""
        self.done()
        if self._progress is not None and self._progress.console.is_terminal:
            self._task = self._progress.add_task(text, total=None)
        else:
            self.note(f"{text} …")

    def note(self, text: str) -> None:
        """Says something that takes no time."""
        if self._progress is not None:
            self._progress.console.print(f"[dim]{text}[/dim]")

    def done(self) -> None:
        """The step is done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=1, completed=1)
        self._task = None


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
