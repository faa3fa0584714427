"""Fits the response model on logged exposures, chooses it on validation and measures it on the test part.

Each part does one thing: models learn from the training part, the validation part chooses among them and calibrates
the chosen one, and the test part says what it is worth. What is served learns and is calibrated one part later.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from recsys.data.contract import Dataset
from recsys.data.splits import resolve_split
from recsys.metrics.calibration import expected_calibration_error, reliability_table
from recsys.modeling.reader import ModelReader
from recsys.ranking.activity import Activity
from recsys.ranking.calibrators import METHODS, Calibration, Method
from recsys.ranking.creatives import CreativeTables
from recsys.ranking.features import Asked, FeatureBuilder
from recsys.ranking.heads import HEADS, BoostedHeads, Heads
from recsys.ranking.interest import InterestTables
from recsys.ranking.network_heads import NetworkHeads
from recsys.ranking.profiles import Profiles
from recsys.ranking.response import ResponseConfig, ResponseModel, TasteConfig, fixed_place
from recsys.ranking.response_features import (
    Exposed,
    ResponseTables,
    of_creatives,
    response_features,
)
from recsys.ranking.tables import ItemTables, numeric_names
from recsys.recommender import Recommender
from recsys.schema import Kind
from training.dataset import Catalogue, Prepared
from training.exposures import Exposures, click_times, has_exposures, read_exposures
from training.response_choice import Choice, Read, chain
from training.response_config import ResponseRecipe

_REQUESTS_AT_ONCE = 512
_FAMILY = "category"


class ResponseLog:
    """The exposures of a dataset's parts, read once."""

    def __init__(self, dataset: Dataset, home: Path, catalogue: Catalogue, recipe: ResponseRecipe) -> None:
        split = resolve_split(dataset)
        self.dataset = dataset
        edges: tuple[datetime | None, ...] = (None, split.validation_start, split.test_start, None)
        sizes = ((recipe.exposures, recipe.clicked), (recipe.later, 0), (recipe.later, 0))
        self.parts = [
            read_exposures(dataset, home, catalogue, (since, until), *size)
            for since, until, size in zip(edges[:-1], edges[1:], sizes, strict=True)
        ]
        """Training, validation, test."""
        self.catalogue = catalogue

    @classmethod
    def open(cls, dataset: Dataset, home: Path, catalogue: Catalogue, recipe: ResponseRecipe) -> "ResponseLog | None":
        """None where the dataset logged no exposures, is not split in time, or has too few clicks."""
        split = resolve_split(dataset)
        if not recipe.enabled or not catalogue.content_ids or split.validation_start is None:
            return None
        if not has_exposures(dataset):
            return None
        log = cls(dataset, home, catalogue, recipe)
        clicks = [int(part.outcomes[:, 0].sum()) for part in log.parts[:2]]
        return log if min(clicks) >= recipe.fewest else None


class ResponseFitter:
    """Fits the model for one preparation of the dataset."""

    def __init__(self, log: ResponseLog, prepared: Prepared, items: ItemTables, recipe: ResponseRecipe) -> None:
        inputs, catalogue = prepared.inputs, log.catalogue
        if inputs.contents is None or prepared.contents is None:
            raise ValueError("responses are learned of a dataset without creatives")
        products = Profiles.fit(prepared.products, recipe.product_directions)
        customers = Profiles.fit(prepared.training.columns, recipe.customer_directions)
        shown, clicked = (
            Activity.fit(*times, len(catalogue.content_ids)) for times in click_times(log.dataset, catalogue)
        )
        creatives = CreativeTables.fit(inputs.contents, prepared.contents, recipe.creative_directions, shown, clicked)
        interest = InterestTables.build(
            customers, products.columns(prepared.products), products.names(inputs.products), inputs.customers
        )
        self.tables = ResponseTables(interest, items, creatives)
        self.log = log
        self.recipe = recipe
        self.inputs = inputs
        self._builder = FeatureBuilder(items, inputs.event_types, numeric_names(inputs.products))
        self._reader = ModelReader(inputs, catalogue.product_ids, catalogue.content_ids)

    def read(self, exposures: Exposures) -> Read:
        """The features of exposures."""
        names: list[str] = []
        blocks: list[np.ndarray] = []
        for start in range(0, len(exposures.now), _REQUESTS_AT_ONCE):
            some = exposures.requests(start, min(start + _REQUESTS_AT_ONCE, len(exposures.now)))
            rows = self._reader.read_customers(some.columns.to_dict(), some.now, some.channel)
            tower = np.zeros((len(some.now), len(self.log.catalogue.product_ids)), np.float32)
            asked = Asked(rows.history, rows.now, tower, rows.columns, rows.channel)
            exposed = Exposed(some.request, some.product, some.content, rows.channel[some.request], some.position)
            names, values = response_features(self.tables, self._builder, asked, exposed)
            blocks.append(values)
        creative = of_creatives(names, self.tables.creatives)
        return Read(exposures, tuple(names), np.concatenate(blocks), creative)

    def model(
        self, choice: Choice, heads: Heads, known: Read, methods: tuple[Method, ...] | None, ranks_creatives: bool
    ) -> ResponseModel:
        """The heads, calibrated on exposures that they have not seen; methods None: chosen on these."""
        catalogue, inputs = self.log.catalogue, self.inputs
        products = catalogue.products
        families = products[_FAMILY].fill_null("").to_list() if _FAMILY in products.columns else [""] * len(products)
        chained = chain(heads.predict(known.rows(choice.position).features))
        family = np.array(families)[known.exposures.product]
        methods = methods or tuple(
            choose_method(chained[:, head], known.exposures, head, family, self.recipe) for head in range(len(HEADS))
        )
        calibrations = [
            _calibrate(chained[:, head], known.exposures, head, family, (method, self.recipe.fewest_of_family))
            for head, method in enumerate(methods)
        ]
        interest = self.tables.interest
        config = ResponseConfig(
            kind="network" if isinstance(heads, NetworkHeads) else "boosted",
            network=self.recipe.network,
            position="propensity" if choice.position == "propensity" else "input",
            methods=methods,
            averages=tuple(heads.averages) if isinstance(heads, BoostedHeads) else (0.0,) * len(HEADS),
            boosted=tuple(model is not None for model in heads.models)
            if isinstance(heads, BoostedHeads)
            else (False,) * 3,
            taste=_taste_config(heads),
            features=known.names,
            event_types=inputs.event_types,
            numbers=numeric_names(inputs.products),
            customers=tuple(interest.customer_names),
            products=tuple(interest.product_names),
            creatives=tuple(self.tables.creatives.names),
            families=tuple(families),
            ranks_creatives=ranks_creatives,
            candidates=self.recipe.candidates,
        )
        return ResponseModel(self.tables, heads, calibrations, config)


