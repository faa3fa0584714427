"""From candidates to a ranked, explained answer: the one path that the API and `recsys recommend` share.

candidates → policy → score → diversify → explain. What a customer may be shown is decided before anything is ranked.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

import numpy as np

from recsys.decisions.answer import Boost, Decision, DecisionRequest, Placement, PlacementDecision, RankedItem
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.evidence import EvidenceFinder, Row
from recsys.decisions.explanation import Explainer, ExplanationConfig, Reason, Subject, falls_of
from recsys.decisions.exploration import Explorer, Places, best_places
from recsys.decisions.judge import Judge
from recsys.decisions.scoring import Features, ScoreArray, Scorer, States, Understanding, score_all, understand
from recsys.decisions.selection import NOTHING, top_k
from recsys.decisions.stopwatch import UNTIMED, Stage, Stopwatch
from recsys.decisions.wording import nameable, served_language
from recsys.errors import ModelError
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import BoolArray, CustomerFacts, IntArray, as_instant
from recsys.schema import Kind, ServingMode

DEFAULT_EXPLANATION = ExplanationConfig()


class Ranking(NamedTuple):
    """The lists of B customers."""

    items: IntArray
    """[B, k] positions of the items, best first; -1 where there are fewer than k."""
    scores: ScoreArray
    """[B, k]; NaN where there is no item."""
    modes: list[ServingMode]


class _Scene(NamedTuple):
    """One customer's part of a decision, while it is made."""

    facts: CustomerFacts
    subject: Subject
    whole: Understanding
    mode: ServingMode
    segment: str | None
    """Whose favourites stand in for a customer who is not known; None: everybody's."""
    states: States | None
    """1 + E: the customer, and he without each part of his row that is evidence; None where he is not known."""
    explorer: Explorer | None
    """None: nothing is tried out on him."""
    profiled: bool
    """Whether anything that was chosen for him in person may be shown."""
    judge: Judge
    """What the policy says to him."""
    watch: Stopwatch = UNTIMED


