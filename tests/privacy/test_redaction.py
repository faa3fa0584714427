import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn

from recsys.errors import ConfigError
from recsys.privacy.redaction import BankPattern, RedactionConfig, Redactor
from recsys.simulator import SimulatorConfig, simulate

REDACTOR = Redactor(RedactionConfig())

PERSONAL = [
    ("My card number is 4000 0012 3456 7899, why was it declined?", "My card number is [CARD], why was it declined?"),
    ("card 4111111111111111", "card [CARD]"),
    ("amex 3782-822463-10005 refused", "amex [CARD] refused"),
    ("１２３４ ５６７８ ９０１２ ３４５６ declined", "[CARD] declined"),
    ("4000\u200b0012\u200b3456\u200b7899", "[CARD]"),
    ("pay to DE89 3704 0044 0532 0130 00 is that right", "pay to [IBAN] is that right"),
    ("pay to gb29nwbk60161331926819 today", "pay to [IBAN] today"),
    ("IBAN ZZ12 0000 1234 5678 90, right?", "IBAN [IBAN], right?"),
    ("You can reach me on +44 7700 900123 after six", "You can reach me on [PHONE] after six"),
    ("call me (202) 555-0123 please", "call me [PHONE] please"),
    ("my mobile is 087 123 4567", "my mobile is [PHONE]"),
    ("请打 13912345678", "请打 [PHONE]"),
    ("write to ada.byron+bank@example.co.uk.", "write to [EMAIL]."),
    ("see https://bank.example/x?id=77 for it", "see [URL] for it"),
    ("my ssn is 123-45-6789", "my ssn is [ID]"),
    ("national insurance QQ 12 34 56 C here", "national insurance [ID] here"),
    ("身份证号11010118500102123X", "身份证号[ID]"),
    ("codice fiscale RSSMRA85T10A562S", "codice fiscale [ID]"),
    ("DNI 12345678Z", "DNI [ID]"),
    ("Steuer-ID 36 574 261 809", "Steuer-ID [ID]"),
    ("passport number C01X00T47 expired", "passport number [ID] expired"),
    ("nir 2 55 08 14 168 025 38", "nir [ID]"),
    ("my pin is 1234", "my pin is [ID]"),
    ("Hello, my name is Ada Byron and I want a loan", "Hello, my name is [NAME] and I want a loan"),
    ("my name is john smith please", "my name is [NAME] please"),
    ("Mrs O'Neill wants to open an ISA", "Mrs [NAME] wants to open an ISA"),
    ("It was Oliver Byron who asked", "It was [NAME] who asked"),
    ("我叫张伟我想贷款", "我叫[NAME]我想贷款"),
    ("王先生来电", "[NAME]先生来电"),
    ("I live at 12 Baker Street, London NW1 6XE and rent", "I live at [ADDRESS] and rent"),
    ("Hauptstraße 12, 10115 Berlin", "[ADDRESS]"),
    ("北京市朝阳区建国路88号", "[ADDRESS]"),
    ("account number 12345678", "account number [ACCOUNT]"),
    ("it is 90210777 I think", "it is [ACCOUNT] I think"),
]
STAYS = [
    "a mortgage of 250,000 EUR at 4.35 % for 24 or 36 months",
    "can I borrow 5000 10000 or 20000 euros",
    "transfer 20000000 now, or 1 000 000 yuan",
    "put 25000 into my savings account 25000 euro",
    "from 2026-01-01 to 2026-03-31 I spent 1.250,50 EUR, 31/12/2025 too",
    "since 20260131, exchange rate 1.0834 EUR/USD at 14:30",
    "is there an 18-month Balance Transfer Card with 0 % for 18 months",
    "I ordered 2 cards 3 weeks ago, funds R2 or R3, I am C1",
    "my name is on the account wrong, and my name is misspelled",
    "I am Portuguese, can I open one? Miss you, I missed a payment. Cheers",
    "I will mark May as the month when I grant it grace, rich or not",
    "活期存款利率是多少？三年期五十万元，我知道路很长",
    "50 street markets, 24 hour service, one way ticket",
]


@pytest.mark.parametrize(("text", "expected"), PERSONAL)
def test_redact_personal_value_becomes_its_placeholder(text: str, expected: str) -> None:
    assert REDACTOR.redact(pl.Series([text])).to_list() == [expected]


@pytest.mark.parametrize("text", STAYS)
def test_redact_amounts_rates_dates_and_products_stay(text: str) -> None:
    assert REDACTOR.redact(pl.Series([text])).to_list() == [text]


