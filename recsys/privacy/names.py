"""Names of people: announced ones ("my name is", "Mrs", 我叫), signatures, and those of a list."""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from recsys.config import BaseConfig
from recsys.privacy.spans import Placeholder, Span

FLAG: Final = (
    r"(?i:\bname\b|\bcalled\b|account holder|appelle|me llamo|nombre|chiamo|chamo|nome|mon nom|heiße|heisse|naam|heet)"
    r"|(?i:\b(?:mr|mrs|ms|miss|mx|dr|prof|herr|frau|mme|mlle|sr|sra|señora?|sig|signora)\b)"
    r"|(?i:regards|sincerely|yours|cheers|thanks|thank you|signed|truly|faithfully)[,!.:\s-]+\p{Lu}"
    r"|(?i:this is|it is|i am|i['’]m)\s+\p{Lu}|我叫|名字|本人叫|姓名|户主|先生|女士|小姐"
)
"""Finds every text that could announce a name (for polars: no lookaround)."""
_DATA: Final = Path(__file__).parent / "data" / "names.yaml"
_PROPER: Final = r"[A-ZÀ-Þ][\w'’-]+"
_PROPERS: Final = rf"(?:{_PROPER}|[A-Z]\.)(?: (?:van |von |de |del |da |der |bin |al |O')*(?:{_PROPER}|[A-Z]\.)){{0,3}}"
_ANY_WORD: Final = r"[^\W\d_][\w'’-]*"
_ANNOUNCED: Final = re.compile(
    r"(?:\b(?i:my (?:full |real |last |first |maiden )?name(?:'s| is| was|:)|name(?: on (?:the )?(?:card|account))?:|"
    r"account holder(?: is|:)|in the name of|i(?:'m| am) called|je m'appelle|mon nom est|mi nombre es|me llamo|"
    r"mi chiamo|il mio nome è|ich hei(?:ß|ss)e|mein name ist|o meu nome é|chamo-me|mijn naam is|ik heet)\s+)"
    rf"(?P<value>(?:{_PROPERS})|{_ANY_WORD}(?: {_ANY_WORD})?)"
)
_TITLE: Final = re.compile(
    r"(?<!\w)(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herr|Frau|Mme|Mlle|Sra?|Señora?|Sig|Signora|mr|mrs)\b\.?\s+"
    rf"(?P<value>{_PROPERS})"
)
_LOWER_TITLE: Final = re.compile(rf"(?<!\w)(?:mr|mrs)\.? (?P<value>{_ANY_WORD})")
_PRESENTED: Final = re.compile(
    rf"\b(?:(?:[Tt]his|[Ii]t) is|I am|I'm)\s+(?P<value>{_PROPER}(?: (?:van |von |de |O')*{_PROPER}){{1,2}})(?!\w)"
)
_SIGNED: Final = re.compile(
    r"(?i:(?:regards|sincerely|yours(?: truly| faithfully)?|cheers|signed|many thanks|thanks|thank you)[,!.:\s-]+)"
    rf"(?P<value>{_PROPERS})\s*[.!]?\s*$"
)
_FAMILY: Final = (
    "欧阳|司马|上官|诸葛|夏侯|皇甫|尉迟|公孙|慕容|令狐|[王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于"
    "蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤]"
)
_GIVEN: Final = r"[\u4e00-\u9fff]"
_NOT_GIVEN: Final = "我你他她您想要的是在请们和与了不有没这那吗呢吧，"
_CHINESE: Final = re.compile(
    rf"(?:我叫|我的名字(?:是|叫)|本人叫|姓名(?:是|为|[:：])?|户主(?:是|为|[:：]))\s*(?P<value>(?:{_FAMILY})"
    rf"(?:(?![{_NOT_GIVEN}]){_GIVEN}){{1,2}})"
)
_CHINESE_TITLE: Final = re.compile(rf"(?P<value>(?:{_FAMILY})(?:(?![{_NOT_GIVEN}]){_GIVEN}){{0,2}})(?=先生|女士|小姐)")
_NOT_NAMES: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the on in at of to for not no is are was wrong misspelled spelled spelt incorrect different changed "
        "changing still my your our his her their its it this that these and or but correct right also now with "
        "from as by if please thanks what how why when where who wrongly being missing shown showing legally too "
        "so only just there here cheers thank regards best kind many yours sincerely card account bank name same "
        "printed registered listed linked incorrectly ",
    )
)
"""Words that follow "my name" and are no name."""
_WORDS: Final = re.compile(_ANY_WORD)
_FAMILY_NAME: Final = re.compile(rf"(?: (?:van |von |de |O')*{_PROPER}){{1,2}}")
_MOST_WORDS: Final = 3
"""Words of the longest listed name."""


class NameList(BaseConfig):
    """`data/names.yaml`."""

    given: tuple[str, ...]
    """Given names that are no everyday words."""


@cache
def common_names() -> tuple[str, ...]:
    """The packaged given names.

    Raises:
        ConfigError: the packaged file is damaged.
    """
    return NameList.from_yaml(_DATA).given


def find_names(text: str) -> Iterator[Span]:
    """Names that something announces."""
    for pattern in (_ANNOUNCED, _TITLE, _LOWER_TITLE, _PRESENTED, _SIGNED, _CHINESE, _CHINESE_TITLE):
        for match in pattern.finditer(text):
            value = _leading_names(match["value"])
            if value:
                yield Span(match.start("value"), match.start("value") + len(value), Placeholder.NAME)


def find_listed_names(text: str, names: Collection[str]) -> Iterator[Span]:
    """Names of a list, written with a capital, and the family name after a given one.

    Args:
        text: any text.
        names: of up to three words, as `written_forms` gives them.
    """
    words = list(_WORDS.finditer(text))
    for first, word in enumerate(words):
        if not word[0][:1].isupper():
            continue
        for count in range(_MOST_WORDS, 0, -1):
            end = words[min(first + count, len(words)) - 1].end()
            if text[word.start() : end] in names:
                yield Span(word.start(), _with_family_name(text, end), Placeholder.NAME)
                break


def written_forms(names: Iterable[str]) -> frozenset[str]:
    """How names are written with a capital.

    >>> sorted(written_forms(["maria de souza"]))
    ['MARIA DE SOUZA', 'Maria De Souza', 'maria de souza']
    """
    return frozenset(form for name in names for form in (name, name.title(), name.upper()))


def find_unspaced_names(text: str, names: Collection[str]) -> Iterator[Span]:
    """Listed names of a script that puts no space between words."""
    for name in names:
        if (place := text.find(name)) >= 0:
            yield Span(place, place + len(name), Placeholder.NAME)


def is_unspaced(name: str) -> bool:
    """Whether a name is written in Chinese characters."""
    return "\u4e00" <= name[:1] <= "\u9fff"


def _with_family_name(text: str, end: int) -> int:
    """The end of the capitalised words that follow a given name."""
    match = _FAMILY_NAME.match(text, end)
    return match.end() if match else end


def _leading_names(value: str) -> str:
    """What of a candidate is a name: up to the first everyday word."""
    end = 0
    for word in _WORDS.finditer(value):
        if word[0].lower() in _NOT_NAMES:
            break
        end = word.end()
    return value[:end]
