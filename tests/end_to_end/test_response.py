"""The response model of a trained bank: what is logged, what is learned, and that serving reads what training read."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.bundle import SELECTION, Bundle
from recsys.data.contract import Dataset
from recsys.data.splits import resolve_split
from recsys.features.spec import FeatureManifest
from recsys.ranking.blend import Blend
from recsys.ranking.heads import BoostedHeads, TastefulClick
from recsys.ranking.response import ResponseModel, TasteConfig
from recsys.ranking.response_features import Exposed
from recsys.ranking.response_files import load_response, save_response
from recsys.recommender import Recommender
from recsys.schema import Kind
from serving.loading import find_champion
from tests.end_to_end.conftest import TrainedBank
from training.dataset import Catalogue, load_catalogue
from training.exposures import Exposures, read_exposures
from training.response_choice import Read


@pytest.fixture(scope="module")
def bundle(trained: TrainedBank) -> Bundle:
    return Bundle.load(find_champion(trained.home).folder / SELECTION)


@pytest.fixture(scope="module")
def catalogue(trained: TrainedBank) -> Catalogue:
    dataset = Dataset.open(trained.data)
    start = resolve_split(dataset).validation_start
    assert start is not None
    return load_catalogue(dataset, trained.home, FeatureManifest.read(trained.home / "features"), start)


def _read(trained: TrainedBank, catalogue: Catalogue, until: datetime | None = None, most: int = 10**9) -> Exposures:
    return read_exposures(Dataset.open(trained.data), trained.home, catalogue, (None, until), most)


def test_outcomes_are_those_of_the_log(trained: TrainedBank, catalogue: Catalogue) -> None:
    exposures = _read(trained, catalogue)
    events = pl.read_parquet(trained.data / "events.parquet")
    agreement = (
        pl.read_parquet(trained.data / "consents.parquet")
        .filter(pl.col("purpose") == "profiling")
        .sort("event_timestamp")
        .group_by("customer_id")
        .agg(pl.col("granted").last())
        .filter(pl.col("granted"))
    )
    agreed = events.join(agreement, on="customer_id", how="semi")
    shown = agreed.filter(pl.col("event_type") == "impression", pl.col("content_id").is_not_null())
    assert len(exposures) == len(shown)
    keys = ["request_id", "customer_id", "product_id"]
    for place, outcome in enumerate(("click", "apply", "convert")):
        came = agreed.filter(pl.col("event_type") == outcome).select(keys).unique()
        assert exposures.outcomes[:, place].sum() == len(shown.join(came, on=keys, how="semi"))
    assert (exposures.outcomes[:, 1] <= exposures.outcomes[:, 0]).all()


def test_outcomes_after_the_end_are_not_looked_at(trained: TrainedBank, catalogue: Catalogue) -> None:
    until = resolve_split(Dataset.open(trained.data)).validation_start
    early, whole = _read(trained, catalogue, until), _read(trained, catalogue)
    assert until is not None
    before = np.isin(whole.request, np.flatnonzero(whole.now < until.timestamp() * 1e6 - 1))
    assert len(early) == before.sum()
    assert early.outcomes[:, 2].sum() < whole.outcomes[before, 2].sum()
    assert not early.settled[:, 2].all()


def test_a_draw_keeps_whole_requests(trained: TrainedBank, catalogue: Catalogue) -> None:
    few, whole = _read(trained, catalogue, most=2000), _read(trained, catalogue)
    assert 1000 < len(few) < 4000
    assert np.bincount(few.request).max() == np.bincount(whole.request).max()
    assert np.bincount(few.request).mean() == pytest.approx(np.bincount(whole.request).mean(), rel=0.05)


def test_training_reports_both_kinds_side_by_side(trained: TrainedBank) -> None:
    report = trained.result["evaluation"]["response"]
    losses = report["validation_loss"]
    trees = min((f"boosted, place by {how}" for how in ("input", "propensity")), key=lambda name: losses[name])
    assert set(losses) == {
        "boosted, place by input",
        "boosted, place by propensity",
        f"{trees}, and taste linear",
        "network",
    }
    assert report["chosen"] in (min(losses, key=lambda name: losses[name]), f"{trees}, and taste linear")
    assert set(report["beside"]) == set(report["validation_loss"]) - {report["chosen"]}
    test = report["test"]
    assert test["click"]["auc"] > 0.55
    assert all(test[head]["ece"] < 0.03 for head in ("click", "apply", "convert"))


def test_serving_reads_what_training_read(trained: TrainedBank, catalogue: Catalogue, bundle: Bundle) -> None:
    exposures = _read(trained, catalogue).requests(0, 40)
    recommender = Recommender(bundle)
    assert bundle.response is not None
    rows = exposures.columns.to_dicts()
    together = recommender.responses(
        recommender.encode_columns(exposures.columns.to_dict(), exposures.now, exposures.channel),
        _exposed(recommender, exposures),
    )
    one_by_one = []
    for request in range(len(exposures.now)):
        some = exposures.requests(request, request + 1)
        now = datetime.fromtimestamp(int(some.now[0]) / 1e6, UTC)
        states = recommender.encode([rows[request]], [now], some.channel[0])
        one_by_one.append(recommender.responses(states, _exposed(recommender, some)))
    alone = np.concatenate(one_by_one)  # sums in another order may carry a feature over the edge of a leaf
    np.testing.assert_allclose(alone, together, rtol=0.05)
    assert (np.abs(alone - together) < 1e-6).mean() > 0.95
    assert ((together > 0) & (together < 1)).all()
    assert (np.diff(together, axis=1) <= 0).all()


def test_ranking_has_its_say_in_what_follows_a_contact(
    trained: TrainedBank, catalogue: Catalogue, bundle: Bundle
) -> None:
    told = trained.result["evaluation"]["response"]["blend"]
    assert told["applications"] > 0
    assert ("blend" in told) == (told["loss_blend"] < told["loss_response_model"])
    exposures = _read(trained, catalogue).requests(0, 40)
    recommender = Recommender(bundle)
    assert bundle.response is not None
    states = recommender.encode_columns(exposures.columns.to_dict(), exposures.now, exposures.channel)
    exposed = _exposed(recommender, exposures)
    ranked = recommender.score(states, Kind.PRODUCTS)
    plain = recommender.responses(states, exposed)
    blend = Blend(constant=0.5, response=0.6, ranker=0.3, tower=0.4, converts=0.6)
    bundle.response.config = bundle.response.config.model_copy(update={"blend": blend})
    try:
        blended = recommender.responses(states, exposed)
        np.testing.assert_array_equal(blended, recommender.responses(states, exposed, ranked))
        better = recommender.responses(states, exposed, ranked + 1)
    finally:
        bundle.response.config = bundle.response.config.model_copy(update={"blend": None})
    assert (blended[:, 0] == plain[:, 0]).all()
    assert (blended[:, 1] != plain[:, 1]).any()
    free = blended[:, 1] < blended[:, 0] - 1e-9  # an application is no likelier than the click before it
    assert (better[free, 1] > blended[free, 1]).all()


def test_clicked_exposures_beyond_the_draw_teach_only_what_follows_a_click(
    trained: TrainedBank, catalogue: Catalogue
) -> None:
    dataset = Dataset.open(trained.data)
    few = read_exposures(dataset, trained.home, catalogue, (None, None), 2000, 10**9)
    drawn, whole = _read(trained, catalogue, most=2000), _read(trained, catalogue)
    assert few.drawn.sum() == len(drawn)
    assert few.outcomes[:, 0].sum() == whole.outcomes[:, 0].sum()
    assert few.outcomes[~few.drawn, 0].all()
    counts = Read(few, ("position",), few.position[:, None], np.array([False])).rows("input").counts
    assert not counts[~few.drawn, 0].any()
    assert counts[~few.drawn, 1].any()


def test_creatives_are_reordered_among_those_allowed_only(
    trained: TrainedBank, catalogue: Catalogue, bundle: Bundle
) -> None:
    recommender = Recommender(bundle)
    exposures = _read(trained, catalogue).requests(0, 20)
    states = recommender.encode_columns(exposures.columns.to_dict(), exposures.now, exposures.channel)
    allowed = np.random.default_rng(0).random((20, len(recommender.content_ids))) < 0.3
    scores = recommender.score(states, Kind.CONTENTS, allowed)
    tower = recommender.tower_scores(states, Kind.CONTENTS)
    auc = trained.result["evaluation"]["response"]["validation_click_auc"]
    assert recommender.reorders(Kind.CONTENTS) == (auc["response"] > auc["towers"])
    assert np.isfinite(scores).all()
    if recommender.reorders(Kind.CONTENTS):
        best = np.where(allowed, scores, -np.inf).argmax(axis=1)
        assert (best != np.where(allowed, tower, -np.inf).argmax(axis=1)).any()
    few = np.zeros_like(allowed)
    few[:, [7, 3]] = True
    alone = recommender.score_items(states, Kind.CONTENTS, np.array([7, 3]))
    np.testing.assert_allclose(alone, recommender.score(states, Kind.CONTENTS, few)[:, [7, 3]], rtol=1e-4)


def test_chosen_creatives_are_the_likeliest_to_be_clicked(
    trained: TrainedBank, catalogue: Catalogue, bundle: Bundle
) -> None:
    recommender, exposures = Recommender(bundle), _read(trained, catalogue).requests(0, 40)
    assert bundle.contents is not None
    states = recommender.encode_columns(exposures.columns.to_dict(), exposures.now, exposures.channel)
    owner = np.array([recommender.product_ids.index(name) for name in bundle.contents["product_id"].to_list()])
    content = np.tile(np.argsort(owner, kind="stable"), 40)
    customer = np.repeat(np.arange(40), len(owner))
    exposed = Exposed(customer, owner[content], content, customer % 3, np.ones(len(content), np.float32))
    group = customer * len(recommender.product_ids) + exposed.product
    best, logits = recommender.choose_creatives(states, exposed, group)
    every = recommender.response_logits(states, exposed)
    codes, starts = np.unique(group, return_index=True)
    firsts = [start + int(np.argmax(every[group == code, 0])) for code, start in zip(codes, starts, strict=True)]
    assert best.tolist() == firsts
    np.testing.assert_array_equal(logits, every[best])
    alone = exposed.product == exposed.product[0]  # what else is asked does not matter
    some = Exposed(*(values[alone] for values in exposed))
    np.testing.assert_array_equal(recommender.response_logits(states, some), every[alone])


def test_second_model_of_the_click_survives_the_file(
    trained: TrainedBank, catalogue: Catalogue, bundle: Bundle, tmp_path: Path
) -> None:
    recommender, exposures = Recommender(bundle), _read(trained, catalogue).requests(0, 20)
    model = bundle.response
    assert model is not None
    assert isinstance(model.heads, BoostedHeads)
    trees = model.heads.models[0]
    assert trees is not None
    weights = tuple(float(name.startswith("creative_taste_")) for name in model.config.features)
    heads = BoostedHeads(
        model.heads.models, model.heads.averages, TastefulClick(np.array(weights, np.float32), -0.5, trees)
    )
    config = model.config.model_copy(update={"taste": TasteConfig(average=-0.5, weights=weights)})
    save_response(ResponseModel(model.tables, heads, model.calibrations, config), tmp_path)
    again = load_response(tmp_path, config, bundle.manifest.inputs, model.tables.items)
    states = recommender.encode_columns(exposures.columns.to_dict(), exposures.now, exposures.channel)
    features = model.features(recommender._asked(states), _exposed(recommender, exposures))
    assert (features[:, np.array(weights) > 0] != 0).any()
    np.testing.assert_array_equal(again.heads.predict(features), heads.predict(features))
    assert (again.heads.predict(features)[:, 0] != model.heads.predict(features)[:, 0]).any()


def _exposed(recommender: Recommender, exposures: Exposures) -> Exposed:
    channel = np.array([recommender.reader._channel.get(name or "", 0) for name in exposures.channel], np.int64)
    return Exposed(
        exposures.request, exposures.product, exposures.content, channel[exposures.request], exposures.position
    )
