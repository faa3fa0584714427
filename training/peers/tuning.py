"""How a peer's settings are found: the whole grid on the lesson's questions, the best mean NDCG."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.metrics.ranking import RankingMetrics, expected_ranking_metrics
from training.peers.base import Peer, PeerSettings
from training.peers.interactions import Interactions, Lesson, Questions


@dataclass(frozen=True)
class Tuned:
    """What was tried."""

    settings: PeerSettings
    """The best; of equals the first, which is the plainest."""
    trials: list[dict[str, Any]]
    """Settings (what differs from the defaults or within the grid) and their NDCG."""
    seconds: float


def measure(scores: np.ndarray, questions: Questions, k: int) -> RankingMetrics:
    """Metrics of each question over its candidates; ties count as a random order would.

    Args:
        scores: [Q, P] float, any for items that are not allowed.
        questions: the questions.
        k: length of the lists.
    """
    masked = np.where(questions.allowed, scores, -np.inf)
    return expected_ranking_metrics(masked, [questions.relevant[row] for row in range(len(questions))], k)


def mean_ndcg(peer: Peer[Any], questions: Questions, k: int) -> float:
    """Of all questions, a batch at a time."""
    parts = [questions.take(rows) for rows in questions.batches()]
    values = [measure(peer.scores(part.asked), part, k).ndcg for part in parts]
    return float(np.concatenate(values).mean())


def tune(peer: Peer[Any], lesson: Lesson | None, known: Interactions, k: int) -> Tuned:
    """Tries the grid; without a lesson, the first settings of the grid are taken untried.

    Args:
        peer: is left fitted to the last settings tried.
        lesson: what was known before the validation part, and its answers.
        known: of the exam: whether its events differ in weight shapes the grid.
        k: length of the lists.
    """
    started = time.perf_counter()
    grid = peer.grid(known)
    if lesson is None:
        return Tuned(grid[0], [], 0.0)
    trials = []
    for settings in grid:
        peer.fit(lesson.known, settings)
        trials.append(mean_ndcg(peer, lesson.questions, k))
    best = int(np.argmax(trials))
    shown = [
        {**settings.model_dump(exclude={"seed"}), "ndcg": round(score, 5)}
        for settings, score in zip(grid, trials, strict=True)
    ]
    return Tuned(grid[best], shown, time.perf_counter() - started)
