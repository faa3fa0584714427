"""What a peer is: a class that learns from interactions with given settings, and scores all products."""

from typing import Protocol, TypeVar

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from training.peers.interactions import Asked, Interactions


class PeerSettings(BaseConfig):
    """What every peer that reads a matrix can be told."""

    weighted: bool = False
    """Read the weights of the event types; else every positive counts 1."""
    seed: int = Field(default=0, ge=0)


S = TypeVar("S", bound=PeerSettings)


class Peer(Protocol[S]):
    """One well-known method."""

    def grid(self, known: Interactions) -> list[S]:
        """The settings that are tried on validation, the plainest first."""

    def fit(self, known: Interactions, settings: S) -> None:
        """Learns; what was learned before is forgotten.

        Raises:
            RecsysError: the data is beyond what the method can hold.
        """

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32, higher is better, finite."""


def weightings(known: Interactions) -> tuple[bool, ...]:
    """Both where the events differ in weight."""
    return (False, True) if known.is_weighted else (False,)
