"""A small catalogue in two languages, one product a category, and copy composed for it."""

from datetime import date

import polars as pl

from recsys.campaigns.content.channels import DEFAULT_CHANNELS
from recsys.campaigns.content.composer import ComposerConfig, compose_variants
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.tones import TONE_SCHEMA
from recsys.campaigns.content.variant import Variant

_ROWS = [
    ("Easy Access Saver", "灵活存", {"category": "savings", "rate": 2.15, "min_amount": 10.0}),
    ("Green Deposit", "绿色存款", {"category": "term_deposit", "rate": 3.5, "min_amount": 1000.0, "term_months": 12}),
    ("Voyager Card", "行者信用卡", {"category": "card", "rate": 17.9, "fee": 45.0, "is_credit": True}),
    ("Car Loan", "汽车贷款", {"category": "personal_loan", "rate": 5.9, "min_amount": 3000.0, "term_months": 60}),
    ("Fixed Rate Mortgage", "固定利率房贷", {"category": "mortgage", "rate": 3.71, "term_months": 300}),
    ("World Equity Fund", "全球股票基金", {"category": "fund", "fee": 0.45, "min_amount": 50.0, "risk": "R4"}),
    ("Travel Insurance", "旅行保险", {"category": "insurance", "fee": 89.5, "valid_until": date(2027, 3, 31)}),
    ("Personal Pension", "个人养老金", {"category": "pension", "fee": 0.62, "risk": "R3"}),
    ("Travel Money", "外币兑换", {"category": "fx", "fee": 5.0, "min_amount": 50.0}),
    ("Smart Portfolio", "智选组合", {"category": "wealth", "fee": 0.75, "min_amount": 500.0, "risk": "R3"}),
]


def products(language: str) -> list[ProductFacts]:
    currency = "CNY" if language == "zh" else "EUR"
    return [
        ProductFacts(product_id=f"p{n}", name=chinese if language == "zh" else english, currency=currency, **facts)
        for n, (english, chinese, facts) in enumerate(_ROWS)
    ]


def variants(language: str, channels: tuple[str, ...] = tuple(DEFAULT_CHANNELS)) -> list[Variant]:
    config = ComposerConfig(segments=("youth", "private"), channels=channels, languages=(language,), variants=5)
    return compose_variants(products(language), config, pl.DataFrame(schema=TONE_SCHEMA)).variants
