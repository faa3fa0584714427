"""Merchant categories that say what nobody may infer: the one list of them, however a bank spells them.

domain.md, Consent and privacy: health, religion, unions, adult, gambling; and what reveals the same. Categories come
as words in several languages, glued or in capitals (`HealthCare`, `MENTAL_HEALTH`), or as ISO 18245 merchant category
codes (`8062`, `MCC 8062`, `7995 - Betting`).
"""

import re
import unicodedata
from typing import Final

# fmt: off
SENSITIVE_WORDS: Final = frozenset((
    # health
    "chemist", "chiropractor", "clinic", "clinics", "dental", "dentist", "dentists", "dialysis", "doctor", "doctors",
    "drugstore", "fertility", "health", "healthcare", "hospice", "hospital", "hospitals", "medical", "medicine",
    "optician", "opticians", "osteopath", "pharmacies", "pharmacy", "physician", "physicians", "psychiatry",
    "psychologist", "psychology", "psychotherapy", "rehab", "surgery", "therapist", "therapy", "wellness",
    "apotheke", "arzt", "ärzte", "gesundheit", "klinik", "krankenhaus", "zahnarzt",
    "hôpital", "hopital", "médecin", "medecin", "pharmacie", "santé", "sante", "dentiste",
    "farmacia", "salud", "médico", "medico", "clínica", "clinica", "hospitales", "ospedale", "salute",
    # religion and belief
    "cathedral", "charities", "charity", "church", "churches", "donation", "donations", "mosque", "religion",
    "religious", "synagogue", "temple", "tithe", "zakat", "kirche", "kirchensteuer", "moschee", "spende", "spenden",
    "église", "eglise", "mosquée", "iglesia", "mezquita", "chiesa",
    # unions and politics
    "political", "politics", "union", "unions", "tradeunion", "labourunion", "laborunion", "gewerkschaft", "partei",
    "syndicat", "sindicato", "sindacato",
    # adult
    "adult", "adultentertainment", "dating", "escort", "erotic", "massage", "strip", "erotik", "sexshop",
    # gambling
    "bet", "bets", "betting", "bingo", "bookmaker", "bookmakers", "casino", "casinos", "gambling", "lottery", "lotto",
    "poker", "wager", "wagering", "glücksspiel", "gluecksspiel", "wetten", "apuestas", "scommesse",
))
"""Whole words of a category."""
SENSITIVE_PARTS: Final = (
    "healthcare", "hospital", "pharma", "medic", "dental", "dentist", "psych", "gambl", "casino", "religio", "church",
    "医", "药", "诊", "牙科", "健康", "心理", "宗教", "教堂", "寺", "清真", "慈善", "捐", "工会", "政党", "成人",
    "交友", "赌", "博彩", "彩票",
)
"""Parts of a category that say so wherever they stand: for glued words and scripts without spaces."""
INNOCENT_PHRASES: Final = ("credit union", "western union", "union pay", "unionpay", "european union")
"""Phrases that hold a sensitive word and mean something else."""
SENSITIVE_CODES: Final = frozenset((
    "4119",  # ambulances
    "5122", "5912", "5975", "5976", "5047",  # drugs, pharmacies, hearing aids, prosthetics, medical equipment
    "5967", "7273", "7297",  # adult telephone services, dating and escorts, massage
    "7800", "7801", "7802", "7995", "9754", "9406",  # lotteries, online gaming, racing, betting
    "8011", "8021", "8031", "8041", "8042", "8043", "8049", "8050", "8062", "8071", "8099",  # doctors to laboratories
    "8398", "8641", "8651", "8661",  # charities, civic associations, political and religious organisations
))
"""ISO 18245 merchant category codes."""
# fmt: on
_WORD: Final = re.compile(r"[^\W\d_]+")
_HUMP: Final = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
_CODE: Final = re.compile(r"(?<!\d)\d{4}(?!\d)")


def is_sensitive(category: str) -> bool:
    """Whether a merchant category must never reach a feature.

    >>> [is_sensitive(name) for name in ("Health & Beauty", "MCC-8062", "OnlineCasino", "药店", "groceries", "5411")]
    [True, True, True, True, False, False]
    """
    words = " ".join(_WORD.findall(_HUMP.sub(" ", unicodedata.normalize("NFKC", category)))).lower()
    for phrase in INNOCENT_PHRASES:
        words = words.replace(phrase, "")
    return (
        not SENSITIVE_WORDS.isdisjoint(words.split())
        or any(part in words for part in SENSITIVE_PARTS)
        or not SENSITIVE_CODES.isdisjoint(_CODE.findall(category))
    )
