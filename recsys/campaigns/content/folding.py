"""Folds disguised text to what a reader sees: look-alikes, full width, zero width, accents, leetspeak, spacing."""

import re
import unicodedata
from typing import Final

_LOOKALIKES: Final = str.maketrans(
    {
        **dict(zip("авгдеёийкмнорстухыіјѕԁԛԝһӏьбпяч", "abrdeeuukmhopctyxbijsdqwhlbbnry", strict=True)),  # Cyrillic
        **dict(zip("αβγδεζηικλμνορστυχω", "abydezniklmvopstuxw", strict=True)),  # Greek
        **dict(zip("ɡıɩɑʀɴʟɪᴀᴇᴏᴜƒ", "giiarnliaeouf", strict=True)),  # phonetic and small capitals
    }
)
_LEET: Final = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "$": "s", "@": "a", "!": "i"})
_SPACES: Final = re.compile(r"\s+")


def fold(text: str) -> str:
    """Lower case, one kind of width, no accents, no invisible characters, Latin letters for their look-alikes.

    >>> fold("Ｇuаrаn\u200bteéd")
    'guaranteed'
    """
    wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(character for character in wide if unicodedata.category(character) not in {"Cf", "Mn", "Cc", "Co"})
    return _SPACES.sub(" ", seen.translate(_LOOKALIKES)).strip()


def skeleton(text: str) -> str:
    """The letters alone, leetspeak undone and l read as i, so that spacing and digits hide nothing.

    >>> skeleton("r1sk - fr33") == skeleton("Risk-free")
    True
    """
    letters = fold(text).translate(_LEET).replace("l", "i")
    return "".join(character for character in letters if character.isalpha())
