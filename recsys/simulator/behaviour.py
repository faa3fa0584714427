"""The days of a block of customers: who is shown what, who responds, who comes unprompted."""

from dataclasses import dataclass, field

import numpy as np

from recsys.schema import EventType
from recsys.simulator.bank import Bank
from recsys.simulator.clock import SECOND
from recsys.simulator.consent import Consent
from recsys.simulator.customers import Population
from recsys.simulator.eligibility import Eligibility
from recsys.simulator.journal import Journal
from recsys.simulator.preference import Preference, Shown
from recsys.simulator.world import ARMS, CHANNELS, Bools, Floats, Ints

FORGETS_ANY = 0.90
FORGETS_PRODUCT = 0.94
"""What is left of an impression's weight after a day: for fatigue in general, and of one product."""
_COOL_OFF = 35
"""Days that a dismissed product stays out."""
_DECLINED = 60
"""Days that a product stays out after an application that led nowhere."""
_BROWSING = (0, 1)
"""Channels in which customers come unprompted: app and web."""


@dataclass
class Block:
    """One block of customers on its way through the period. C customers, P products."""

    bank: Bank
    population: Population
    preference: Preference
    eligibility: Eligibility
    consent: Consent
    rng: np.random.Generator
    journal: Journal = field(default_factory=Journal)
    requests: int = 0

    def __post_init__(self) -> None:
        shape = self.eligibility.held.shape
        self.impressions: Floats = np.zeros(shape[0], np.float32)
        """[C]: recent impressions, each day's worth less."""
        self.exposure: Floats = np.zeros(shape, np.float32)
        """[C, P]: the same by product."""
        self.utility: Floats = self.preference.utility(0)

    def start_day(self, day: int) -> None:
        """Takes needs of a new week, and forgets a little."""
        if day % 7 == 0:
            self.utility = self.preference.utility(day // 7)
        self.impressions *= FORGETS_ANY
        self.exposure *= FORGETS_PRODUCT

    def live_day(self, day: int) -> None:
        """Requests by channel, then what customers do unprompted."""
        visits = self._visits()
        for index in range(len(CHANNELS)):
            visitors = np.flatnonzero(visits == index)
            contacted = self.population.arm[visitors] != ARMS.index("control")
            contacted &= self.consent.marketing_on(day, visitors, index)
            contacted &= self.population.joined_day[visitors] < day
            self._serve(visitors[contacted], index, day)
        quiet = np.flatnonzero((visits < 0) & (self.population.joined_day < day))
        self._browse(quiet, day)
        self._acquire_unprompted(quiet, day)

    def visit_chances(self) -> Floats:
        """Probability of a request in each channel on a day, [C, CHANNELS]; at most one a day."""
        rates = np.array([channel.rate for channel in CHANNELS], np.float32)
        return np.minimum(self.population.traits.activity[:, None], 4.0) * rates

    def _visits(self) -> Ints:
        """The channel of each customer's request today, -1 for none."""
        edges = np.cumsum(self.visit_chances(), axis=1)
        kind = (self.rng.random(self.population.count)[:, None] >= edges).sum(axis=1)
        return np.where(kind == len(CHANNELS), -1, kind)

    def _serve(self, customers: Ints, channel: int, day: int) -> None:
        """Shows a slate to each of `customers` and lets them respond."""
        place = CHANNELS[channel]
        allowed = self.eligibility.allowed(day, customers)
        able = allowed.any(axis=1)
        customers, allowed = customers[able], allowed[able]
        if not len(customers):
            return
        who = (self.population.segment[customers], self.consent.profiling_on(day, customers))
        slate = self.bank.policy.draw(
            allowed, (*who, self.population.arm[customers]), (channel, place.slots, day), self.rng
        )
        moment = self.bank.clock.moment(day, self.population.country[customers], place.hours, self.rng)
        request = self.requests + np.arange(len(customers))
        self.requests += len(customers)
        rows, slots = np.nonzero(slate.product >= 0)
        filled = (rows, slots)
        shown = Shown(customers[rows], slate.product[filled], slate.content[filled], np.full(len(rows), channel), slots)
        propensity = {"propensity": slate.propensity[filled], "product_propensity": slate.product_propensity[filled]}
        self._show(shown, self._logged(shown, request[rows]), moment[rows], propensity, day)

    def contact(self, customers: Ints, products: Ints, contents: Ints, channel: int, day: int) -> None:
        """Shows each of `customers` one product in the first place of a channel, where he agrees and may have it."""
        may = self.consent.marketing_on(day, customers, channel)
        may &= self.eligibility.allowed(day, customers)[np.arange(len(customers)), products]
        customers, products, contents = customers[may], products[may], contents[may]
        if not len(customers):
            return
        nobody, sure = np.zeros(len(customers), np.int64), np.ones(len(customers))
        shown = Shown(customers, products, contents, nobody + channel, nobody)
        country = self.population.country[customers]
        moment = self.bank.clock.moment(day, country, CHANNELS[channel].hours, self.rng)
        logged = self._logged(shown, self.requests + np.arange(len(customers)))
        self.requests += len(customers)
        self._show(shown, logged, moment, {"propensity": sure, "product_propensity": sure}, day)

    def _show(
        self, shown: Shown, logged: dict[str, np.ndarray], moment: Ints, propensity: dict[str, np.ndarray], day: int
    ) -> None:
        """Records the impressions with the truth behind them, and the responses."""
        utility = self.utility[shown.customer, shown.product]
        wear = self.preference.wear_of(self.impressions[shown.customer], self.exposure[shown.customer, shown.product])
        p_click = self.preference.click(shown, utility, wear, day)
        p_apply = self.preference.apply(utility)
        p_convert = self.preference.convert(shown.customer, shown.product, utility)
        chances = {"p_click": p_click, "p_apply": p_apply, "p_convert": p_convert}
        self.journal.record(EventType.IMPRESSION, shown.customer, moment, **logged, **propensity, **chances)
        np.add.at(self.impressions, shown.customer, 1.0)
        np.add.at(self.exposure, (shown.customer, shown.product), 1.0)
        clicked = self.rng.random(len(moment)) < p_click
        self._respond(shown, logged, moment, clicked, (p_apply, p_convert))
        self._turn_away(shown, logged, moment, ~clicked, utility, wear)

    def _logged(self, shown: Shown, request: Ints) -> dict[str, np.ndarray]:
        return {
            "product": shown.product,
            "content": shown.content,
            "channel": shown.channel,
            "placement": shown.channel,
            "position": shown.position,
            "request": request,
        }

    def _respond(
        self, shown: Shown, logged: dict[str, np.ndarray], moment: Ints, clicked: Bools, chances: tuple[Floats, Floats]
    ) -> None:
        """Clicks, and what follows from them."""
        p_apply, p_convert = chances
        delay = (self.rng.lognormal(2.2, 0.9, clicked.sum()) * SECOND).astype(np.int64)
        delay[shown.channel[clicked] == 2] *= 200  # letters are read hours later
        clicks = {name: values[clicked] for name, values in logged.items()}
        customer, at = shown.customer[clicked], moment[clicked] + delay
        self._record(EventType.CLICK, customer, at, clicks)
        self._apply(customer, at, clicks, p_apply[clicked], p_convert[clicked])

    def _apply(
        self, customer: Ints, moment: Ints, logged: dict[str, np.ndarray], p_apply: Floats, p_convert: Floats
    ) -> None:
        """Applications of those who got as far, and the conversions among them."""
        applies = self.rng.random(len(customer)) < p_apply
        customer, p_convert = customer[applies], p_convert[applies]
        logged = {name: values[applies] for name, values in logged.items()}
        minutes = np.minimum(self.rng.lognormal(3.2, 1.4, len(customer)), 2 * 1440)
        at = moment[applies] + (minutes * 60 * SECOND).astype(np.int64)
        self._record(EventType.APPLY, customer, at, logged)
        converts = self.rng.random(len(customer)) < p_convert
        day = self.bank.clock.day_of(at)
        self.eligibility.block(customer[~converts], logged["product"][~converts], day[~converts] + _DECLINED)
        self._convert(customer[converts], at[converts], {name: values[converts] for name, values in logged.items()})

    def _convert(self, customer: Ints, applied: Ints, logged: dict[str, np.ndarray]) -> None:
        hours = np.minimum(self.rng.lognormal(2.6, 1.1, len(customer)), 240)
        at = applied + (hours * 3600 * SECOND).astype(np.int64)
        product = logged["product"]
        value = self.bank.catalogue.column("value")[product].astype(np.float64)
        self._record(EventType.CONVERT, customer, at, {**logged, "value": value})
        day = self.bank.clock.day_of(at)
        self.eligibility.acquire(customer, product, day)
        within = at < self.bank.clock.end
        self.journal.holdings.append((customer[within], product[within], at[within]))
        self._satisfy(customer[within], product[within], day[within])

    def _satisfy(self, customer: Ints, product: Ints, day: Ints) -> None:
        """What a product serves is needed less from the next week on."""
        needs, fits = self.population.needs, self.bank.catalogue.fits
        for who, what, week in zip(customer, product, day // 7, strict=True):
            needs[week + 1 :, who] *= 1 - self.bank.config.response.satisfied * np.minimum(fits[what], 1.0)

    def _turn_away(
        self, shown: Shown, logged: dict[str, np.ndarray], moment: Ints, rest: Bools, utility: Floats, wear: Floats
    ) -> None:
        """Dismissals, and the few who want no more offers in the channel."""
        annoyed = 1 / (1 + np.exp(3.9 + 0.25 * utility - 0.05 * wear))
        dismissed = rest & (self.rng.random(len(rest)) < annoyed)
        at = moment + (self.rng.lognormal(1.8, 0.7, len(rest)) * SECOND).astype(np.int64)
        dismissals = {name: values[dismissed] for name, values in logged.items()}
        self._record(EventType.DISMISS, shown.customer[dismissed], at[dismissed], dismissals)
        until = self.bank.clock.day_of(at) + _COOL_OFF
        self.eligibility.block(shown.customer[dismissed], shown.product[dismissed], until[dismissed])
        leaves = dismissed & (self.rng.random(len(rest)) < 0.03)
        self._opt_out(shown, logged, at + 3 * SECOND, leaves)

    def _opt_out(self, shown: Shown, logged: dict[str, np.ndarray], moment: Ints, leaves: Bools) -> None:
        rows = np.flatnonzero(leaves)
        rows = rows[np.unique(shown.customer[rows], return_index=True)[1]]  # once a request
        inside = rows[moment[rows] < self.bank.clock.end]
        customer, channel = shown.customer[inside], shown.channel[inside]
        self._record(
            EventType.OPT_OUT, customer, moment[inside], {name: values[inside] for name, values in logged.items()}
        )
        self.consent.withdraw(customer, channel, self.bank.clock.day_of(moment[inside]))
        self.journal.opt_outs.append((customer, channel, moment[inside]))

    def _browse(self, quiet: Ints, day: int) -> None:
        """Unprompted looks at product pages."""
        rate = self.bank.config.response.view_rate * np.minimum(self.population.traits.initiative[quiet], 4)
        customers = quiet[self.rng.random(len(quiet)) < rate]
        live = self.bank.catalogue.live[day]
        if not len(customers) or not live.any():
            return
        keys = 0.8 * self.utility[customers] + self.rng.gumbel(size=(len(customers), len(live)))
        product = np.where(live[None], keys, -np.inf).argmax(axis=1)
        self._look(customers, product, day)

    def _look(self, customers: Ints, product: Ints, day: int) -> tuple[Ints, dict[str, np.ndarray]]:
        channel = np.where(self.rng.random(len(customers)) < 0.7, *_BROWSING)
        moment = self.bank.clock.moment(day, self.population.country[customers], (7, 23), self.rng)
        logged = {"product": product, "channel": channel}
        self._record(EventType.VIEW, customers, moment, logged)
        return moment, logged

    def _acquire_unprompted(self, quiet: Ints, day: int) -> None:
        """Unprompted applications; three in ten are seen to look at the page just before."""
        rates = self.preference.organic(self.utility, self.exposure)[quiet] * self.eligibility.allowed(day, quiet)
        edges = np.cumsum(rates, axis=1)
        comes = self.rng.random(len(quiet)) < 1 - np.exp(-edges[:, -1])
        customers, edges = quiet[comes], edges[comes]
        if not len(customers):
            return
        product = (self.rng.random(len(customers))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
        looks = self.rng.random(len(customers)) < 0.3
        for some in (looks, ~looks):
            who, what = customers[some], product[some]
            if some is looks:
                moment, logged = self._look(who, what, day)
            else:
                channel = self.rng.choice([0, 1, 3], len(who), p=[0.5, 0.2, 0.3])
                moment = self.bank.clock.moment(day, self.population.country[who], (9, 19), self.rng)
                logged = {"product": what, "channel": channel}
            chance = self.preference.convert(who, what, self.utility[who, what])
            self._apply(who, moment, logged, np.ones(len(who), np.float32), chance)

    def _record(self, kind: EventType, customer: Ints, moment: Ints, logged: dict[str, np.ndarray]) -> None:
        """Adds what falls into the period; the rest has not happened yet."""
        inside = moment < self.bank.clock.end
        self.journal.record(
            kind, customer[inside], moment[inside], **{name: values[inside] for name, values in logged.items()}
        )
