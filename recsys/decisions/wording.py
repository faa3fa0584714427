"""The words of reasons: a stable code each, a template for every language, and what may be named in one.

A reason never says what nobody may infer: it points to a view as a whole, to a product that may be named, or to a kind
of spending on the list below. What is on no list is not named.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np

from recsys.decisions.catalogue import Catalogue
from recsys.features.transactions import WINDOWS, share_name
from recsys.policy.facts import BoolArray, primary
from recsys.privacy.merchants import is_sensitive

DEFAULT_LANGUAGE: Final = "en"


class ReasonCode(StrEnum):
    """Why an item is shown. Apps and logs rely on these: a meaning never changes."""

    PROFILE = "PROFILE"
    """Who he is, as a whole."""
    BEHAVIOUR = "BEHAVIOUR"
    """What he does in the bank's channels."""
    ACCOUNT = "ACCOUNT"
    """What goes in and out of his accounts."""
    SPENDING = "SPENDING"
    """One kind of spending."""
    HISTORY = "HISTORY"
    """What he looked at, as a whole."""
    HELD = "HELD"
    """A product that he has."""
    ALSO_CHOSEN = "ALSO_CHOSEN"
    """A product after which many customers chose this one."""
    HISTORY_SIMILAR = "HISTORY_SIMILAR"
    """A product of the same category that he looked at."""
    LOOKED_AT = "LOOKED_AT"
    """Another product that he looked at."""
    WORDING = "WORDING"
    """Creatives of the same tone that he answered to."""
    TEXT = "TEXT"
    """A need in what he wrote."""
    IMAGE = "IMAGE"
    """Pictures that he liked or sent."""
    POPULAR = "POPULAR"
    POPULAR_SEGMENT = "POPULAR_SEGMENT"
    EXPLORED = "EXPLORED"
    """It was drawn, to learn something (recsys.decisions.exploration)."""
    CAMPAIGN = "CAMPAIGN"
    """A campaign chose it for him."""
    CHOSEN = "CHOSEN"
    """Nothing of the above: it is what the bank offers to customers who may have it."""


TEMPLATES: Final[Mapping[str, Mapping[ReasonCode, str]]] = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                ReasonCode.PROFILE: "Fits customers like you",
                ReasonCode.BEHAVIOUR: "Fits what you do with us",
                ReasonCode.ACCOUNT: "Fits how you use your account",
                ReasonCode.SPENDING: "Because you spend on {name}",
                ReasonCode.HISTORY: "Because of what you looked at",
                ReasonCode.HELD: "Because you have {name}",
                ReasonCode.ALSO_CHOSEN: "Many who chose {name} chose this too",
                ReasonCode.HISTORY_SIMILAR: "Similar to what you used: {name}",
                ReasonCode.LOOKED_AT: "Because you looked at {name}",
                ReasonCode.WORDING: "In a tone that you liked",
                ReasonCode.TEXT: "Because of what you asked about",
                ReasonCode.IMAGE: "Because of pictures that you liked",
                ReasonCode.POPULAR: "Popular with our customers",
                ReasonCode.POPULAR_SEGMENT: "Popular with customers in your segment",
                ReasonCode.EXPLORED: "Something new for you to discover",
                ReasonCode.CAMPAIGN: "One of our current offers, picked for you",
                ReasonCode.CHOSEN: "From what we offer you",
            }
        ),
        "zh": MappingProxyType(
            {
                ReasonCode.PROFILE: "适合与您相似的客户",
                ReasonCode.BEHAVIOUR: "符合您的使用习惯",
                ReasonCode.ACCOUNT: "符合您的账户使用情况",
                ReasonCode.SPENDING: "因为您有{name}方面的消费",
                ReasonCode.HISTORY: "根据您最近浏览的内容",
                ReasonCode.HELD: "因为您已拥有{name}",
                ReasonCode.ALSO_CHOSEN: "许多选择{name}的客户也选择了它",
                ReasonCode.HISTORY_SIMILAR: "与您使用过的{name}相似",
                ReasonCode.LOOKED_AT: "因为您浏览过{name}",
                ReasonCode.WORDING: "采用您喜欢的表达方式",
                ReasonCode.TEXT: "与您咨询的内容相关",
                ReasonCode.IMAGE: "与您喜欢的图片相近",
                ReasonCode.POPULAR: "深受客户欢迎",
                ReasonCode.POPULAR_SEGMENT: "在您所属的客户群中很受欢迎",
                ReasonCode.EXPLORED: "为您推荐一些新的选择",
                ReasonCode.CAMPAIGN: "为您挑选的当前优惠活动",
                ReasonCode.CHOSEN: "我们为您提供的产品",
            }
        ),
    }
)
_SPENDING: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "airlines": {"en": "flights", "zh": "机票"},
        "hotels": {"en": "hotels", "zh": "酒店"},
        "luggage": {"en": "luggage", "zh": "箱包"},
        "diy": {"en": "home improvement", "zh": "家居装修"},
        "furniture": {"en": "furniture", "zh": "家具"},
        "fuel": {"en": "fuel", "zh": "加油"},
        "garages": {"en": "car repairs", "zh": "汽车维修"},
        "parking": {"en": "parking", "zh": "停车"},
        "public_transport": {"en": "public transport", "zh": "公共交通"},
        "books": {"en": "books", "zh": "图书"},
        "tuition": {"en": "courses", "zh": "课程学习"},
        "gardening": {"en": "gardening", "zh": "园艺"},
        "entertainment": {"en": "going out", "zh": "休闲娱乐"},
        "brokers": {"en": "investing", "zh": "投资"},
    }
)
"""The merchant categories that may be named, and how: what says nothing of health, belief, family or hardship."""
SPENDING_WORDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {share_name(category, max(WINDOWS)): words for category, words in _SPENDING.items()}
)
"""By column of `customer_transactions`."""
_HARDSHIP: Final = (
    "arrears", "bankrupt", "bereave", "debt", "disabilit", "divorce", "fraud", "funeral", "hardship", "insolven",
    "overdue", "restructur", "consolidat", "widow", "欠款", "逾期", "债务", "破产", "丧葬", "残疾", "离婚", "欺诈",
)  # fmt: skip
"""Parts of a product's name that say what befell who has it."""


def served_language(locale: str | None, customer_language: str | None) -> str:
    """The language of the reasons: the one that was asked for, else the customer's, else English."""
    for tag in (locale, customer_language):
        if primary(tag) in TEMPLATES:
            return primary(tag)
    return DEFAULT_LANGUAGE


def nameable(catalogue: Catalogue, credit: BoolArray) -> BoolArray:
    """[P]: the products that a reason may name to a customer who has them or looked at them.

    No credit, whose name may tell of debts to whoever looks over his shoulder, and nothing that tells of what is
    sensitive or of hardship.

    Args:
        catalogue: the P products.
        credit: [P].
    """
    words = zip(catalogue.product_titles, catalogue.products.category.tolist(), strict=True)
    return np.array([not _tells(f"{title} {category}") for title, category in words], dtype=bool) & ~credit


def _tells(words: str) -> bool:
    return is_sensitive(words) or any(part in words.lower() for part in _HARDSHIP)
