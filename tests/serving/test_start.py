"""What stops the service from starting, and says why."""

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys.errors import HomeError, ModelError, SchemaMismatchError
from serving.loading import check_schema, find_champion
from serving.run import listen, serve
from serving.settings import Settings
from serving.testing import SIGNING_KEY


def test_serve_busy_port_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HomeError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(Settings(home=tmp_path / "none", port=port, secret=SIGNING_KEY))
    assert not (tmp_path / "none").exists()


def test_serve_without_champion_says_what_to_do_and_frees_the_port(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ModelError, match="train and promote one"):
        serve(Settings(home=tmp_path, port=port, secret=SIGNING_KEY))
    listen("127.0.0.1", port).close()


def test_listen_foreign_address_is_refused() -> None:
    with pytest.raises(HomeError, match=r"cannot listen on 203\.0\.113\.7:80"):
        listen("203.0.113.7", 80)


def test_find_champion_new_home_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no champion"):
        find_champion(tmp_path)
    assert not list(tmp_path.iterdir())


def test_check_schema_mismatch_names_both() -> None:
    check_schema("same", "same")
    with pytest.raises(SchemaMismatchError, match=r"abc.*def"):
        check_schema("abc", "def")


def test_settings_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="at least 32"):
        Settings(home=tmp_path, secret="short")


def test_settings_without_secret_use_the_homes_own(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert len(settings.signing_key()) >= 32
    assert settings.signing_key() == Settings(home=tmp_path).signing_key()
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
