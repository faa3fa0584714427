"""A service that would stand open does not start, and says what to set."""

import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys.cli.app import app
from recsys.errors import ConfigError
from serving.app import create_app
from serving.auth.exposure import check_exposure, is_loopback
from serving.run import serve
from serving.settings import Mode, Settings

SECRET = "a-secret-of-the-bank-0123456789-abcdef"


def production(**changes: Any) -> Settings:
    values = {
        "mode": Mode.PRODUCTION,
        "host": "0.0.0.0",  # noqa: S104 - nothing listens
        "secret": SECRET,
        "jwks_url": "https://login.bank.example/jwks",
        "token_issuer": "https://login.bank.example",
        "token_audience": "recsys",
    }
    return Settings(**(values | changes))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "bank.example"])  # noqa: S104
def test_local_mode_on_an_address_of_others_is_refused(host: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", host=host)
    for start in (check_exposure, serve, create_app):
        with pytest.raises(ConfigError, match=r"use --host 127\.0\.0\.1, or set RECSYS_MODE=production"):
            start(settings)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_local_mode_on_a_loopback_address_is_allowed(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Settings(host=host))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret": None}, "RECSYS_SECRET is not set"),
        ({"secret": "changeme" * 5}, "RECSYS_SECRET is no random text"),
        ({"jwks_url": None}, "one of RECSYS_JWKS_URL and RECSYS_JWKS_FILE"),
        ({"jwks_file": Path("keys.json")}, "one of RECSYS_JWKS_URL and RECSYS_JWKS_FILE"),
        ({"jwks_url": None, "jwks_file": Path("/nowhere/keys.json")}, "there is no file /nowhere/keys.json"),
        ({"jwks_url": "http://login.bank.example/jwks"}, "must be an https address"),
        ({"jwks_url": "file:///etc/keys"}, "must be an https address"),
        ({"token_issuer": None}, "RECSYS_TOKEN_ISSUER"),
        ({"token_audience": ""}, "RECSYS_TOKEN_AUDIENCE"),
    ],
)
def test_production_on_a_default_is_refused(changes: dict[str, Any], said: str) -> None:
    check_exposure(production())
    with pytest.raises(ConfigError, match=said):
        check_exposure(production(**changes))


def test_production_names_all_that_is_missing_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        check_exposure(Settings(mode=Mode.PRODUCTION))
    for name in ("RECSYS_SECRET", "RECSYS_JWKS_URL", "RECSYS_TOKEN_ISSUER", "RECSYS_TOKEN_AUDIENCE"):
        assert name in str(raised.value)


def test_command_line_refuses_plainly_and_listens_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    call = ["--home", str(tmp_path), "serve", "--port", port]
    open_to_all = CliRunner().invoke(app, [*call, "--host", "0.0.0.0"])  # noqa: S104
    assert isinstance(open_to_all.exception, ConfigError)
    monkeypatch.setenv("RECSYS_MODE", "production")
    assert isinstance(CliRunner().invoke(app, call).exception, ConfigError)
    token = CliRunner().invoke(app, ["--home", str(tmp_path), "token", "--customer", "anna"])
    assert "identity provider" in str(token.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "value"), [("SECRET", "hunter2"), ("MODE", "open"), ("MAX_IN_PROGRESS", "many")])
def test_command_line_setting_that_cannot_be_used_is_named_and_not_shown(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RECSYS_{name}", value)
    for call in (["serve"], ["token", "--customer", "anna"]):
        refused = CliRunner().invoke(app, ["--home", str(tmp_path), *call]).exception
        assert isinstance(refused, ConfigError)
        assert str(refused).startswith(f"RECSYS_{name}: ")
        assert value not in str(refused)