def test_redact_phone_of_the_country_of_the_customer() -> None:
    texts, countries = pl.Series(["am 0151 23456789 abends"] * 2), pl.Series(["DE", None])
    redacted = REDACTOR.redact(texts, countries).to_list()
    assert redacted[0] == "am [PHONE] abends"
    assert "23456789" not in redacted[1]


def test_redact_column_keeps_order_nulls_and_names() -> None:
    texts = pl.Series("said", ["a", None, "card 4111111111111111", "", "card 4111111111111111"])
    redacted = REDACTOR.redact(texts)
    assert redacted.name == "said"
    assert redacted.to_list() == ["a", None, "card [CARD]", "", "card [CARD]"]
    assert REDACTOR.redact(pl.Series([], dtype=pl.String)).to_list() == []
    assert REDACTOR.redact(pl.Series([None, None])).to_list() == [None, None]


def test_redact_bank_patterns_and_listed_names_are_the_banks_own() -> None:
    config = RedactionConfig(
        patterns=(BankPattern(name="loan_file", regex=r"\bLN-\d{4}\b"),), names=("Zyrxa Quell", "张三丰")
    )
    redacted = Redactor(config).redact(pl.Series(["file LN-1234 of Zyrxa Quell", "zyrxa", "给张三丰转账"]))
    assert redacted.to_list() == ["file [LOAN_FILE] of [NAME]", "zyrxa", "给[NAME]转账"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patterns": [{"name": "a", "regex": "("}]}, "patterns.0.regex"),
        ({"patterns": [{"name": "a", "regex": "(?=x)y"}]}, "without lookaround"),
        ({"patterns": [{"name": "a", "regex": "x*"}]}, "empty text"),
        ({"patterns": [{"name": "A B", "regex": "x"}]}, "patterns.0.name"),
        ({"patterns": [{"name": "a", "regex": "x"}, {"name": "a", "regex": "y"}]}, "twice"),
        ({"regions": ["Narnia"]}, "Narnia"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_redaction_config_that_cannot_work_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RedactionConfig.parse(values, "redaction.yaml")


_PIECES = [text for text, _ in PERSONAL] + STAYS + ["", " ", "?", "\n", "号", "@", "7", "+", "-", "Mr ", "DE"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3).map(" ".join), min_size=1, max_size=5))
def test_redact_column_equals_each_text_alone_and_twice_equals_once(texts: list[str]) -> None:
    """The cheap flag hides nothing from the detectors, and a placeholder is nothing to redact."""
    once = REDACTOR.redact(pl.Series(texts))
    assert once.to_list() == [REDACTOR.redact_text(text.replace("\u200b", "")) for text in texts]
    assert REDACTOR.redact(once).to_list() == once.to_list()


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["", " ", "-"]))
def test_redact_every_valid_card_goes(rng: random.Random, gap: str) -> None:
    digits = str(rng.randrange(2, 7)) + "".join(str(rng.randrange(10)) for _ in range(14))
    digits += luhn.calc_check_digit(digits)
    card = gap.join(digits[start : start + 4] for start in range(0, 16, 4))
    assert REDACTOR.redact_text(f"it is {card}, thanks") == "it is [CARD], thanks"


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_redact_accepts_any_text(text: str) -> None:
    REDACTOR.redact(pl.Series([text]))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_redact_simulated_messages_lose_their_canaries_and_nothing_else(language: str, tmp_path: Path) -> None:
    config = SimulatorConfig(
        customers=800,
        products=10,
        days=40,
        language=language,
        canary_share=0.2,
        sent_pictures=12,
        creatives_per_product=(1, 1),
    )
    simulate(config, tmp_path / "bank")
    messages = pl.read_parquet(tmp_path / "bank" / "messages.parquet").drop_nulls("text")
    customers = pl.read_parquet(tmp_path / "bank" / "customers.parquet").unique("customer_id", keep="last")
    canaries = pl.read_parquet(tmp_path / "bank" / "truth" / "canaries.parquet")
    rows = messages.join(customers.select("customer_id", "country"), on="customer_id", how="left").join(
        canaries.select("message_id", "kind", "value"), on="message_id", how="left"
    )
    redacted = REDACTOR.redact(rows["text"], rows["country"])
    expected = [
        row["text"] if row["kind"] is None else row["text"].replace(row["value"], f"[{row['kind'].upper()}]")
        for row in rows.to_dicts()
    ]
    assert set(canaries["kind"]) == {"card", "iban", "phone", "email", "id", "name"}
    assert redacted.to_list() == expected
