"""Why an item is shown: one to three reasons, each tied to evidence that the score really depends on.

A reason is given for a part of the customer's row only if leaving that part out lowers the item's score, and by more
than the part's size leads to expect; the strongest come first. How well this holds is measured: `recsys faithfulness`.
"""

from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys.config import BaseConfig
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.evidence import HISTORY, Evidence
from recsys.decisions.scoring import ScoreArray, Scorer
from recsys.decisions.wording import SPENDING_WORDS, TEMPLATES, ReasonCode
from recsys.features.history import CONTENT_IDS, PRODUCT_IDS
from recsys.features.spec import ViewName
from recsys.policy.facts import BoolArray
from recsys.schema import Kind, ServingMode

_OF_VIEW: Final = MappingProxyType(
    {
        ViewName.CUSTOMER_PROFILE: ReasonCode.PROFILE,
        ViewName.CUSTOMER_BEHAVIOUR: ReasonCode.BEHAVIOUR,
        ViewName.CUSTOMER_TRANSACTIONS: ReasonCode.ACCOUNT,
        ViewName.CUSTOMER_HISTORY: ReasonCode.HISTORY,
        ViewName.CUSTOMER_TEXT: ReasonCode.TEXT,
        ViewName.CUSTOMER_IMAGES: ReasonCode.IMAGE,
    }
)
_POPULAR_SHARE: Final = 0.25
"""An item of the most popular quarter may be called popular."""


class ExplanationConfig(BaseConfig):
    """How much is explained."""

    max_reasons: int = Field(default=3, ge=1, le=3)
    """Per item."""
    least_share: float = Field(default=0.2, ge=0, le=1)
    """A further reason must matter at least this much relative to the first."""
    specific_share: float = Field(default=0.4, ge=0, le=1)
    """A part of a view is named in the view's place if it alone matters this much relative to the whole view."""


class Reason(NamedTuple):
    """One reason."""

    code: str
    """Stable (`ReasonCode`)."""
    text: str
    """In the language that was served."""
    evidence: Evidence | None = None
    """What of the customer's row it points to; None: nothing of it."""


class Subject(NamedTuple):
    """The customer whom reasons are given to."""

    language: str
    evidence: tuple[Evidence, ...] = ()
    """The E parts of his row that were looked at."""
    shares: tuple[float, ...] = ()
    """[E]: the share of his row that each part is."""
    held: frozenset[int] = frozenset()
    """Positions of the products that he has."""


