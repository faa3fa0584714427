"""What the bank may show or sell to whom on a day: the rules that its logging policy obeyed."""

import numpy as np

from recsys.simulator.catalogue import Catalogue
from recsys.simulator.customers import Population
from recsys.simulator.world import Bools, Ints

RATING_DAYS = 365
"""A risk assessment older than this is none."""


class Eligibility:
    """Rules for one block of customers; keeps what they hold and what is blocked. C customers, P products."""

    def __init__(self, population: Population, catalogue: Catalogue) -> None:
        shape = (population.count, len(catalogue.products))
        self._population = population
        self._catalogue = catalogue
        self._invests = catalogue.risk != 0
        self._credit = catalogue.flags("is_credit")
        self._repeatable = catalogue.flags("repeatable")
        self._static = catalogue.segments[:, population.segment].T & population.verified[:, None]
        self._static &= ~population.minor[:, None] | (catalogue.column("min_age") <= 14)[None]
        self.held: Bools = np.zeros(shape, bool)
        """[C, P]: has it, or has bought it and waits for it."""
        self._blocked_until = np.full(shape, -1, np.int32)

    def block(self, customer: Ints, product: Ints, until: Ints) -> None:
        """Takes products out for customers up to and including a day: dismissed, pending or recently declined."""
        self._blocked_until[customer, product] = np.maximum(self._blocked_until[customer, product], until)

    def acquire(self, customer: Ints, product: Ints, day: Ints) -> None:
        """Marks products as had; a repeatable one is only out for two weeks."""
        again = self._repeatable[product]
        self.held[customer[~again], product[~again]] = True
        self.block(customer[again], product[again], day[again] + 14)

    def level_on(self, day: int) -> Ints:
        """The risk level valid during the whole day, 0 where there is none, [C]."""
        a = self._population.assessment
        old = np.where((a.day < day) & (a.day + RATING_DAYS > day), a.level, 0)
        new = np.where(a.next_day + RATING_DAYS > day, a.next_level, 0)
        return np.where(a.next_day < day, new, np.where(a.next_day == day, np.minimum(old, new), old))

    def allowed(self, day: int, customers: Ints) -> Bools:
        """What each of `customers` may have on `day`, in any channel, [len(customers), P]."""
        people, products = self._population, self._catalogue
        allowed = self._static[customers] & products.live[day][None] & ~self.held[customers]
        allowed &= self._blocked_until[customers] < day
        level = self.level_on(day)[customers]
        suitable = (products.risk[None] > 0) & (products.risk[None] <= level[:, None])
        allowed &= ~self._invests[None] | suitable
        allowed &= ~self._credit[None] | (people.arrears_day[customers] > day)[:, None]
        allowed &= (people.joined_day[customers] < day)[:, None]
        for product, needed in enumerate(products.requires):
            if products.products[product].variant.archetype.requires is not None:
                allowed[:, product] &= self.held[customers][:, needed].any(axis=1)
        return allowed