class DecisionPipeline:
    """Decides what to show."""

    def __init__(
        self,
        scorer: Scorer,
        policy: PolicyEngine,
        catalogue: Catalogue,
        explanation: ExplanationConfig = DEFAULT_EXPLANATION,
    ) -> None:
        if list(catalogue.ids(Kind.PRODUCTS)) != scorer.product_ids or (
            list(catalogue.ids(Kind.CONTENTS)) != scorer.content_ids
        ):
            raise ModelError("the catalogue and the model's candidates are not the same items in the same order")
        self.scorer = scorer
        self.policy = policy
        self.catalogue = catalogue
        self._explanation = explanation
        self.finder = EvidenceFinder(catalogue, nameable(catalogue, policy.credits(catalogue.products)))
        self._explainer = Explainer(catalogue, scorer, explanation)

    def with_policy(self, policy: PolicyEngine) -> Self:
        """The same model and catalogue under another policy; this pipeline stays as it is."""
        return type(self)(self.scorer, policy, self.catalogue, self._explanation)

    def understand(
        self, features: Sequence[Features | None], now: datetime, channel: str | None = None
    ) -> Understanding:
        """What the model knows of B customers, for `rank`; a row that is None is a customer without features."""
        return understand(self.scorer, features, now, channel)

    def rank(
        self, customers: Understanding, facts: CustomerFacts, kind: Kind, k: int, request: DecisionRequest
    ) -> Ranking:
        """The k best items of one kind for each of B customers.

        Args:
            customers: what the model knows of them.
            facts: what the rules know of them.
            kind: what to rank.
            k: how many items each.
            request: its placements are not looked at.
        """
        if not len(self.catalogue.ids(kind)):
            items = np.full((len(facts), k), NOTHING, dtype=np.int64)
            return Ranking(items, np.full(items.shape, np.nan, dtype=np.float32), self._modes(customers))
        outcome = Judge(self.policy, self.catalogue, facts, request)(kind)
        allowed = outcome.allowed
        stale = self.policy.stale(facts, request.now)
        impersonal = outcome.profiling_refused | stale
        customers = customers.without(impersonal)
        segments = [None if alike else name for alike, name in zip(impersonal, facts.segment, strict=True)]
        if kind in request.candidates:
            allowed = allowed & request.candidates[kind]
        allowed = np.broadcast_to(allowed, (len(facts), allowed.shape[1]))
        scores = score_all(self.scorer, customers, segments, kind, allowed)
        items = top_k(scores, allowed, k)
        chosen = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
        modes = [ServingMode.SAFE if old else mode for old, mode in zip(stale, self._modes(customers), strict=True)]
        return Ranking(items, np.where(items == NOTHING, np.float32("nan"), chosen), modes)

    def decide(
        self,
        features: Features | None,
        facts: CustomerFacts | None,
        request: DecisionRequest,
        watch: Stopwatch = UNTIMED,
    ) -> Decision:
        """Fills all placements of one customer; no product and no creative is shown twice.

        Args:
            features: the customer's row; None: nothing is known of his behaviour (mode `popular`). They are not
                looked at where he refused profiling (mode `popular`, by what everybody likes).
            facts: of this one customer; None: they cannot be read, so only what the most restricted customer may
                see is shown, and nothing that depends on who he is (mode `safe`); so too where they are stale.
            request: what is asked for.
            watch: is told where the time goes.
        """
        readable = facts is not None and not self.policy.stale(facts, request.now)[0]
        with watch(Stage.TOWER):
            scene = self._scene(features, facts, request, readable)._replace(watch=watch)
        shown = np.zeros(len(self.catalogue.products), dtype=bool)
        boosts = self._boosts(scene, request) if request.boosts and scene.profiled else {}
        products = self.catalogue.product_of(Kind.CONTENTS)
        shown[[products[boost.content] for boost in boosts.values()]] = True
        placements = [
            self._fill(placement, scene, request, shown, boosts.get(placement.name)) for placement in request.placements
        ]
        suitability = self.policy.suitability(scene.facts, request.now)[0] if readable else "unreadable"
        return Decision(scene.mode, scene.whole.missing[0], suitability, scene.subject.language, placements)

    def _scene(
        self, features: Features | None, facts: CustomerFacts | None, request: DecisionRequest, readable: bool
    ) -> _Scene:
        """Encodes the customer together with his ablated versions: one pass through the model.

        What he refused to have looked at is not looked at, here and from here on.
        """
        known = CustomerFacts.unknown(1) if facts is None else facts
        profiled = readable and not self.policy.profiling_refused(known, request.now)[0]
        features = features if profiled else None
        language = served_language(request.context.locale, known.language[0])
        missing = tuple(self.scorer.modalities if features is None else self.scorer.missing_modalities(features))
        states: States | None = None
        subject = Subject(language)
        if features is not None and len(missing) < len(self.scorer.modalities):
            row = self.finder.read(features)
            subject = self._subject(row, known, request, language)
            rows = [features, *self.finder.without_each(row, subject.evidence)]
            states = self.scorer.encode(rows, [request.now] * len(rows), request.context.channel)
        whole = Understanding(None if states is None else states[:1], np.array([states is not None]), (missing,))
        mode = whole.mode(0) if readable else ServingMode.SAFE
        segment = known.segment[0] if profiled else None
        tried = states is not None and request.seed is not None
        explorer = Explorer(self.policy.pack.exploration.rate, request.seed or "") if tried else None
        judge = Judge(self.policy, self.catalogue, known, request)
        return _Scene(known, subject, whole, mode, segment, states, explorer, profiled, judge)

    def _subject(self, row: Row, facts: CustomerFacts, request: DecisionRequest, language: str) -> Subject:
        """The customer as reasons see him: no more of what he has than his own holdings, in his own answer."""
        held = frozenset(facts.held.products[facts.held.open_at(as_instant(request.now))].tolist())
        kinds = {placement.kind for placement in request.placements}
        evidence = self.finder.find(row, held, kinds)
        sizes, total = self.finder.sizes(row, evidence)
        return Subject(language, tuple(evidence), tuple(size / total for size in sizes), held)

    def _boosts(self, scene: _Scene, request: DecisionRequest) -> dict[str, Boost]:
        """By placement, what a campaign puts at its top: one each, no product twice, and nothing that a rule removes.

        It is the creative that was approved, so that the rules for creatives hold for its product too; where no
        placement wants creatives, the product stands for it.
        """
        if self.catalogue.contents is None:
            return {}
        kind = Kind.CONTENTS if any(one.kind is Kind.CONTENTS for one in request.placements) else Kind.PRODUCTS
        places = [one.name for one in request.placements if one.kind is kind and one.limit > 0]
        allowed = scene.judge(Kind.CONTENTS).allowed[0]
        owner = self.catalogue.product_of(Kind.CONTENTS)
        if Kind.CONTENTS in request.candidates:
            allowed = allowed & np.atleast_2d(request.candidates[Kind.CONTENTS])[0]
        if kind is Kind.PRODUCTS:  # the product's own rules too: a creative of it may be open where it is not
            products = scene.judge(kind).allowed[0]
            if kind in request.candidates:
                products = products & np.atleast_2d(request.candidates[kind])[0]
            allowed = allowed & products[owner]
        found: dict[int, Boost] = {}
        name = self.policy.pack.channel
        here = name(request.context.channel)
        for boost in request.boosts:
            if allowed[boost.content] and here in (None, name(boost.channel)):
                found.setdefault(int(owner[boost.content]), boost)
        return dict(zip(places, found.values(), strict=False))

    def _fill(
        self, placement: Placement, scene: _Scene, request: DecisionRequest, shown: BoolArray, boost: Boost | None
    ) -> PlacementDecision:
        """Fills one placement and marks its products in `shown` [N]; a boost stands at its top."""
        kind, limit = placement.kind, placement.limit
        if not len(self.catalogue.ids(kind)):
            return PlacementDecision(placement.name, kind, [], {})
        with scene.watch(Stage.POLICY):
            outcome = scene.judge(kind)
        among = request.candidates.get(kind)
        candidates = np.ones(outcome.allowed.shape[1], dtype=bool) if among is None else np.atleast_2d(among)[0]
        product_of = self.catalogue.product_of(kind)
        allowed = outcome.allowed[0] & candidates & ~shown[product_of]
        top = None if boost is None else self._top(boost, kind)
        with scene.watch(Stage.RANKER):
            scores = score_all(self.scorer, scene.whole, (scene.segment,), kind, _also(allowed, top)[None])
        with scene.watch(Stage.TOP_K):
            places = self._choose(scores[0], allowed, product_of, limit - (top is not None), scene.explorer)
        places = places if top is None else places.below(top)
        shown[product_of[places.items]] = True
        with scene.watch(Stage.EXPLANATION):
            items = self._items(kind, places, scene, scores[0])
        if boost is not None:
            items[0] = self._as_boosted(items[0], boost, scene)
        removals = outcome.removals(0, candidates)
        return PlacementDecision(placement.name, kind, items, removals, outcome.rule[0], scores[0])

    def _top(self, boost: Boost, kind: Kind) -> int:
        """The item of a kind that a boost is about."""
        return boost.content if kind is Kind.CONTENTS else int(self.catalogue.product_of(Kind.CONTENTS)[boost.content])

    def _as_boosted(self, item: RankedItem, boost: Boost, scene: _Scene) -> RankedItem:
        reasons = self._explainer.campaign(item.reasons, scene.subject.language)
        return item._replace(campaign_id=boost.campaign_id, reasons=reasons)

    def _choose(
        self, scores: ScoreArray, allowed: BoolArray, product_of: IntArray, limit: int, explorer: Explorer | None
    ) -> Places:
        if explorer is None:
            return best_places(scores, allowed, product_of, limit)
        explorable = self.policy.explorable(self.catalogue.products)[product_of]
        return explorer.fill(scores, allowed, explorable, product_of, limit)

    def _items(self, kind: Kind, places: Places, scene: _Scene, scores: ScoreArray) -> list[RankedItem]:
        products, owners = self.catalogue.products.ids, self.catalogue.product_of(kind)
        ids, titles = self.catalogue.ids(kind), self.catalogue.titles(kind)
        return [
            RankedItem(
                rank=rank,
                product_id=products[int(owners[item])],
                content_id=ids[item] if kind is Kind.CONTENTS else None,
                title=titles[item],
                score=float(scores[item]),
                reasons=reasons,
                propensity=propensity,
            )
            for rank, (item, propensity, reasons) in enumerate(
                zip(
                    places.items.tolist(),
                    places.propensities.tolist(),
                    self._reasons(kind, places, scene, scores),
                    strict=True,
                ),
                start=1,
            )
        ]

    def _reasons(self, kind: Kind, places: Places, scene: _Scene, scores: ScoreArray) -> list[list[Reason]]:
        """Of each place, from the top."""
        explainer, subject = self._explainer, scene.subject
        if scene.states is None:
            return [explainer.popular(scene.mode, scene.segment, subject.language) for _ in places.items]
        items = places.items
        if not len(items):
            return []
        falls = falls_of(scores[items], self.scorer.score_items(scene.states[1:], kind, items))
        return [
            explainer.explored(subject.language) if drawn else explainer.personal(subject, kind, item, fall)
            for item, drawn, fall in zip(items.tolist(), places.explored, falls, strict=True)
        ]

    @staticmethod
    def _modes(customers: Understanding) -> list[ServingMode]:
        return [customers.mode(row) for row in range(len(customers.known))]


def _also(allowed: BoolArray, item: int | None) -> BoolArray:
    """[N]: `allowed`, and the item."""
    if item is None:
        return allowed
    more = allowed.copy()
    more[item] = True
    return more
