"""The response model's place in a training run: chosen once, fitted for measuring and again for serving."""

from typing import Any

import polars as pl

from recsys.bundle import Bundle
from recsys.data.splits import Part
from recsys.ranking.blend import Blend
from recsys.ranking.response import ResponseModel
from recsys.recommender import Recommender
from training.config import TrainConfig
from training.dataset import Prepared
from training.item_tables import fit_tables
from training.loop import loop_threads
from training.response import ResponseFitter, ResponseLog, creative_order, measure
from training.response_blend import fit_blend
from training.response_choice import Choice, Read, choose, fit_heads


class ResponseStage:
    """Learns from the exposures of one dataset.

    Args:
        log: the exposures.
        parts: positives with their parts, of customers who agreed to profiling.
        config: the recipe.
    """

    def __init__(self, log: ResponseLog, parts: pl.DataFrame, config: TrainConfig) -> None:
        self._log = log
        self._parts = parts
        self._config = config
        self._choices: list[Choice] = []
        self._model: ResponseModel | None = None
        self._blend: Blend | None = None
        self.report: dict[str, Any] = {}
        """What was tried and what it is worth; filled by `for_measuring`."""

    def for_measuring(self, bundle: Bundle, prepared: Prepared) -> Bundle:
        """The bundle with a model that learned from the training part, chosen and calibrated on validation."""
        recipe, seed, threads = self._config.ranking.response, self._config.loop.seed, loop_threads(self._config.loop)
        fitter = self._fitter(prepared, (Part.TRAIN,))
        train, validation, test = (fitter.read(part) for part in self._log.parts)
        self._choices = choose(train, validation, recipe, seed, threads)
        best = self._choices[0]
        order = creative_order(best.heads, validation, Recommender(bundle), self._log)
        model = fitter.model(best, best.heads, validation, None, order["response"] > order["towers"])
        self._model = model
        measured = with_response(bundle, model)
        blended = fit_blend(Recommender(measured), test.exposures, recipe)  # of the test part: it is not measured there
        self._blend = blended.blend
        self.report = {
            "chosen": best.name,
            "validation_loss": {choice.name: round(choice.loss, 4) for choice in self._choices},
            "heads": ["trees" if has else "average" for has in model.config.boosted],
            "calibration": list(model.config.methods),
            "validation_click_auc": order,
            "test": measure(model, test, best.position) if len(test.exposures) else None,
            "beside": self._beside(fitter, validation, test),
            "blend": blended.report,
        }
        return measured

    def for_serving(self, bundle: Bundle, everything: Prepared) -> Bundle:
        """The bundle with a model that learned from training and validation, calibrated on the test part."""
        if self._model is None:
            return bundle
        best, chosen = self._choices[0], self._model.config
        recipe, seed, threads = self._config.ranking.response, self._config.loop.seed, loop_threads(self._config.loop)
        fitter = self._fitter(everything, tuple(Part))
        train, validation, test = (fitter.read(part) for part in self._log.parts)
        known, latest = ([train], validation) if not len(test.exposures) else ([train, validation], test)
        heads = fit_heads(best, known, recipe, seed, threads)
        model = fitter.model(best, heads, latest, chosen.methods, chosen.ranks_creatives)
        model.config = model.config.model_copy(update={"blend": self._blend})
        return with_response(bundle, model)

    def _beside(self, fitter: ResponseFitter, validation: Read, test: Read) -> dict[str, Any]:
        """The other ways, calibrated alike, on the test part: for the reader, not for choosing."""
        if not len(test.exposures):
            return {}
        return {
            choice.name: measure(fitter.model(choice, choice.heads, validation, None, False), test, choice.position)
            for choice in self._choices[1:]
        }

    def _fitter(self, prepared: Prepared, keep: tuple[Part, ...]) -> ResponseFitter:
        ranking = self._config.ranking
        items = fit_tables(self._parts, keep, self._log.catalogue, prepared, ranking.tables)
        return ResponseFitter(self._log, prepared, items, ranking.response)


def with_response(bundle: Bundle, model: ResponseModel) -> Bundle:
    """The bundle with a response model."""
    manifest = bundle.manifest.model_copy(update={"response": model.config})
    return bundle._replace(manifest=manifest, response=model)
