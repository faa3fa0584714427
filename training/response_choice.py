"""Which heads predict responses best: all ways learn from the training part, and validation chooses.

Trees or a network; the place as an input or by propensity; and the better trees beside a second model of the click,
whose part that is about the creative is linear: how each did and how near it is to what the customer clicked. Trees see
too much in what a few hundred creatives are, and chosen by them alone the creatives of a product do less well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.heads import HEADS, BoostedHeads, HeadRows, Heads, TastefulClick
from recsys.ranking.network_heads import NetworkHeads
from recsys.ranking.response import FIRST_PLACE, fixed_place
from recsys.ranking.response_features import POSITION, tastes
from training.exposures import Exposures
from training.response_config import ResponseRecipe

_MOST_WEIGHT = 0.95
"""Inverse propensities are cut at this quantile: a few rare exposures would drown the others."""


class Choice(NamedTuple):
    """A way to model responses, with its loss on validation."""

    name: str
    kind: str
    position: str
    configs: list[BoostedConfig | None]
    loss: float
    """Of all probabilities of an exposure, weighted by inverse propensity: as if everything had been shown alike."""
    heads: Heads
    """As fitted on the training part."""
    tasteful: bool = False
    """Whether there is a second model of the click, linear in how creatives did and in what the customer clicked."""


@dataclass(frozen=True)
class Read:
    """Exposures with their features."""

    exposures: Exposures
    names: tuple[str, ...]
    features: np.ndarray
    """[E, F] float32."""
    creative: np.ndarray
    """[F] bool: those that the creatives of a product may differ in."""

    def rows(self, position: str) -> HeadRows:
        """What heads learn from; with `propensity`, weighted and blind to the place."""
        exposures, features = self.exposures, self.features
        outcomes, counts = exposures.outcomes, exposures.settled.copy()
        counts[:, 0] &= exposures.drawn
        counts[:, 1:] &= outcomes[:, :-1]
        weight = np.ones(len(exposures), np.float32)
        if position == "propensity":
            features, weight = fixed_place(self.names, features), inverse_propensities(exposures.propensity)
        return HeadRows(features, outcomes, counts, weight)


def choose(train: Read, validation: Read, recipe: ResponseRecipe, seed: int, threads: int) -> list[Choice]:
    """All ways that were tried, the best first; a mean of two models goes before one that is not surely better."""
    logged = bool(np.isfinite(train.exposures.propensity).any())
    trees = [
        _boosted(train, validation, position, recipe, seed, threads)
        for position in (("input", "propensity") if logged else ("input",))
    ]
    heads, choice = min(trees, key=lambda tried: tried[1].loss)
    choices = [choice for _, choice in trees]
    if (config := choice.configs[0]) is not None:
        choices.append(_tasteful(heads, choice, config, (train, validation), seed, threads))
    network = NetworkHeads.fit(train.rows("input"), recipe.network, seed)
    choices.append(Choice("network", "network", "input", [], exposure_loss(network, validation, "input"), network))
    choices.sort(key=lambda choice: choice.loss)
    mean = next((choice for choice in choices if choice.tasteful), choices[0])
    if mean.position == choices[0].position and _as_good(mean.heads, choices[0].heads, validation, mean.position):
        choices.sort(key=lambda choice: choice is not mean)
    return choices


def _as_good(heads: Heads, others: Heads, read: Read, position: str) -> bool:
    """Whether the first lose no more on clicks than the others, give or take the standard error of the difference."""
    rows = read.rows(position)
    counts = rows.counts[:, 0]
    features, clicked = rows.features[counts], rows.outcomes[counts, 0]
    weight = inverse_propensities(read.exposures.propensity)[counts]
    mine, theirs = (
        np.logaddexp(0, np.where(clicked, -logits, logits).astype(np.float64))
        for logits in (heads.predict(features)[:, 0], others.predict(features)[:, 0])
    )
    excess = weight * (mine - theirs)
    return bool(excess.mean() <= excess.std() / np.sqrt(len(excess)))


def _boosted(
    train: Read, validation: Read, position: str, recipe: ResponseRecipe, seed: int, threads: int
) -> tuple[BoostedHeads, Choice]:
    """For each head the trees, or none, that lose least."""
    options: list[BoostedConfig | None] = [None, *recipe.trees]
    rows = train.rows(position)
    fitted = [BoostedHeads.fit(rows, [option] * len(HEADS), seed, threads) for option in options]
    losses = [head_losses(heads, validation, position) for heads in fitted]
    best = [int(np.argmin([row[head] for row in losses])) for head in range(len(HEADS))]
    heads = BoostedHeads([fitted[place].models[head] for head, place in enumerate(best)], fitted[0].averages)
    name, configs = f"boosted, place by {position}", [options[place] for place in best]
    return heads, Choice(name, "boosted", position, configs, exposure_loss(heads, validation, position), heads)


def _tasteful(
    trees: BoostedHeads, plain: Choice, config: BoostedConfig, parts: tuple[Read, Read], seed: int, threads: int
) -> Choice:
    """These trees, with a second model of the click beside them that is shaped as the first."""
    train, validation = parts
    heads = _with_taste(trees, train, train.rows(plain.position), config, seed, threads)
    loss = exposure_loss(heads, validation, plain.position)
    name = f"{plain.name}, and taste linear"
    return plain._replace(name=name, loss=loss, heads=heads, tasteful=True)


def _with_taste(
    heads: BoostedHeads, read: Read, rows: HeadRows, config: BoostedConfig, seed: int, threads: int
) -> BoostedHeads:
    weights = linear_taste(read.names, rows)
    taste = TastefulClick.fit(rows, weights, read.creative, config, seed, threads)
    return BoostedHeads(heads.models, heads.averages, taste)


def linear_taste(names: Sequence[str], rows: HeadRows) -> np.ndarray:
    """[F] float32: the weights of a logistic regression of the click on how creatives did and on the customer's taste.

    The place is held fixed beside them, and has no weight in what is returned.
    """
    counts, chosen = rows.counts[:, 0], tastes(names)
    place = np.log(np.fmax(rows.features[counts][:, [names.index(POSITION)]], FIRST_PLACE))
    columns = np.concatenate([rows.features[counts][:, chosen], place], axis=1).astype(np.float64)
    scale = columns.std(axis=0) + 1e-9
    fitted = LogisticRegression(max_iter=200).fit(columns / scale, rows.outcomes[counts, 0], rows.weight[counts])
    weights = np.zeros(len(names), np.float32)
    weights[chosen] = (fitted.coef_[0] / scale)[:-1]
    return weights


def fit_heads(choice: Choice, learned: list[Read], recipe: ResponseRecipe, seed: int, threads: int) -> Heads:
    """Heads of the chosen kind."""
    parts = [read.rows(choice.position) for read in learned]
    rows = HeadRows(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    if choice.kind == "network":
        return NetworkHeads.fit(rows, recipe.network, seed)
    heads = BoostedHeads.fit(rows, choice.configs, seed, threads)
    if not choice.tasteful or choice.configs[0] is None:
        return heads
    return _with_taste(heads, learned[0], rows, choice.configs[0], seed, threads)


def head_losses(heads: Heads, read: Read, position: str) -> list[float]:
    """The log loss of each head where it counts, weighted by inverse propensity."""
    rows = read.rows(position)
    weight = inverse_propensities(read.exposures.propensity)
    logits = heads.predict(rows.features)
    losses = []
    for head in range(len(HEADS)):
        counts = rows.counts[:, head]
        probability = 1 / (1 + np.exp(-logits[counts, head].astype(np.float64)))
        outcome = rows.outcomes[counts, head]
        losses.append(float(log_loss(outcome, probability, sample_weight=weight[counts], labels=[False, True])))
    return losses


def exposure_loss(heads: Heads, read: Read, position: str) -> float:
    """The log loss of the three probabilities of an exposure, added up; weighted by inverse propensity."""
    rows, weight = read.rows(position), inverse_propensities(read.exposures.propensity)
    probability = chain(heads.predict(rows.features))
    total = 0.0
    for head in range(len(HEADS)):
        settled = read.exposures.settled[:, head]
        outcome, mine = rows.outcomes[settled, head], probability[settled, head]
        total += float(log_loss(outcome, mine, sample_weight=weight[settled], labels=[False, True]))
    return total


def inverse_propensities(propensity: np.ndarray) -> np.ndarray:
    """[E] float32 weights of mean 1, cut; all alike where nothing was logged."""
    weight = 1 / np.where(propensity > 0, propensity, np.nan)
    if not np.isfinite(weight).any():
        return np.ones(len(propensity), np.float32)
    weight = np.where(np.isfinite(weight), weight, np.nanmean(weight))
    weight = np.minimum(weight, np.quantile(weight, _MOST_WEIGHT))
    return np.asarray(weight / weight.mean(), np.float32)


def chain(logits: np.ndarray) -> np.ndarray:
    """[E, 3] log-odds given the outcome before, to probabilities of an exposure."""
    return np.asarray(np.cumprod(1 / (1 + np.exp(-logits.astype(np.float64))), axis=1))
