"""A public set as it is distributed: imported, validated, trained and recommended by the commands of the bank."""

import json
import random
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageDraw

from tests.end_to_end.champions import crown
from tests.end_to_end.conftest import run

SOURCE = Path(__file__).parents[2] / "../shared/data/ml100k_raw"
USERS, FILMS, SILENT = 40, 30, "u41"
"""One user more, who rated nothing."""
GENRES = ("unknown", "Action", "Comedy", "Drama")
COLOURS = ("grey", "red", "yellow", "blue")
FIRST_SECOND = 880_000_000


def write_movielens(source: Path) -> None:
    """A miniature in the distributed format: a film is of one genre, a user likes one and rates some others."""
    draw = random.Random(7)
    (source / "posters").mkdir(parents=True)
    (source / "u.genre").write_text("".join(f"{name}|{place}\n" for place, name in enumerate(GENRES)))
    users = [f"{user}|{18 + user}|{'MF'[user % 2]}|student|8000{user % 7}" for user in range(1, USERS + 2)]
    (source / "u.user").write_text("\n".join(users) + "\n")
    films, overviews = [], ["movie_id,overview"]
    for film in range(1, FILMS + 1):
        genre = 1 + film % 3
        flags = "|".join("1" if place == genre else "0" for place in range(len(GENRES)))
        films.append(f"{film}|{GENRES[genre]} Café {film} (199{film % 8})|01-Jan-199{film % 8}||http://x|{flags}")
        if film % 2:
            overviews.append(f'{film},"A {GENRES[genre].lower()} story, number {film}."')
        if film % 3:
            picture = Image.new("RGB", (32, 48), COLOURS[genre])
            ImageDraw.Draw(picture).ellipse((4, 4 + film % 9, 28, 30), fill="white")
            picture.save(source / f"posters/{film}.jpg")
    (source / "u.item").write_bytes("\n".join(films).encode("latin-1") + b"\n")
    (source / "overviews.csv").write_text("\n".join(overviews) + "\n")
    lines = []
    for user in range(1, USERS + 1):
        liked = [film for film in range(1, FILMS + 1) if film % 3 == user % 3]
        seen = draw.sample(liked, 6) + draw.sample(range(1, FILMS + 1), 3)
        for place, film in enumerate(dict.fromkeys(seen)):
            lines.append(f"{user}\t{film}\t{draw.randint(1, 5)}\t{FIRST_SECOND + 1000 * user + 60 * place}")
    draw.shuffle(lines)
    (source / "u.data").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature, imported."""
    folder = tmp_path_factory.mktemp("films")
    write_movielens(folder / "raw")
    assert run("import", "movielens", folder / "raw", "--out", folder / "data") == 0
    return folder / "data"


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for two epochs."""
    home = tmp_path_factory.mktemp("films-home") / "state"
    assert run("--home", home, "train", films, "--set", "loop.epochs=2") == 0
    crown(home, "1")
    return home


def recommend(home: Path, films: Path, out: Path, *options: str | Path) -> pl.DataFrame:
    assert run("--home", home, "recommend", films, "--k", "5", "--out", out, *options) == 0
    return pl.read_parquet(out)


def test_movielens_keeps_the_contract(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", films, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert (report["rows"]["customers"], report["rows"]["products"]) == (USERS + 1, FILMS)


def test_movielens_all_modalities_reach_the_model(home: Path, films: Path) -> None:
    for table in ("product_text", "product_images"):
        assert not pl.read_parquet(home / f"features/{table}.parquet").is_empty()
    assert pl.read_parquet(films / "products.parquet")["image_path"].null_count() == FILMS // 3


def test_movielens_everybody_gets_k_films_that_he_has_not_seen(home: Path, films: Path, tmp_path: Path) -> None:
    lists = recommend(home, films, tmp_path / "lists.parquet")
    assert lists.columns == ["customer_id", "rank", "product_id", "score", "mode"]
    spans = lists.group_by("customer_id").agg(pl.col("rank").sort(), pl.col("product_id").n_unique())
    assert len(spans) == USERS + 1
    assert all(ranks == [1, 2, 3, 4, 5] for ranks in spans["rank"].to_list())
    assert (spans["product_id"] == 5).all()
    seen = pl.read_parquet(films / "events.parquet")
    assert lists.join(seen, on=["customer_id", "product_id"], how="semi").is_empty()


def test_movielens_user_without_ratings_gets_k_films(home: Path, films: Path, tmp_path: Path) -> None:
    asked = tmp_path / "silent.txt"
    asked.write_text(f"{SILENT}\n")
    assert pl.read_parquet(films / "events.parquet").filter(pl.col("customer_id") == SILENT).is_empty()
    lists = recommend(home, films, tmp_path / "lists.parquet", "--customers", asked)
    assert lists["customer_id"].to_list() == [SILENT] * 5


def test_movielens_candidates_narrow_the_lists(home: Path, films: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "candidates.txt"
    allowed.write_text("\n".join(f"m{film}" for film in range(1, 21)))
    lists = recommend(home, films, tmp_path / "lists.parquet", "--candidates", allowed)
    assert set(lists["product_id"]) <= {f"m{film}" for film in range(1, 21)}


def test_movielens_recommend_twice_gives_the_same_lists(home: Path, films: Path, tmp_path: Path) -> None:
    assert recommend(home, films, tmp_path / "a.parquet").equals(recommend(home, films, tmp_path / "b.parquet"))


def test_movielens_contents_are_refused_because_there_are_none(
    home: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists.parquet"
    assert run("--home", home, "recommend", films, "--kind", "contents", "--out", out) == 1
    assert "there are no contents" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_movielens_trains_again_in_the_same_home(home: Path, films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--home", home, "train", films, "--set", "loop.epochs=1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["version"] == "2"
    assert result["evaluation"]["queries"] == USERS


def test_movielens_as_distributed_imports_and_keeps_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (SOURCE / "u.data").exists():
        pytest.skip("MovieLens-100K does not lie in ../shared/data")
    assert run("import", "movielens", SOURCE, "--out", tmp_path / "data") == 0
    assert run("validate", tmp_path / "data", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert (rows["customers"], rows["products"], rows["events"]) == (943, 1682, 100_000)
    products = pl.read_parquet(tmp_path / "data/products.parquet")
    assert products["image_path"].count() > 1000
    assert products["description"].count() > 1000