def _taste_config(heads: Heads) -> TasteConfig | None:
    taste = heads.taste if isinstance(heads, BoostedHeads) else None
    return None if taste is None else TasteConfig(average=taste.average, weights=tuple(taste.weights.tolist()))


def choose_method(
    probability: np.ndarray, exposures: Exposures, head: int, family: np.ndarray, recipe: ResponseRecipe
) -> Method:
    """The method that loses least on requests that it has not seen."""
    fold = exposures.request % recipe.folds
    settled = exposures.settled[:, head]
    losses: dict[Method, float] = {}
    for method in METHODS:
        found = np.empty(len(probability))
        for held_out in range(recipe.folds):
            mine = fold == held_out
            curve = Calibration.fit(
                probability[~mine & settled],
                exposures.outcomes[~mine & settled, head],
                family[~mine & settled],
                method,
                recipe.fewest_of_family,
            )
            found[mine] = curve(probability[mine], family[mine])
        losses[method] = float(log_loss(exposures.outcomes[settled, head], found[settled], labels=[False, True]))
    return min(losses, key=lambda method: losses[method])


def _calibrate(
    probability: np.ndarray, exposures: Exposures, head: int, family: np.ndarray, how: tuple[Method, int]
) -> Calibration:
    settled = exposures.settled[:, head]
    return Calibration.fit(probability[settled], exposures.outcomes[settled, head], family[settled], how[0], how[1])


def creative_order(model: Heads, read: Read, recommender: Recommender, log: ResponseLog) -> dict[str, float]:
    """AUC of a click over exposures, by what the towers and by what the heads say of them in one place."""
    exposures = read.exposures
    tower = np.empty(len(exposures), np.float32)
    for start in range(0, len(exposures.now), _REQUESTS_AT_ONCE):
        last = min(start + _REQUESTS_AT_ONCE, len(exposures.now))
        some = exposures.requests(start, last)
        rows = recommender.reader.read_customers(some.columns.to_dict(), some.now, some.channel)
        scores = recommender.tower_scores(recommender.encode_rows(rows), Kind.CONTENTS)
        begin, end = np.searchsorted(exposures.request, [start, last])
        tower[begin:end] = scores[some.request, some.content]
    clicked = exposures.outcomes[:, 0]
    response = model.predict(fixed_place(read.names, read.features))[:, 0]
    return {"towers": float(roc_auc_score(clicked, tower)), "response": float(roc_auc_score(clicked, response))}


def measure(model: ResponseModel, read: Read, position: str) -> dict[str, Any]:
    """Log loss, AUC and calibration of each head, of all exposures and of each family."""
    probability = model.calibrated(model.heads.predict(read.rows(position).features), read.exposures.product)
    raw = chain(model.heads.predict(read.rows(position).features))
    family = np.array(model.config.families)[read.exposures.product]
    report: dict[str, Any] = {"exposures": len(read.exposures)}
    for head, name in enumerate(HEADS):
        settled = read.exposures.settled[:, head]
        outcome = read.exposures.outcomes[settled, head]
        mine, before = probability[settled, head], raw[settled, head]
        both = 0 < outcome.sum() < len(outcome)
        report[name] = {
            "rate": float(outcome.mean()),
            "predicted": float(mine.mean()),
            "log_loss": float(log_loss(outcome, np.clip(mine, 1e-9, 1 - 1e-9), labels=[False, True])),
            "auc": float(roc_auc_score(outcome, mine)) if both else None,
            "ece": expected_calibration_error(mine, outcome),
            "ece_before": expected_calibration_error(before, outcome),
            "families": {
                one: _reliability(mine[family[settled] == one], outcome[family[settled] == one])
                for one in np.unique(family[settled]).tolist()
            },
            "reliability": _reliability(mine, outcome),
        }
    return report


def _reliability(probability: np.ndarray, outcome: np.ndarray) -> dict[str, Any]:
    table = reliability_table(probability, outcome)
    return {
        "n": len(outcome),
        "ece": expected_calibration_error(probability, outcome),
        "predicted": table.predicted.tolist(),
        "observed": table.observed.tolist(),
    }
