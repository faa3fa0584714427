"""Every word of the studio is there in both languages, and every template can be read."""

import re
from pathlib import Path

import pytest

from serving.store.campaign_acts import Act
from serving.store.campaign_states import CampaignState
from serving.web.languages import LANGUAGES, words
from serving.web.pages import environment
from serving.web.studio.messages import translate

TEMPLATES = Path(__file__).parents[2] / "serving" / "web" / "templates" / "studio"
KEY = re.compile(r"""\bt\(\s*["']([^"'~]+)["']\s*[),]""")


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.html")), ids=lambda file: file.name)
def test_template_is_read_and_its_words_are_known(file: Path) -> None:
    environment().get_template(f"studio/{file.name}")
    used = set(KEY.findall(file.read_text(encoding="utf-8")))
    for language in LANGUAGES:
        assert not used - set(words("studio", language)), language


def test_words_are_the_same_in_every_language() -> None:
    assert len({frozenset(words("studio", language)) for language in LANGUAGES}) == 1
    for key, text in words("studio", "en").items():
        holes = set(re.findall(r"{(\w+)}", text))
        assert holes == set(re.findall(r"{(\w+)}", words("studio", "zh")[key])), key


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_state_and_act_has_words(language: str) -> None:
    known = words("studio", language)
    assert not {f"{kind}.{state}" for state in CampaignState for kind in ("state", "hint")} - set(known)
    assert not {f"act.{act}" for act in Act} - set(known)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("unknown key", "未知的键"),
        (
            "starts: 2026-01-01T00:00:00+00:00 is in the past: the data end at 2026-07-01, and a campaign "
            "starts at or after that",
            "开始时间",
        ),
        ("0.001 does not pay one contact, the cheapest costs 0.05: raise the budget", "预算 0.001"),
        ("ann wrote campaign x: somebody else must approve it", "须由他人批准"),
        (
            "campaign x is approved since 2026-07-01 08:00:00 by bob: only one that is submitted can become approved; "
            "launch or withdraw it, or look at it again",
            "bob",
        ),
    ],
)
def test_messages_are_translated_and_others_stay(english: str, chinese: str) -> None:
    assert translate(english, "en") == english
    assert chinese in translate(english, "zh")
    assert translate("nothing like this", "zh") == "nothing like this"
