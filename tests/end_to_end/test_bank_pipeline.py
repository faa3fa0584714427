"""From a dataset directory to ranked lists: what the verbs promise each other."""

import hashlib
import json
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest

from recsys.bundle import Bundle
from recsys.data.contract import Dataset
from recsys.recommender import Recommender
from recsys.schema import Kind
from serving.features import OnlineFeatures
from tests.end_to_end.conftest import TrainedBank, run
from training.dataset import join_customers
from training.tracking import Tracker, report_metrics


def digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return content.hexdigest()


def test_train_on_the_bank_beats_popularity_and_is_promoted(trained: TrainedBank) -> None:
    methods = trained.result["evaluation"]["methods"]
    assert methods["model"]["ndcg@10"]["mean"] > methods["popularity"]["ndcg@10"]["mean"]
    assert methods["oracle"]["ndcg@10"]["mean"] > methods["popularity"]["ndcg@10"]["mean"]
    assert trained.result["promoted"]


def test_mlflow_holds_what_was_printed(trained: TrainedBank) -> None:
    Tracker(trained.home)  # its home for the runs and for the registry: another test may have left its own
    logged = mlflow.get_run(trained.result["run_id"]).data
    for name, value in report_metrics(trained.result["evaluation"]).items():
        assert logged.metrics[name] == pytest.approx(value), name
    assert {"dataset_fingerprint", "git_commit", "schema_hash"} <= set(logged.tags)
    assert logged.params["loop.epochs"] == "8"
    client = mlflow.MlflowClient()
    files = {item.path for item in client.list_artifacts(trained.result["run_id"], "evaluation")}
    assert {"evaluation/training.png", "evaluation/methods.png", "evaluation/slices.png"} <= files
    for alias in ("champion", "challenger"):
        assert str(client.get_model_version_by_alias("recommender", alias).version) == trained.result["version"]


def test_registered_model_predicts_through_pyfunc(trained: TrainedBank) -> None:
    Tracker(trained.home)  # its home for the runs and for the registry: another test may have left its own
    model = mlflow.pyfunc.load_model("models:/recommender@champion")
    rows = pl.DataFrame({"features": [json.dumps({"customer_profile__segment": "mass"}), "{}"]}).to_pandas()
    answer = model.predict(rows)
    assert set(answer["product_id"]) <= set(pl.read_parquet(trained.data / "products.parquet")["product_id"])


