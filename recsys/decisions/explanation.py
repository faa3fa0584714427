"""Why an item is shown: one to three reasons, each tied to evidence that the score really depends on.

A reason is given for a modality only if leaving that modality out lowers the item's score; the strongest come first.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.scoring import Features, ScoreArray
from recsys.features.spec import ViewName, feature_name
from recsys.policy.facts import primary
from recsys.schema import CONTENT_ID, PRODUCT_ID, Kind, Modality, ServingMode

DEFAULT_LANGUAGE: Final = "en"
VIEWS: Final = MappingProxyType(
    {
        Modality.PROFILE: (ViewName.CUSTOMER_PROFILE,),
        Modality.BEHAVIOUR: (ViewName.CUSTOMER_BEHAVIOUR, ViewName.CUSTOMER_TRANSACTIONS),
        Modality.HISTORY: (ViewName.CUSTOMER_HISTORY,),
        Modality.TEXT: (ViewName.CUSTOMER_TEXT,),
        Modality.IMAGE: (ViewName.CUSTOMER_IMAGES,),
    }
)
"""The feature views that each modality is made of."""
SIMILAR: Final = "HISTORY_SIMILAR"
POPULAR: Final = "POPULAR"
POPULAR_SEGMENT: Final = "POPULAR_SEGMENT"
CHOSEN: Final = "CHOSEN"
TEMPLATES: Final = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                Modality.PROFILE: "Fits customers like you",
                Modality.BEHAVIOUR: "Fits what you do with us",
                Modality.HISTORY: "Because of what you looked at",
                Modality.TEXT: "Because of what you asked about",
                Modality.IMAGE: "Because of pictures that you liked",
                SIMILAR: "Similar to what you used: {title}",
                POPULAR: "Popular with our customers",
                POPULAR_SEGMENT: "Popular with customers in your segment",
                CHOSEN: "Chosen for you",
            }
        ),
        "zh": MappingProxyType(
            {
                Modality.PROFILE: "适合与您相似的客户",
                Modality.BEHAVIOUR: "符合您的使用习惯",
                Modality.HISTORY: "根据您最近浏览的内容",
                Modality.TEXT: "与您咨询的内容相关",
                Modality.IMAGE: "与您喜欢的图片相近",
                SIMILAR: "与您使用过的{title}相似",
                POPULAR: "深受客户欢迎",
                POPULAR_SEGMENT: "在您所属的客户群中很受欢迎",
                CHOSEN: "为您精选",
            }
        ),
    }
)


class ExplanationConfig(BaseConfig):
    """How much is explained."""

    max_reasons: int = Field(default=2, ge=1, le=3)
    """Per item."""


class Reason(NamedTuple):
    """One reason: a stable code, and its words in the language that was served."""

    code: str
    text: str


def without_each(features: Features, present: Sequence[Modality]) -> list[Features]:
    """The customer once without each of his modalities: what the score would be had he not shown it."""
    return [_without(features, modality) for modality in present]


def served_language(locale: str | None, customer_language: str | None) -> str:
    """The language of the reasons: the one that was asked for, else the customer's, else English."""
    for tag in (locale, customer_language):
        if primary(tag) in TEMPLATES:
            return primary(tag)
    return DEFAULT_LANGUAGE


class Explainer:
    """Puts reasons to the items of one answer."""

    def __init__(self, catalogue: Catalogue, config: ExplanationConfig) -> None:
        self._catalogue = catalogue
        self._config = config

    def popular(self, mode: ServingMode, segment: str | None, language: str) -> list[Reason]:
        """Of an item that is shown for its popularity."""
        code = POPULAR_SEGMENT if segment and mode is ServingMode.POPULAR else POPULAR
        return [Reason(code, TEMPLATES[language][code])]

    def personal(
        self, touched: Sequence[int], kind: Kind, item: int, losses: dict[Modality, float], language: str
    ) -> list[Reason]:
        """Of an item that the model ranked.

        Args:
            touched: the products of the customer's history (`touched`).
            kind: what the item is.
            item: its position.
            losses: how much the item's score falls without each modality.
            language: of the words.
        """
        telling = sorted((m for m in losses if losses[m] > 0), key=lambda modality: -losses[modality])
        reasons = [self._reason(modality, touched, kind, item, language) for modality in telling]
        return reasons[: self._config.max_reasons] or [Reason(CHOSEN, TEMPLATES[language][CHOSEN])]

    def _reason(self, modality: Modality, touched: Sequence[int], kind: Kind, item: int, language: str) -> Reason:
        words = TEMPLATES[language]
        title = self._similar_title(touched, kind, item) if modality is Modality.HISTORY else None
        if title:
            return Reason(SIMILAR, words[SIMILAR].format(title=title))
        return Reason(modality.upper(), words[modality])

    def _similar_title(self, touched: Sequence[int], kind: Kind, item: int) -> str | None:
        """The product of the same category that the customer touched last, other than the item's own."""
        products = self._catalogue.products
        own = int(self._catalogue.product_of(kind)[item])
        category = products.category[own]
        for other in reversed(touched):
            if other != own and category and products.category[other] == category:
                return self._catalogue.product_titles[other]
        return None

    def touched(self, features: Features) -> list[int]:
        """The positions of the products in a customer's history, oldest first."""
        history = ViewName.CUSTOMER_HISTORY
        products = features.get(feature_name(history, f"{PRODUCT_ID}s"))
        contents = features.get(feature_name(history, f"{CONTENT_ID}s"))
        products = [] if products is None else list(products)
        contents = [""] * len(products) if contents is None else list(contents)
        positions = (self._product(*pair) for pair in zip(products, contents, strict=False))
        return [position for position in positions if position is not None]

    def _product(self, product_id: str, content_id: str) -> int | None:
        if product_id:
            return self._catalogue.products.index.get(product_id)
        content = self._catalogue.content_index(content_id)
        return None if content is None else int(self._catalogue.product_of(Kind.CONTENTS)[content])


def losses(scores: ScoreArray, item: int, present: Sequence[Modality]) -> dict[Modality, float]:
    """How much an item's score falls without each modality.

    Args:
        scores: [1 + M, N]: of the whole customer, then of the customer without each of the M present modalities.
        item: the position of the item.
        present: the M modalities.
    """
    falls = np.asarray(scores[0, item] - scores[1:, item], dtype=np.float64)
    return dict(zip(present, falls.tolist(), strict=True))


def _without(features: Features, modality: Modality) -> Features:
    prefixes = tuple(feature_name(view, "") for view in VIEWS[modality])
    return {key: value for key, value in features.items() if not key.startswith(prefixes)}
