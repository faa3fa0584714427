"""Canaries: invented cards, IBANs, telephone numbers, addresses, identity numbers and names in a few messages.

Whatever becomes of the messages, none of these may ever come out again; `truth/canaries.parquet` lists them, so that a
test can look. They have their own seed: a bank with them differs from one without in those messages only. Every value
is nobody's: a card range of test numbers, an IBAN of a bank that does not exist, telephone numbers that are kept for
films (Ofcom), example.com (RFC 2606), identity numbers that were never given out, names that nobody has.
"""

import random
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl
from stdnum import luhn
from stdnum.cn import ric
from stdnum.iso7064 import mod_97_10

from recsys.simulator.bank import Bank, seed_of
from recsys.simulator.lexicon import draw

_SEED_PART: Final = 6
CANARY_SCHEMA: Final = pl.Schema(
    {"message_id": pl.String(), "customer_id": pl.String(), "kind": pl.String(), "value": pl.String()}
)
_STARTS: Final = ("Qui", "Zor", "Vex", "Yth", "Jun", "Oxa")
_MIDDLES: Final = ("l", "rv", "xm", "nd", "bb")
_ENDS: Final = ("ina", "uel", "ossa")
_FAMILIES: Final = ("欧阳", "司马", "上官", "诸葛", "令狐")
_CHARACTERS: Final = "璟瑄翀旻奕彧昶晔煜璐"


def plant_canaries(messages: pl.DataFrame, bank: Bank, block: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adds a canary's sentence to a share of the chats.

    Args:
        messages: a block of messages with message_id.
        bank: whose seed, language and share count.
        block: the number of the block.

    Returns:
        The messages, and message_id, customer_id, kind and value of each canary.
    """
    rng = np.random.default_rng(seed_of(bank.config, _SEED_PART, block))
    eligible = ((messages["source"] == "chat") & messages["text"].is_not_null()).to_numpy()
    rows = np.flatnonzero(eligible & (rng.random(messages.height) < bank.config.canary_share))
    words = random.Random(int(rng.integers(2**62)))
    texts, found = messages["text"].to_list(), []
    for turn, row in enumerate(rows.tolist()):
        kind = _KINDS[turn % len(_KINDS)]
        value = _VALUES[kind](words, bank.config.language == "zh")
        sentence = draw(bank.lexicon.messages.canaries[kind], words, {"value": value})
        texts[row] = f"{texts[row]}{bank.lexicon.gap}{sentence}"
        found.append((messages["message_id"][row], messages["customer_id"][row], kind, value))
    planted = messages.with_columns(pl.Series("text", texts, dtype=pl.String))
    return planted, pl.DataFrame(found, schema=CANARY_SCHEMA, orient="row")


def _digits(rng: random.Random, count: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(count))


def _card(rng: random.Random, _: bool) -> str:
    number = f"400000{_digits(rng, 9)}"
    number += luhn.calc_check_digit(number)
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _iban(rng: random.Random, _: bool) -> str:
    account = f"00000000{_digits(rng, 10)}"
    number = f"DE{mod_97_10.calc_check_digits(f'{account}DE')}{account}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _phone(rng: random.Random, _: bool) -> str:
    return f"+44 7700 900{_digits(rng, 3)}"


def _email(rng: random.Random, _: bool) -> str:
    return f"customer.{_digits(rng, 6)}@example.com"


def _identity(rng: random.Random, chinese: bool) -> str:
    """National insurance numbers never start with QQ; nobody born in 1850 is a customer."""
    if not chinese:
        return f"QQ{_digits(rng, 6)}C"
    number = f"1101011850{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}{_digits(rng, 3)}"
    return number + ric.calc_check_digit(number)


def _name(rng: random.Random, chinese: bool) -> str:
    if chinese:
        return rng.choice(_FAMILIES) + rng.choice(_CHARACTERS) + rng.choice(_CHARACTERS)
    return " ".join(rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS) for _ in range(2))


_VALUES: Final = MappingProxyType[str, Callable[[random.Random, bool], str]](
    {"card": _card, "iban": _iban, "phone": _phone, "email": _email, "id": _identity, "name": _name}
)
_KINDS: Final = tuple(_VALUES)
