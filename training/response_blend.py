"""Fits the blend of the response model and the champion's ranking on exposures that neither of them had seen."""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from recsys.ranking.blend import Blend, blend_inputs, log_shares
from recsys.ranking.response_features import Exposed
from recsys.recommender import Recommender
from recsys.schema import Kind
from training.exposures import Exposures
from training.response_config import ResponseRecipe

_REQUESTS_AT_ONCE = 512
_PRIOR = np.array([1.0, 0.0, 0.0])
"""Where nothing is known: the response model alone."""
_APPLY, _CONVERT = 1, 2


class BlendFit(NamedTuple):
    """What came of it."""

    blend: Blend | None
    """None: too few applications, or it does not predict better than the response model alone."""
    report: dict[str, Any]


def fit_blend(recommender: Recommender, exposures: Exposures, recipe: ResponseRecipe) -> BlendFit:
    """The blend, where cross-validation over requests finds that it loses less.

    Args:
        recommender: of a bundle that has not seen the exposures.
        exposures: a later part than it learned from.
        recipe: how many applications are needed, and how strongly it is held to the response model.
    """
    settled = exposures.settled[:, _APPLY]
    answer = exposures.outcomes[settled, _APPLY].astype(np.float64)
    if answer.sum() < recipe.fewest_applications:
        return BlendFit(None, {"applications": int(answer.sum())})
    inputs = read_inputs(recommender, exposures)[settled]
    alone, together = _cross_validate(inputs, answer, exposures.request[settled], recipe)
    report: dict[str, Any] = {
        "applications": int(answer.sum()),
        "loss_response_model": round(alone, 6),
        "loss_blend": round(together, 6),
    }
    if together >= alone:
        return BlendFit(None, report)
    constant, weights = fit_weights(inputs, answer, recipe.held_to_response)
    late = exposures.settled[:, _CONVERT] & exposures.outcomes[:, _APPLY]
    converts = (exposures.outcomes[late, _CONVERT].sum() + 1) / (late.sum() + 2)
    response, ranker, tower = (round(float(weight), 4) for weight in weights)
    blend = Blend(
        constant=round(constant, 4), response=response, ranker=ranker, tower=tower, converts=round(float(converts), 4)
    )
    return BlendFit(blend, report | {"blend": blend.model_dump()})


def read_inputs(recommender: Recommender, exposures: Exposures) -> np.ndarray:
    """[E, 3]: what the blend adds up, of exposures in the places that they had."""
    found = np.empty((len(exposures), len(_PRIOR)))
    for start in range(0, len(exposures.now), _REQUESTS_AT_ONCE):
        last = min(start + _REQUESTS_AT_ONCE, len(exposures.now))
        some = exposures.requests(start, last)
        rows = recommender.reader.read_customers(some.columns.to_dict(), some.now, some.channel)
        states = recommender.encode_rows(rows)
        pairs = some.request, some.product
        exposed = Exposed(*pairs, some.content, rows.channel[some.request], some.position)
        apply = recommender.responses(states, exposed)[:, _APPLY]
        ranked = recommender.score(states, Kind.PRODUCTS)[pairs]
        share = log_shares(recommender.tower_scores(states, Kind.PRODUCTS))[pairs]
        begin, end = np.searchsorted(exposures.request, [start, last])
        found[begin:end] = blend_inputs(apply, ranked, share)
    return found


def fit_weights(inputs: np.ndarray, answer: np.ndarray, precision: float | None) -> tuple[float, np.ndarray]:
    """Constant and [3] weights, none below zero: logistic regression with a normal prior around the response model.

    Args:
        inputs: [E, 3]
        answer: [E] 0 or 1.
        precision: of the prior, one over its variance; None: the response model alone, with a constant.
    """
    held = 0.0 if precision is None else precision

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        logit = values[0] + inputs @ values[1:]
        away = values[1:] - _PRIOR
        missed = 1 / (1 + np.exp(-logit)) - answer
        gradient = np.concatenate([[missed.sum()], missed @ inputs + held * away])
        return float(np.logaddexp(0, logit).sum() - answer @ logit + held / 2 * away @ away), gradient

    start = np.concatenate([[0.0], _PRIOR])
    free: list[tuple[float | None, float | None]] = [(0.0, None)] * len(_PRIOR)
    bounds = [(None, None), *(free if precision is not None else zip(_PRIOR, _PRIOR, strict=True))]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), found.x[1:]


def _cross_validate(
    inputs: np.ndarray, answer: np.ndarray, request: np.ndarray, recipe: ResponseRecipe
) -> tuple[float, float]:
    """The log loss of the response model with a constant of its own, and of the blend, on requests not seen."""
    logits = np.empty((2, len(answer)))
    for fold in range(recipe.folds):
        mine = request % recipe.folds == fold
        for row, precision in enumerate((None, recipe.held_to_response)):
            constant, weights = fit_weights(inputs[~mine], answer[~mine], precision)
            logits[row, mine] = constant + inputs[mine] @ weights
    losses = np.logaddexp(0, logits).mean(axis=1) - (logits * answer).mean(axis=1)
    return float(losses[0]), float(losses[1])
