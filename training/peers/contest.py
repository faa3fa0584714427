"""One peer's way through a task: tuned on the lesson, refitted on all that the exam may know, asked once."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from training.peers.als import AlsPeer
from training.peers.base import Peer
from training.peers.boosted import BoostedPeer
from training.peers.bpr import BprPeer
from training.peers.ease import EasePeer
from training.peers.interactions import Asked, Lesson, Questions
from training.peers.itemknn import ItemKnnPeer
from training.peers.popularity import PopularityPeer
from training.peers.results import Result, answer
from training.peers.task import Task
from training.peers.tuning import tune

PEERS: dict[str, Callable[[], Peer[Any]]] = {
    "popularity": PopularityPeer,
    "itemknn": ItemKnnPeer,
    "ease": EasePeer,
    "als": AlsPeer,
    "bpr": BprPeer,
}
BOOSTED = "lightgbm"
_FEW = 20
"""With fewer new customers than this in the lesson, what is popular for everybody is popular for them."""


def run_peer(name: str, task: Task) -> Result:
    """Tunes, fits and asks one of `PEERS`."""
    peer, known = PEERS[name](), task.exam.known
    tuned = tune(peer, task.lesson, known, task.k)
    started = time.perf_counter()
    peer.fit(known, tuned.settings)
    fitted = time.perf_counter() - started
    report = {
        "settings": tuned.settings.model_dump(exclude={"seed"}),
        "grid": tuned.trials,
        "tune_seconds": tuned.seconds,
        "fit_seconds": fitted,
    }
    fallback = None if name == "popularity" else NewcomersFallback(task)

    def scores(questions: Questions) -> np.ndarray:
        own = peer.scores(questions.asked)
        return own if fallback is None else fallback.fill(own, questions.asked)

    return answer(task, scores, report)


def run_boosted(task: Task) -> Result:
    """The two-stage ranker: it learns from the lesson's answers; its sources are refitted for the exam.

    Raises:
        ValueError: there is no lesson to learn from.
    """
    if task.lesson is None:
        raise ValueError("lightgbm learns from validation answers, and the dataset's split has none")
    peer = BoostedPeer(task.items, task.k)
    tuned = peer.learn(task.lesson)
    started = time.perf_counter()
    peer.refit_sources(task.exam.known)
    settings = tuned.settings.model_dump(exclude={"seed"}) | {"rounds": tuned.rounds}
    report = {
        "settings": settings | {f"{name}": one.model_dump(exclude={"seed"}) for name, one in tuned.sources.items()},
        "grid": tuned.trials,
        "tune_seconds": tuned.seconds - tuned.training_seconds,
        "fit_seconds": tuned.training_seconds + time.perf_counter() - started,
        "importance": peer.importance(),
    }
    return answer(task, lambda questions: peer.scores(questions.asked, questions.allowed), report)


class NewcomersFallback:
    """Popularity for customers of whom no event is known: their factors and sums say nothing.

    Its window is tuned on the lesson's new customers where there are enough.
    """

    def __init__(self, task: Task) -> None:
        self._known = task.exam.known
        self._peer = PopularityPeer()
        settings = tune(self._peer, _newcomers(task.lesson), self._known, task.k).settings
        self._peer.fit(self._known, settings)  # type: ignore[arg-type]

    def fill(self, scores: np.ndarray, asked: Asked) -> np.ndarray:
        """[B, P] with the rows of new customers replaced."""
        new = np.flatnonzero(self._known.activity[asked.customer] == 0)
        if len(new):
            scores = scores.copy()
            scores[new] = self._peer.scores(Asked(asked.customer[new], asked.now[new]))
        return scores


def _newcomers(lesson: Lesson | None) -> Lesson | None:
    if lesson is None:
        return None
    rows = np.flatnonzero(lesson.known.activity[lesson.questions.asked.customer] == 0)
    return lesson if len(rows) < _FEW else Lesson(lesson.known, lesson.questions.take(rows))
