"""Verbs of the command line that need a scope: whoever has no token with it is refused, in words."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from serving.auth.staff import RefusedError, authorise
from serving.settings import Mode, Settings
from serving.tokens import CAMPAIGNS_EXPORT, CAMPAIGNS_WRITE, issue_token
from tests.serving.identity_provider import AUDIENCE, ISSUER, Key, Provider

USER = "operator"
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


def local_token(*scopes: str, customer: str | None = None, hours: float = 1, secret: str = SECRET) -> str:
    lifetime = timedelta(hours=hours)
    return issue_token(secret, subject="ann", scopes=scopes, customer_id=customer, lifetime=lifetime)


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, secret=SecretStr(SECRET))


def test_token_with_the_scope_says_who_it_is(local: Settings) -> None:
    assert authorise(local, local_token(CAMPAIGNS_WRITE, CAMPAIGNS_EXPORT), CAMPAIGNS_EXPORT, USER).subject == "ann"


@pytest.mark.parametrize("token", [None, ""])
def test_in_local_mode_the_user_of_the_machine_needs_none(local: Settings, token: str | None) -> None:
    assert authorise(local, token, CAMPAIGNS_EXPORT, USER).subject == USER


@pytest.mark.parametrize(
    ("token", "says", "by"),
    [
        ("nonsense", "the token is not valid", "unknown"),
        (local_token(CAMPAIGNS_EXPORT, hours=-1), "expired", "unknown"),
        (local_token(CAMPAIGNS_EXPORT, secret=SECRET[::-1]), "the token is not valid", "unknown"),
        (local_token(CAMPAIGNS_WRITE), "lacks the scope campaigns:export", "ann"),
        (local_token(CAMPAIGNS_EXPORT, customer="c1"), "a customer's token does not open it", "ann"),
    ],
)
def test_all_others_are_refused(local: Settings, token: str | None, says: str, by: str) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        authorise(local, token, CAMPAIGNS_EXPORT, USER)
    assert refused.value.by == by


def test_in_production_only_the_identity_providers_tokens_count(tmp_path: Path) -> None:
    key, file = Key("k1"), tmp_path / "keys.json"
    file.write_bytes(Provider(key).document())
    settings = Settings(
        home=tmp_path,
        mode=Mode.PRODUCTION,
        secret=SecretStr(SECRET),
        jwks_file=file,
        token_issuer=ISSUER,
        token_audience=AUDIENCE,
    )
    held = key.sign(sub="bob", scope=CAMPAIGNS_EXPORT, customer_id=None)
    assert authorise(settings, held, CAMPAIGNS_EXPORT, USER).subject == "bob"
    for none in (None, ""):
        with pytest.raises(RefusedError, match="this needs a token with the scope campaigns:export"):
            authorise(settings, none, CAMPAIGNS_EXPORT, USER)
    with pytest.raises(RefusedError, match="the token is not valid"):
        authorise(settings, local_token(CAMPAIGNS_EXPORT), CAMPAIGNS_EXPORT, USER)
    with pytest.raises(RefusedError, match=r"lacks the scope campaigns:export.*identity provider"):
        authorise(settings, key.sign(scope=CAMPAIGNS_WRITE, customer_id=None), CAMPAIGNS_EXPORT, USER)
    file.write_text("{}")
    (tmp_path / "jwks.json").unlink()
    with pytest.raises(RefusedError, match="no token can be judged now"):
        authorise(settings, held, CAMPAIGNS_EXPORT, USER)