class Explainer:
    """Puts reasons to the items of an answer.

    Args:
        catalogue: what can be shown.
        scorer: what ranks it: says what is popular and what is chosen together.
        config: how much to say.
    """

    def __init__(self, catalogue: Catalogue, scorer: Scorer, config: ExplanationConfig) -> None:
        self._catalogue = catalogue
        self._scorer = scorer
        self._config = config
        self._popular = {kind: _most_popular(scorer.popularity(None, kind)) for kind in Kind}

    def popular(self, mode: ServingMode, segment: str | None, language: str) -> list[Reason]:
        """Of an item that is shown for its popularity."""
        of_segment = segment and mode is ServingMode.POPULAR
        return [_general(ReasonCode.POPULAR_SEGMENT if of_segment else ReasonCode.POPULAR, language)]

    def explored(self, language: str) -> list[Reason]:
        """Of an item that a draw put in the place of a better one."""
        return [_general(ReasonCode.EXPLORED, language)]

    def campaign(self, reasons: list[Reason], language: str) -> list[Reason]:
        """Of an item that a campaign put first: that first, then why it suits him."""
        rest = [reason for reason in reasons if reason.evidence is not None]
        return [_general(ReasonCode.CAMPAIGN, language), *rest][: self._config.max_reasons]

    def personal(self, subject: Subject, kind: Kind, item: int, falls: ScoreArray) -> list[Reason]:
        """Of an item that the model ranked for its own sake.

        Args:
            subject: the customer.
            kind: what the item is.
            item: its position.
            falls: [E]: how much its score falls without each part of his row.
        """
        telling = self._telling(subject, kind, item, falls)
        ranked = sorted(telling, key=lambda evidence: -telling[evidence])
        least = self._config.least_share * telling[ranked[0]] if ranked else 0.0
        kept = [evidence for evidence in ranked if telling[evidence] >= least][: self._config.max_reasons]
        if kept:
            return [self._reason(evidence, subject, kind, item) for evidence in kept]
        popular = self._popular[kind][item]
        return [_general(ReasonCode.POPULAR if popular else ReasonCode.CHOSEN, subject.language)]

    def _telling(self, subject: Subject, kind: Kind, item: int, falls: ScoreArray) -> dict[Evidence, float]:
        """At most one part of each view, with what the score loses without it: the view, or what in it tells most."""
        own = self._catalogue.products.ids[int(self._catalogue.product_of(kind)[item])]
        tone = self._catalogue.content_tones[item] if kind is Kind.CONTENTS and self._catalogue.content_tones else ""
        whole: dict[str, float] = {}
        parts: dict[str, tuple[float, Evidence]] = {}
        views = [not evidence.feature for evidence in subject.evidence]
        total = float(np.maximum(falls[views], 0).sum())
        for evidence, share, fall in zip(subject.evidence, subject.shares, falls.tolist(), strict=True):
            if fall <= 0 or (share < 1 and fall <= share * total):
                continue  # as much of the row drawn at random would do the same
            if not evidence.feature:
                whole[evidence.view] = fall
            elif evidence.feature == PRODUCT_IDS and evidence.value == own:
                continue  # that he looked at the item itself is what the whole view says
            elif evidence.feature == CONTENT_IDS and evidence.value != tone:
                continue
            elif fall > parts.get(evidence.view, (0.0,))[0]:
                parts[evidence.view] = fall, evidence
        telling = {Evidence(view): fall for view, fall in whole.items()}
        for view, (fall, evidence) in parts.items():
            if fall >= self._config.specific_share * whole.get(view, 0.0):
                telling.pop(Evidence(view), None)
                telling[evidence] = fall
        return telling

    def _reason(self, evidence: Evidence, subject: Subject, kind: Kind, item: int) -> Reason:
        code, name = _OF_VIEW[ViewName(evidence.view)], ""
        if evidence.feature in SPENDING_WORDS:
            code, name = ReasonCode.SPENDING, SPENDING_WORDS[evidence.feature][subject.language]
        elif evidence.feature == CONTENT_IDS:
            code = ReasonCode.WORDING
        elif evidence.view == HISTORY and evidence.value:
            product = self._catalogue.products.index[evidence.value]
            code, name = self._relation(subject, kind, item, product), self._catalogue.product_titles[product]
        return Reason(code, TEMPLATES[subject.language][code].format(name=name), evidence)

    def _relation(self, subject: Subject, kind: Kind, item: int, product: int) -> ReasonCode:
        """What the product has to do with the item, as it can truly be said."""
        own = int(self._catalogue.product_of(kind)[item])
        category = self._catalogue.products.category
        if product in subject.held:
            return ReasonCode.HELD
        if self._scorer.companions(product)[own]:
            return ReasonCode.ALSO_CHOSEN
        if category[product] and category[product] == category[own]:
            return ReasonCode.HISTORY_SIMILAR
        return ReasonCode.LOOKED_AT


def falls_of(whole: ScoreArray, without: ScoreArray) -> NDArray[np.float64]:
    """How much items' scores fall without each part of the row.

    Args:
        whole: [K]: of the whole customer.
        without: [E, K]: of the customer without each of E parts of his row.

    Returns:
        [K, E].
    """
    return np.asarray(whole[:, None].astype(np.float64) - without.T)


def _general(code: ReasonCode, language: str) -> Reason:
    return Reason(code, TEMPLATES[language][code])


def _most_popular(popularity: ScoreArray) -> BoolArray:
    """[N]: of the most popular quarter, and more popular than the least popular."""
    if not len(popularity):
        return np.zeros(0, dtype=bool)
    border = np.quantile(popularity, 1 - _POPULAR_SHARE)
    return np.asarray((popularity >= border) & (popularity > popularity.min()))
