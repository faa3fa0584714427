"""A bank without its customers: what all blocks of customers share."""

from dataclasses import dataclass

import numpy as np

from recsys.simulator.catalogue import Catalogue, build_catalogue
from recsys.simulator.clock import Clock
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.creatives import Creatives, SentPictures, build_creatives
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.logging_policy import LoggingPolicy
from recsys.simulator.world import need_scenes


def seed_of(config: SimulatorConfig, *part: int) -> np.random.SeedSequence:
    """The seed of a part of the bank; that of a block of customers does not depend on how many blocks there are."""
    return np.random.SeedSequence(config.seed, spawn_key=part)


@dataclass(frozen=True)
class Bank:
    """Products, creatives, pictures, policy and calendar."""

    config: SimulatorConfig
    lexicon: Lexicon
    catalogue: Catalogue
    creatives: Creatives
    pictures: SentPictures
    policy: LoggingPolicy
    clock: Clock

    @classmethod
    def found(cls, config: SimulatorConfig) -> "Bank":
        """Draws everything that a bank has before its first customer."""
        lexicon = Lexicon.load(config.language)
        catalogue = build_catalogue(config, lexicon, seed_of(config, 0))
        creatives = build_creatives(catalogue, config, lexicon, seed_of(config, 1))
        return cls(
            config=config,
            lexicon=lexicon,
            catalogue=catalogue,
            creatives=creatives,
            pictures=SentPictures(config.sent_pictures, seed_of(config, 2), need_scenes()),
            policy=LoggingPolicy(catalogue, creatives, config, seed_of(config, 3)),
            clock=Clock(config, lexicon),
        )