def test_evaluate_prints_the_numbers_of_the_training_run(trained: TrainedBank, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert run("--home", trained.home, "evaluate", trained.data, "--json", file) == 0
    report = json.loads(file.read_text())
    for method, metrics in trained.result["evaluation"]["methods"].items():
        for name, interval in metrics.items():
            assert report["methods"][method][name]["mean"] == pytest.approx(interval["mean"]), (method, name)


def test_features_a_second_time_does_nothing_and_says_so(
    trained: TrainedBank, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(trained.first / "features")
    assert run("--home", trained.first, "features", trained.data) == 0
    assert "nothing new" in capsys.readouterr().err
    assert digest(trained.first / "features") == before


def test_no_command_changes_the_dataset(trained: TrainedBank, tmp_path: Path) -> None:
    before = digest(trained.data)
    assert run("--home", trained.home, "recommend", trained.data, "--out", tmp_path / "recs.parquet") == 0
    assert run("validate", trained.data) == 0
    assert digest(trained.data) == before


@pytest.fixture(scope="module")
def lists(trained: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    out = tmp_path_factory.mktemp("recs") / "recs.parquet"
    assert run("--home", trained.home, "recommend", trained.data, "--k", "5", "--out", out) == 0
    return pl.read_parquet(out)


def test_recommend_ranks_from_one_without_gaps_or_repeats(trained: TrainedBank, lists: pl.DataFrame) -> None:
    assert lists.columns == ["customer_id", "rank", "product_id", "score", "mode"]
    assert lists.select("customer_id", "rank").is_unique().all()
    assert lists.select("customer_id", "product_id").is_unique().all()
    spans = lists.group_by("customer_id").agg(pl.col("rank").min().alias("low"), pl.col("rank").max(), pl.len())
    assert spans.filter((pl.col("low") != 1) | (pl.col("rank") != pl.col("len"))).is_empty()
    everybody = pl.read_parquet(trained.data / "customers.parquet")["customer_id"].n_unique()
    assert lists["customer_id"].n_unique() == everybody


def test_recommend_never_breaks_suitability_or_offers_what_is_held(trained: TrainedBank, lists: pl.DataFrame) -> None:
    products, customers = (
        pl.read_parquet(trained.data / f"{name}s.parquet").sort("event_timestamp").unique(f"{name}_id", keep="last")
        for name in ("product", "customer")
    )
    shown = lists.join(products, on="product_id").join(customers, on="customer_id", suffix="_customer")
    assert (shown["status"] == "live").all()
    rating = pl.max_horizontal(pl.col("issuer_risk").str.slice(1), pl.col("bank_risk").str.slice(1)).cast(pl.Int32)
    level = pl.col("risk_level").str.slice(1).cast(pl.Int32)
    investments = shown.filter(rating.is_not_null())
    assert not investments.is_empty()
    assert investments.filter(level.is_null() | (rating > level)).is_empty()
    holdings = pl.read_parquet(trained.data / "holdings.parquet").filter(pl.col("closed_at").is_null())
    held = shown.join(holdings, on=["customer_id", "product_id"], how="semi")
    assert held.filter(~pl.col("repeatable")).is_empty()


def test_recommend_for_some_customers_and_candidates_keeps_to_them(trained: TrainedBank, tmp_path: Path) -> None:
    customers, candidates = tmp_path / "customers.txt", tmp_path / "candidates.txt"
    dataset = Dataset.open(trained.data)
    ids = sorted(pl.read_parquet(dataset.path / "customers.parquet")["customer_id"].unique())[:7]
    products = sorted(pl.read_parquet(dataset.path / "products.parquet")["product_id"].unique())[:6]
    customers.write_text("\n".join([*ids, "", ids[0]]))
    candidates.write_text("\n".join(products))
    out = tmp_path / "recs.parquet"
    arguments = ["--customers", customers, "--candidates", candidates, "--k", "3", "--out", out]
    assert run("--home", trained.home, "recommend", trained.data, *arguments) == 0
    recs = pl.read_parquet(out)
    assert set(recs["product_id"]) <= set(products)
    assert set(recs["customer_id"]) <= set(ids)


def test_recommend_contents_ranks_creatives(trained: TrainedBank, tmp_path: Path) -> None:
    out = tmp_path / "recs.parquet"
    assert run("--home", trained.home, "recommend", trained.data, "--kind", "contents", "--k", "2", "--out", out) == 0
    recs = pl.read_parquet(out)
    assert "content_id" in recs.columns
    assert set(recs["content_id"]) <= set(pl.read_parquet(trained.data / "contents.parquet")["content_id"])


def test_customers_who_refused_profiling_are_served_like_strangers(trained: TrainedBank, lists: pl.DataFrame) -> None:
    consents = pl.read_parquet(trained.data / "consents.parquet").filter(pl.col("purpose") == "profiling")
    latest = consents.sort("event_timestamp").unique("customer_id", keep="last")
    refused = latest.filter(~pl.col("granted"))
    modes = lists.join(refused, on="customer_id", how="semi")["mode"].unique().to_list()
    assert modes == ["popular"]


def test_vectors_from_the_online_store_equal_those_from_the_offline_join(trained: TrainedBank) -> None:
    """Training-serving equality, to the last step: the same customers at the same instant, the same vectors."""
    bundle = Bundle.load(Tracker(trained.home).bundle_folder())
    recommender = Recommender(bundle)
    online = OnlineFeatures(trained.home)
    ids = sorted(pl.read_parquet(trained.data / "customers.parquet")["customer_id"].unique())[:60]
    rows = {identifier: online.read_customer(identifier) for identifier in ids}
    known = [identifier for identifier in ids if rows[identifier] is not None]
    assert len(known) > 30
    now = Dataset.open(trained.data).config.end
    assert now is not None
    views = [view.name for view in online.manifest.views if view.entity == "customer_id"]
    entities = pl.DataFrame({"row_id": range(len(known)), "customer_id": known}).with_columns(
        event_timestamp=pl.lit(now).cast(pl.Datetime("us", "UTC"))
    )
    offline = join_customers(trained.home, entities, views)
    instants = np.full(len(known), int(now.timestamp() * 1e6), np.int64)
    from_offline = recommender.encode_columns(offline.to_dict(), instants, [None] * len(known))
    from_online = recommender.encode([rows[name] or {} for name in known], [now] * len(known))
    np.testing.assert_allclose(from_online.vectors, from_offline.vectors, rtol=1e-4, atol=1e-5)
    for one, other in zip(from_online.history, from_offline.history, strict=True):
        np.testing.assert_array_equal(one, other)
    online_scores, offline_scores = (recommender.score(s, Kind.PRODUCTS) for s in (from_online, from_offline))
    # A tree may send a score that differs in its last bit to another leaf: nearly all are equal, not all.
    assert np.isclose(online_scores, offline_scores, rtol=1e-3, atol=1e-3).mean() > 0.99
    assert np.ptp(online_scores) > 0
