"""The state directory: one dataset's, claimed whole, and a key that only its owner reads."""

from pathlib import Path

import polars as pl
import pytest

from recsys.errors import ConfigError, HomeError
from recsys.home import Home, read_ids


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "state")


def test_new_home_belongs_to_nobody_and_reading_makes_nothing(home: Home) -> None:
    assert home.record() is None
    home.require_owner("any-bank")
    with pytest.raises(HomeError, match="is empty: run `recsys train DATASET`"):
        home.dataset_path()
    assert not home.path.exists()


def test_claim_belongs_to_one_dataset_and_names_the_remedy_to_another(home: Home, tmp_path: Path) -> None:
    home.claim("one", tmp_path / "data")
    assert home.dataset_path() == tmp_path / "data"
    for refuse in (lambda: home.claim("two", tmp_path / "other"), lambda: home.require_owner("two")):
        with pytest.raises(HomeError, match=r"belongs to dataset one .* not to two: .*--home DIR"):
            refuse()
    assert home.dataset_path() == tmp_path / "data"
    assert [file.name for file in home.path.iterdir()] == ["home.yaml"]


def test_claim_of_a_moved_dataset_remembers_its_place_and_the_rest(home: Home, tmp_path: Path) -> None:
    home.claim("one", tmp_path / "data")
    home.remember_features("abc")
    before = home.record()
    home.claim("one", tmp_path / "moved")
    after = home.record()
    assert before is not None
    assert after is not None
    assert after.path == str(tmp_path / "moved")
    assert (after.created_at, after.features_of) == (before.created_at, "abc")


def test_claim_twice_writes_once(home: Home, tmp_path: Path) -> None:
    home.claim("one", tmp_path)
    written = (home.path / "home.yaml").stat().st_mtime_ns
    home.claim("one", tmp_path)
    assert (home.path / "home.yaml").stat().st_mtime_ns == written


def test_features_of_another_state_are_refused(home: Home, tmp_path: Path) -> None:
    home.require_current_features("abc")
    home.claim("one", tmp_path)
    home.remember_features("abc")
    home.require_current_features("abc")
    with pytest.raises(HomeError, match="changed since its features were built"):
        home.require_current_features("def")


def test_home_that_is_a_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for use in (lambda home: home.claim("one", tmp_path), lambda home: home.secret()):
        with pytest.raises(HomeError, match=r"cannot be made .*--home DIR"):
            use(Home(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_home_file_that_was_damaged_is_named(home: Home) -> None:
    home.path.mkdir()
    (home.path / "home.yaml").write_text("dataset: [")
    with pytest.raises(ConfigError, match=r"home\.yaml: is not YAML"):
        home.record()


def test_secret_is_long_stays_and_is_its_owners(home: Home) -> None:
    secret = home.secret()
    assert len(secret) >= 32
    assert home.secret() == secret
    assert (home.path / "secret").stat().st_mode & 0o777 == 0o600
    assert Home(home.path.with_name("other")).secret() != secret


def test_read_ids_skips_blanks_and_repeats_and_keeps_the_order(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(" b \n\na\nb\r\n")
    assert read_ids(file) == ["b", "a"]


def test_read_ids_of_a_parquet_file_are_those_of_its_only_column_of_ids(tmp_path: Path) -> None:
    file = tmp_path / "ids.parquet"
    pl.DataFrame({"product_id": [7, None, 3, 7], "name": ["a", "b", "c", "d"]}).write_parquet(file)
    assert read_ids(file) == ["7", "3"]
    pl.DataFrame({"product_id": ["a"], "customer_id": ["b"]}).write_parquet(file)
    with pytest.raises(HomeError, match="needs one column of ids, such as product_id; it has product_id, customer_id"):
        read_ids(file)
    pl.DataFrame({"product_id": []}, schema={"product_id": pl.String}).write_parquet(file)
    with pytest.raises(HomeError, match="holds no id"):
        read_ids(file)
    for name in ("text.parquet", "missing.parquet"):
        (tmp_path / "text.parquet").write_text("a")
        with pytest.raises(HomeError, match="cannot be read as a parquet file of ids"):
            read_ids(tmp_path / name)


def test_read_ids_that_cannot_be_read_or_names_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(HomeError, match=r"empty\.txt: holds no id"):
        read_ids(tmp_path / "empty.txt")
    for name in ("latin.txt", "missing.txt", "."):
        with pytest.raises(HomeError, match="cannot be read as a text file of ids"):
            read_ids(tmp_path / name)
