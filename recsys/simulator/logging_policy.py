"""The policy that logged the data: popularity and segment with a softmax, mixed with uniform exploration.

It is mediocre on purpose. Slots of a request are drawn one after another without replacement, and the propensity of
a slot is exact: the probability of its product given the slots above it, times that of its creative given the product.
"""

from typing import NamedTuple

import numpy as np

from recsys.simulator.catalogue import Catalogue
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.creatives import ANY_CHANNEL, Creatives
from recsys.simulator.preference import NO_CONTENT
from recsys.simulator.world import ARMS, SEGMENTS, Bools, Ints, Reals


class Slate(NamedTuple):
    """The slots of N requests, L each; -1 where there was nothing left to show."""

    product: Ints
    """[N, L]."""
    content: Ints
    """[N, L]: NO_CONTENT where the product has no creative for the channel."""
    propensity: Reals
    """[N, L]: of product and creative."""
    product_propensity: Reals
    """[N, L]: of the product alone."""


class LoggingPolicy:
    """Draws slates. P products, A creatives."""

    def __init__(
        self, catalogue: Catalogue, creatives: Creatives, config: SimulatorConfig, seed: np.random.SeedSequence
    ) -> None:
        rng = np.random.default_rng(seed)
        self._creatives = creatives
        self._channels = catalogue.channels
        self._epsilon = config.epsilon
        families = np.unique([product.family for product in catalogue.products], return_inverse=True)[1]
        popular = 0.8 * catalogue.quality + 0.6 * catalogue.fits.sum(axis=1) + rng.normal(0, 0.6, len(families))
        by_segment = rng.normal(0, 0.7, (len(SEGMENTS), families.max() + 1))[:, families]
        self._scores = np.concatenate([popular[None] + by_segment, popular[None]])  # last row: no profiling
        self._shelves: dict[tuple[int, int], tuple[Ints, Ints]] = {}

    def weights(self, allowed: Bools, segment: Ints, profiled: Bools, arm: Ints) -> tuple[Reals, Reals]:
        """Softmax weights of the products that are allowed, [N, P], and the share of uniform exploration, [N]."""
        scores = self._scores[np.where(profiled, segment, len(SEGMENTS))]
        uniform = np.where(arm == ARMS.index("explore"), 1.0, self._epsilon)
        return np.where(allowed, np.exp(scores), 0.0), uniform

    def product_propensity(self, weights: Reals, uniform: Reals) -> Reals:
        """Probability of each product in the next slot, [N, P]; rows with nothing left are 0."""
        left = weights > 0
        total, count = weights.sum(axis=1, keepdims=True), left.sum(axis=1, keepdims=True)
        share = uniform[:, None]
        mixture = (1 - share) * weights / np.maximum(total, 1e-30) + share * left / np.maximum(count, 1)
        return np.where(left, mixture, 0.0)

    def draw(
        self, allowed: Bools, who: tuple[Ints, Bools, Ints], place: tuple[int, int, int], rng: np.random.Generator
    ) -> Slate:
        """Fills the slots of N requests.

        Args:
            allowed: [N, P].
            who: segment, whether profiling is allowed, arm; [N] each.
            place: channel index, number of slots, day.
            rng: the block's generator.
        """
        channel, slots, day = place
        weights, uniform = self.weights(allowed & self._channels[:, channel][None], *who)
        rows = np.arange(len(weights))
        products, chances = np.full((len(rows), slots), -1), np.ones((len(rows), slots))
        for slot in range(slots):
            chance = self.product_propensity(weights, uniform)
            edges = np.cumsum(chance, axis=1)
            pick = (rng.random(len(rows))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
            filled = edges[:, -1] > 0
            pick = np.where(filled, np.minimum(pick, weights.shape[1] - 1), 0)
            products[:, slot] = np.where(filled, pick, -1)
            chances[:, slot] = chance[rows, pick]
            weights[rows, pick] = 0.0
        contents, content_chance = self._draw_contents(products, channel, day, rng)
        return Slate(products, contents, chances * content_chance, chances)

    def shelf(self, channel: int, day: int) -> tuple[Ints, Ints]:
        """Creatives that may be shown for each product, [P, most], and how many those are, [P]."""
        key = (channel, day)
        if key not in self._shelves:
            self._shelves[key] = self._stock(channel, day)
        return self._shelves[key]

    def _stock(self, channel: int, day: int) -> tuple[Ints, Ints]:
        made, count = self._creatives, len(self._channels)
        usable = np.flatnonzero(made.live[day] & ((made.channel == ANY_CHANNEL) | (made.channel == channel)))
        ordered = usable[np.argsort(made.product[usable], kind="stable")]
        sizes = np.bincount(made.product[ordered], minlength=count)
        shelf = np.full((count, max(int(sizes.max(initial=0)), 1)), NO_CONTENT)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        shelf[made.product[ordered], np.arange(len(ordered)) - starts[made.product[ordered]]] = ordered
        return shelf, sizes

    def _draw_contents(self, products: Ints, channel: int, day: int, rng: np.random.Generator) -> tuple[Ints, Reals]:
        shelf, sizes = self.shelf(channel, day)
        size = sizes[products]
        pick = (rng.random(products.shape) * np.maximum(size, 1)).astype(np.int64)
        content = np.where((products >= 0) & (size > 0), shelf[products, pick], NO_CONTENT)
        return content, 1.0 / np.maximum(size, 1)
