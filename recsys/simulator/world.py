"""The hidden world: the words and numbers that customers, products, pictures and responses are drawn from.

None of this is written into the tables that a model may read. Matrices are small, hand-set and readable on purpose:
whoever doubts a simulated effect finds its cause here.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEEDS: Final = (
    "saving",
    "certainty",
    "everyday",
    "travel",
    "home",
    "car",
    "family",
    "education",
    "investing",
    "retirement",
    "wealth",
    "liquidity",
)
STAGES: Final = ("student", "starter", "couple", "young_family", "family", "midlife", "empty_nester", "retired")
STAGE_SHARES: Final = (0.12, 0.17, 0.12, 0.14, 0.15, 0.12, 0.09, 0.09)
SEGMENTS: Final = ("youth", "mass", "affluent", "private")
ARMS: Final = ("treatment", "explore", "control")
TONES: Final = ("warm", "factual", "urgent", "aspirational", "playful", "reassuring")
ANGLES: Final = ("price", "ease", "safety", "status")
"""What a product or its copy promises, and what a customer values: the wording effect that no column names."""
PALETTES: Final = ("sunrise", "ocean", "forest", "berry", "mono", "pastel", "night", "earth")
STYLES: Final = ("flat", "gradient", "outline", "dotted", "paper")
LAYOUTS: Final = ("centred", "badge", "horizon", "split")
SCENES: Final = (
    "house",
    "key",
    "sofa",
    "car",
    "piggy",
    "coins",
    "plant",
    "cap",
    "beach",
    "suitcase",
    "plane",
    "globe",
    "family",
    "chart",
    "city",
    "card",
    "wallet",
    "umbrella",
    "shield",
    "mountain",
    "bench",
)
INVESTMENT_FAMILIES: Final = ("fund", "pension", "wealth")


class Channel(NamedTuple):
    """A channel, where in it offers are shown, and how often.

    Attributes:
        name: the channel of contract and consent.
        placement: the screen or letter that holds the slots.
        slots: items shown per request.
        rate: requests per day of an average customer.
        hours: first and last local hour.
        examined: probability that a slot is looked at, by position (the position bias).
    """

    name: str
    placement: str
    slots: int
    rate: float
    hours: tuple[int, int]
    examined: tuple[float, ...]


CHANNELS: Final = (
    Channel("app", "home", 3, 0.125, (7, 23), (1.0, 0.72, 0.5)),
    Channel("web", "landing", 2, 0.040, (8, 23), (1.0, 0.65)),
    Channel("email", "newsletter", 2, 0.040, (8, 20), (0.62, 0.38)),
    Channel("branch", "adviser", 1, 0.006, (9, 17), (1.0,)),
)
CHANNEL_NAMES: Final = tuple(channel.name for channel in CHANNELS)

_STAGE_NEEDS: Final[dict[str, dict[str, float]]] = {
    "student": {"education": 0.55, "everyday": 0.32, "travel": 0.28, "saving": 0.22, "liquidity": 0.15, "car": 0.08},
    "starter": {"saving": 0.36, "everyday": 0.34, "travel": 0.32, "car": 0.24, "investing": 0.22, "liquidity": 0.2},
    "couple": {"home": 0.48, "travel": 0.32, "saving": 0.24, "investing": 0.18, "car": 0.22, "family": 0.12},
    "young_family": {"family": 0.58, "home": 0.36, "car": 0.26, "saving": 0.24, "liquidity": 0.18, "education": 0.1},
    "family": {"family": 0.34, "education": 0.3, "investing": 0.24, "home": 0.2, "car": 0.22, "retirement": 0.18},
    "midlife": {"investing": 0.34, "retirement": 0.32, "liquidity": 0.24, "travel": 0.22, "certainty": 0.2},
    "empty_nester": {"retirement": 0.48, "certainty": 0.3, "travel": 0.3, "wealth": 0.26, "investing": 0.22},
    "retired": {"certainty": 0.52, "retirement": 0.3, "wealth": 0.22, "travel": 0.22, "saving": 0.2, "family": 0.14},
}
_LIFE_EVENTS: Final[dict[str, tuple[tuple[str, ...], dict[str, float]]]] = {
    "moves": (("home", "liquidity"), {"starter": 1, "couple": 3, "young_family": 2, "family": 1}),
    "child": (("family", "saving"), {"couple": 3, "young_family": 3, "family": 1}),
    "new_job": (("everyday", "investing"), {"student": 2, "starter": 3, "midlife": 1}),
    "studies": (("education", "everyday"), {"student": 3, "family": 2, "starter": 1}),
    "car_breaks": (("car", "liquidity"), {"starter": 2, "couple": 1, "young_family": 2, "family": 2, "midlife": 1}),
    "inheritance": (("wealth", "certainty"), {"midlife": 2, "empty_nester": 2, "family": 1, "retired": 1}),
    "long_trip": (("travel", "everyday"), {"student": 2, "starter": 1, "empty_nester": 3, "retired": 1}),
    "stops_work": (("retirement", "certainty"), {"empty_nester": 3, "midlife": 1, "retired": 2}),
    "squeezed": (("liquidity", "saving"), {"student": 1, "starter": 1, "young_family": 1, "midlife": 2}),
}
_SHOWN: Final[dict[str, tuple[float, float, float]]] = {
    # need: how readily it shows in texts, in transactions, in pictures sent; the rows sum to 1
    "saving": (0.50, 0.10, 0.40),
    "certainty": (0.65, 0.05, 0.30),
    "everyday": (0.10, 0.65, 0.25),
    "travel": (0.10, 0.40, 0.50),
    "home": (0.40, 0.05, 0.55),
    "car": (0.15, 0.35, 0.50),
    "family": (0.15, 0.40, 0.45),
    "education": (0.40, 0.20, 0.40),
    "investing": (0.55, 0.10, 0.35),
    "retirement": (0.50, 0.05, 0.45),
    "wealth": (0.25, 0.40, 0.35),
    "liquidity": (0.45, 0.45, 0.10),
}
_NEED_SCENES: Final[dict[str, tuple[str, ...]]] = {
    "saving": ("piggy", "coins"),
    "certainty": ("shield", "coins"),
    "everyday": ("card", "wallet"),
    "travel": ("beach", "plane", "suitcase"),
    "home": ("house", "key", "sofa"),
    "car": ("car",),
    "family": ("family", "umbrella"),
    "education": ("cap",),
    "investing": ("chart", "globe"),
    "retirement": ("bench", "plant"),
    "wealth": ("city", "mountain"),
    "liquidity": ("wallet", "umbrella"),
}
_NEED_MERCHANTS: Final[dict[str, dict[str, float]]] = {
    "saving": {"savings_transfer": 1.0},
    "certainty": {"savings_transfer": 0.7, "books": 0.3},
    "everyday": {"groceries": 0.3, "restaurants": 0.5, "online_shopping": 0.9, "entertainment": 0.4},
    "travel": {"airlines": 0.8, "hotels": 0.9, "luggage": 0.3, "restaurants": 0.2},
    "home": {"diy": 0.9, "furniture": 0.9, "estate_agents": 0.4},
    "car": {"fuel": 0.9, "garages": 0.9, "car_dealers": 0.3, "parking": 0.5},
    "family": {"childcare": 1.0, "toys": 0.9, "baby_goods": 0.8},
    "education": {"books": 0.6, "tuition": 0.9, "public_transport": 0.4},
    "investing": {"brokers": 0.7, "newspapers": 0.5},
    "retirement": {"gardening": 0.7, "newspapers": 0.3},
    "wealth": {"jewellery": 0.5, "fine_dining": 0.9, "golf": 0.5, "art": 0.3},
    "liquidity": {"cash_machine": 1.0, "instalments": 1.1, "pawn_shops": 0.3},
}
EVERYDAY_MERCHANTS: Final[dict[str, tuple[float, float]]] = {
    # category: share of an average basket, typical amount
    "groceries": (0.24, 38.0),
    "restaurants": (0.10, 24.0),
    "public_transport": (0.07, 12.0),
    "online_shopping": (0.09, 42.0),
    "utilities": (0.05, 85.0),
    "telecom": (0.04, 32.0),
    "clothing": (0.05, 55.0),
    "entertainment": (0.05, 18.0),
    "fuel": (0.05, 52.0),
    "cash_machine": (0.05, 80.0),
    "newspapers": (0.02, 11.0),
    "books": (0.02, 19.0),
    "gardening": (0.02, 30.0),
    "sports": (0.03, 35.0),
    "parking": (0.02, 7.0),
    "airlines": (0.008, 240.0),
    "hotels": (0.01, 180.0),
    "diy": (0.015, 60.0),
    "furniture": (0.008, 260.0),
    "garages": (0.008, 210.0),
    "toys": (0.01, 28.0),
    "health": (0.03, 34.0),
    "religion": (0.006, 25.0),
    "gambling": (0.008, 40.0),
}
_RARE_AMOUNTS: Final[dict[str, float]] = {
    "savings_transfer": 150.0,
    "luggage": 90.0,
    "estate_agents": 350.0,
    "car_dealers": 900.0,
    "childcare": 320.0,
    "baby_goods": 45.0,
    "tuition": 420.0,
    "brokers": 250.0,
    "jewellery": 480.0,
    "fine_dining": 130.0,
    "golf": 95.0,
    "art": 600.0,
    "instalments": 110.0,
    "pawn_shops": 120.0,
}
MERCHANTS: Final = (*EVERYDAY_MERCHANTS, *_RARE_AMOUNTS)
SALARY: Final = "salary"


def _matrix(rows: dict[str, dict[str, float]], row_names: tuple[str, ...], column_names: tuple[str, ...]) -> Floats:
    matrix = np.zeros((len(row_names), len(column_names)), np.float32)
    for row, values in rows.items():
        for column, value in values.items():
            matrix[row_names.index(row), column_names.index(column)] = value
    return matrix


def stage_needs() -> Floats:
    """Probability that a need is alive in a life stage, [stage, need]."""
    return _matrix(_STAGE_NEEDS, STAGES, NEEDS)


def life_event_weights() -> tuple[Floats, Ints]:
    """How likely each life event is in each stage, [stage, event]; and the two needs that each wakes, [event, 2]."""
    names = tuple(_LIFE_EVENTS)
    weights = _matrix({name: stages for name, (_, stages) in _LIFE_EVENTS.items()}, names, STAGES).T
    needs = np.array([[NEEDS.index(need) for need in needs] for needs, _ in _LIFE_EVENTS.values()])
    return weights / weights.sum(axis=1, keepdims=True), needs


def shown_rates() -> Floats:
    """How readily a need shows in texts, transactions and sent pictures, [need, 3], summing to 1."""
    return np.array([_SHOWN[need] for need in NEEDS], np.float32)


def need_scenes() -> Floats:
    """Which scenes picture which need, [need, scene]."""
    return _matrix({need: dict.fromkeys(scenes, 1.0) for need, scenes in _NEED_SCENES.items()}, NEEDS, SCENES)


def need_merchants() -> Floats:
    """How a need shows in the basket, [need, merchant category]."""
    return _matrix(_NEED_MERCHANTS, NEEDS, MERCHANTS)


def everyday_basket() -> Floats:
    """Share of each merchant category in an average basket, [merchant category]."""
    shares = [EVERYDAY_MERCHANTS[name][0] if name in EVERYDAY_MERCHANTS else 0.0 for name in MERCHANTS]
    return np.array(shares, np.float32) / np.float32(sum(shares))


def merchant_amounts() -> Floats:
    """Typical amount spent in each merchant category, [merchant category], in the base currency."""
    amounts = [EVERYDAY_MERCHANTS[n][1] if n in EVERYDAY_MERCHANTS else _RARE_AMOUNTS[n] for n in MERCHANTS]
    return np.array(amounts, np.float32)
