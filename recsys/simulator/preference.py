"""The known truth: utility of a product for a customer, and the probabilities of each response.

utility  = need · fit + what the customer values · what the product offers + match of facts + quality
click    = examined(channel, position) · σ(utility, tone, angle, picture, channel, weekday, fatigue)
apply    = σ(utility)            after a click
convert  = σ(utility, minimum)   after an application
organic  = rate · exp(utility, contact effect · recent exposure)      a day, with or without contact
"""

from typing import NamedTuple

import numpy as np

from recsys.simulator.catalogue import Catalogue
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.creatives import Creatives
from recsys.simulator.customers import Population
from recsys.simulator.world import CHANNELS, Floats, Ints, need_scenes

NO_CONTENT = -1
_AWARENESS_CAP = 3.0


class Shown(NamedTuple):
    """What is shown to whom, where: N slots. All index arrays, [N]."""

    customer: Ints
    product: Ints
    content: Ints
    """NO_CONTENT: the product without a creative."""
    channel: Ints
    position: Ints
    """From 0."""


class Preference:
    """The true preferences of one block of customers. C customers, P products, A creatives, K needs."""

    def __init__(
        self, population: Population, catalogue: Catalogue, creatives: Creatives, config: SimulatorConfig
    ) -> None:
        self._population = population
        self._catalogue = catalogue
        self._creatives = creatives
        self._response = config.response
        self._scenes = need_scenes()
        self._suiting = np.where(creatives.suits, 0.25, -0.35).astype(np.float32)
        examined = np.zeros((len(CHANNELS), max(channel.slots for channel in CHANNELS)), np.float32)
        for index, channel in enumerate(CHANNELS):
            examined[index, : channel.slots] = channel.examined
        self._examined = examined
        r = self._response
        self._standing: Floats = (
            r.values * population.traits.values @ catalogue.attributes.T
            + _match_facts(population, catalogue)
            + r.quality * catalogue.quality
        ).astype(np.float32)
        self._affordable = _affordability(population, catalogue)

    def utility(self, week: int) -> Floats:
        """Utility of every product for every customer in a week, [C, P]."""
        fit = self._population.needs[week] @ self._catalogue.fits.T
        return (self._response.need * np.minimum(fit, 1.1) + self._standing).astype(np.float32)

    def click(self, shown: Shown, utility: Floats, wear: Floats, day: int) -> Floats:
        """P(click), [N].

        Args:
            shown: the N slots.
            utility: of each slot's product for its customer, [N].
            wear: fatigue in impressions, [N] (see `wear_of`).
            day: of the period; weekends are a little better.
        """
        r, traits = self._response, self._population.traits
        logit = (
            r.click_base + r.click_utility * utility + traits.channel[shown.customer, shown.channel] - r.fatigue * wear
        )
        logit += 1.5 * np.minimum(traits.contact_effect[shown.customer], 0)  # whom contact puts off
        logit += 0.15 if day % 7 in (5, 6) else 0.0
        has = shown.content != NO_CONTENT
        logit[has] += self._creative_appeal(shown.customer[has], shown.content[has], day // 7)
        return (self._examined[shown.channel, shown.position] * _sigmoid(logit)).astype(np.float32)

    def apply(self, utility: Floats) -> Floats:
        """P(application | click), the shape of `utility`."""
        return _sigmoid(self._response.apply_base + self._response.apply_utility * utility)

    def convert(self, customer: Ints, product: Ints, utility: Floats) -> Floats:
        """P(conversion | application), [N]."""
        r = self._response
        return _sigmoid(r.convert_base + r.convert_utility * utility + self._affordable[customer, product])

    def organic(self, utility: Floats, exposure: Floats) -> Floats:
        """Unprompted applications a day, [C, P], given utility and recent exposure to each product, [C, P]."""
        r, traits = self._response, self._population.traits
        awareness = traits.contact_effect[:, None] * np.minimum(exposure, _AWARENESS_CAP)
        rate = np.exp(np.minimum(r.organic_utility * utility, 8.0) + awareness)
        return (r.organic_rate * traits.initiative[:, None] * rate).astype(np.float32)

    def wear_of(self, impressions: Floats, same_product: Floats) -> Floats:
        """Fatigue in impressions of any product; one of the same product counts five times more."""
        wear: Floats = np.minimum(impressions, np.float32(25)) + 5 * np.minimum(same_product, np.float32(6))
        return wear

    def _creative_appeal(self, customer: Ints, content: Ints, week: int) -> Floats:
        r, traits, made = self._response, self._population.traits, self._creatives
        scene = 1.2 * (self._population.needs[week, customer] * self._scenes[:, made.scene[content]].T).sum(axis=1)
        picture = (
            traits.palette[customer, made.palette[content]]
            + 0.8 * traits.style[customer, made.style[content]]
            + traits.layout[customer, made.layout[content]]
            + self._suiting[content]
            + scene
        )
        tone = r.tone * traits.tone[customer, made.tone[content]]
        return tone + r.angle * traits.values[customer, made.angle[content]] + r.picture * picture


def _match_facts(population: Population, catalogue: Catalogue) -> Floats:
    """How the facts of a product match the customer's: risk, horizon, minimum; 0 where they do, below where not."""
    level, invest = catalogue.risk[None], (catalogue.risk > 0)[None]
    risk = -0.7 * np.abs(population.traits.appetite[:, None] - level) * invest
    term = catalogue.column("term_months", missing=0.0)
    dated = (term > 0) & ~catalogue.flags("is_credit")
    gap = np.abs(np.log(np.maximum(term, 1.0)[None] / population.horizon[:, None].clip(3, 400)))
    horizon = -0.5 * np.minimum(gap, 2.5) * dated[None]
    return (risk + horizon + 1.1 * _affordability(population, catalogue)).astype(np.float32)


def _affordability(population: Population, catalogue: Catalogue) -> Floats:
    """0 where the customer has the minimum (of income, for credit), down to -2 where it is far away, [C, P]."""
    minimum = catalogue.column("min_amount", missing=0.0)[None] / catalogue.money_scale
    means = np.where(catalogue.flags("is_credit")[None], 5 * population.income[:, None], population.liquid[:, None])
    return -np.clip(np.log(np.maximum(minimum, 1.0) / np.maximum(means, 1.0)), 0, 2).astype(np.float32)


def _sigmoid(logit: Floats) -> Floats:
    return (1 / (1 + np.exp(-logit))).astype(np.float32)
