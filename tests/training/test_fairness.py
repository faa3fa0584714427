"""The fairness report: on a tiny bank that was trained for real, and on audiences whose answer is known."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.errors import ModelError
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ProductFacts
from recsys.policy.pack import CreditPolicy, load_pack
from recsys.schema import PolicyName
from tests.training.conftest import CONFIG, CUSTOMERS, Governed
from training.dataset import DatasetBuilder
from training.fairness.audience import Audience, draw_audience, without_steering
from training.fairness.config import FairnessConfig
from training.fairness.groups import read_attributes
from training.fairness.plot import plot_fairness
from training.fairness.probe import probe
from training.fairness.report import _alarms, measure_fairness
from training.fairness.steering import measure_steering
from training.tracking import fairness_metrics

BANK = load_pack(PolicyName.BANK)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class TestInputs:
    """What the model is trained on."""

    def test_declared_protected_and_proxy_columns_are_no_input_and_are_named(self, governed: Governed) -> None:
        """The tiny bank declares age and occupation as features; the store has both, the model neither."""
        refused = {column.key: (column.entry, column.kind) for column in governed.outcome.refused}
        assert refused == {
            "customer_profile__age": ("age", "protected"),
            "customer_profile__occupation": ("occupation", "proxy"),
        }
        read = {c.key for group in governed.outcome.manifest.inputs.customers.groups for c in group.columns}
        assert "customer_profile__segment" in read
        assert not read & set(refused)
        stored = pl.read_parquet_schema(governed.home.features / "customer_profile.parquet")
        assert {"age", "occupation"} <= set(stored)

    def test_a_banks_own_pack_decides_what_is_refused(self, governed: Governed, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir()
        (home / "features").symlink_to(governed.home.features)
        (home / "packs").mkdir()
        own = BANK.model_copy(update={"credit": CreditPolicy(proxy_columns=("segment",)), "rules": ()})
        (home / "packs" / "bank.yaml").write_text(own.model_dump_json())
        builder = DatasetBuilder(governed.dataset, home, CONFIG.encoding)
        assert [column.key for column in builder.refused] == ["customer_profile__segment"]

    def test_a_bundle_with_a_refused_column_is_not_packed(self, governed: Governed) -> None:
        """However it got there: a changed pack between two steps of a run, or a hand that unlocked it."""
        from training.train import Training

        training = Training(governed.dataset, governed.home.path, CONFIG, "other")
        training.pack = BANK.model_copy(update={"credit": CreditPolicy(protected_columns=("segment",))})
        with pytest.raises(ModelError, match=r"customer_profile__segment"):
            training._require_fair(governed.selection)


class TestReport:
    """On the tiny bank."""

    def test_groups_are_the_packs_columns_declared_or_not(self, governed: Governed) -> None:
        report = governed.fairness
        assert set(report["attributes"]) == {"age", "sex", "occupation"}
        assert list(report["attributes"])[-1] == "occupation"  # protected ones first
        assert report["attributes"]["occupation"]["kind"] == "proxy"
        skipped = dict(report["skipped"])
        assert skipped.pop("name").endswith("different values: it makes no groups")
        assert skipped == {
            "nationality": "the same for everybody",
            "latitude": "a number that is no age: it makes no groups",
        }
        assert set(report["attributes"]["age"]["groups"]) <= {
            "18 to 29", "30 to 44", "45 to 61", "62 and over"
        }  # fmt: skip

    def test_groups_under_ten_are_masked_and_nothing_is_said_of_them(self, governed: Governed) -> None:
        assert governed.fairness["attributes"]["sex"]["groups"]["diverse"] == {"masked": True}
        assert not any(alarm["group"] == "diverse" for alarm in governed.fairness["alarms"])
        assert not any("diverse" in name for name in fairness_metrics(governed.fairness))

    def test_only_customers_who_agreed_to_profiling_are_measured(self, governed: Governed) -> None:
        refusing = len([number for number in range(CUSTOMERS) if number % 7 == 3])
        assert governed.fairness["customers"] == CUSTOMERS - refusing
        sizes = [group.get("customers", 0) for group in governed.fairness["attributes"]["sex"]["groups"].values()]
        assert 0 < governed.fairness["customers"] - sum(sizes) < 5  # the masked

    def test_shares_of_the_families_add_up_to_one(self, governed: Governed) -> None:
        group = governed.fairness["attributes"]["sex"]["groups"]["female"]
        families = {name: entry for name, entry in group["exposure"].items() if name not in ("credit", "investment")}
        assert set(families) == {"savings", "card", "loan", "mortgage"} | {"fund", "pension"} & set(families)
        for column in ("share", "candidates"):
            assert sum(entry[column]["mean"] for entry in families.values()) == pytest.approx(1)
        credit = sum(families[name]["share"]["mean"] for name in ("card", "loan", "mortgage"))
        assert group["exposure"]["credit"]["share"]["mean"] == pytest.approx(credit)

    def test_a_group_by_lot_is_within_its_intervals(self, governed: Governed) -> None:
        values = governed.fairness["attributes"]["sex"]
        (other,) = {"female", "male"} - {values["reference"]}
        group = values["groups"][other]
        assert group["exposure"]["credit"]["ratio"]["low"] < 1 < group["exposure"]["credit"]["ratio"]["high"]
        assert group["probe"]["auc"]["low"] < 0.5 < group["probe"]["auc"]["high"]
        assert "ratio" not in values["groups"][values["reference"]]["exposure"]["credit"]

    def test_a_second_time_gives_the_same_and_json_can_hold_it(self, governed: Governed) -> None:
        again = measure_fairness(
            governed.selection, governed.outcome.split, governed.home.path, governed.pack, CONFIG.fairness, 3
        )
        assert json.dumps(again) == json.dumps(governed.fairness)

    def test_without_protected_columns_in_the_pack_there_are_no_groups(self, governed: Governed) -> None:
        pack = governed.pack.model_copy(update={"credit": CreditPolicy()})
        report = measure_fairness(
            governed.selection, governed.outcome.split, governed.home.path, pack, CONFIG.fairness, 3
        )
        assert (report["attributes"], report["alarms"], report["steering"]) == ({}, [], None)

    def test_plot_is_written_with_groups_and_without(self, governed: Governed, tmp_path: Path) -> None:
        for name, report in {"some": governed.fairness, "none": {**governed.fairness, "attributes": {}}}.items():
            plot_fairness(report, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


class TestGroups:
    """Columns as groups."""

    @staticmethod
    def dataset(path: Path, **columns: object) -> Dataset:
        path.mkdir()
        rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
        frame = pl.DataFrame({"customer_id": [f"c{number}" for number in range(rows)], **columns})
        early = pl.lit(NOW - timedelta(days=9)).dt.cast_time_unit("ms").alias("event_timestamp")
        frame.with_columns(early).write_parquet(path / "customers.parquet")
        for table in ("products", "events"):
            pl.DataFrame({"x": [1]}).write_parquet(path / f"{table}.parquet")
        (path / "dataset.yaml").write_text("name: groups\n")
        return Dataset.open(path)

    def test_ages_come_from_numbers_and_from_dates_of_birth_alike(self, tmp_path: Path) -> None:
        years = [17, 18, 29, 30, 44, 45, 61, 62, None]
        born = [None if year is None else (NOW - timedelta(days=year * 365.25 + 1)).date() for year in years]
        expected = ["under 18", "18 to 29", "18 to 29", "30 to 44", "30 to 44", "45 to 61", "45 to 61", "62 and over"]
        ids = [f"c{number}" for number in range(9)]
        dataset = self.dataset(tmp_path / "data", age=years, birth_date=born)
        found = read_attributes(dataset, ids, NOW, BANK.credit, 30).found
        assert [attribute.name for attribute in found] == ["age", "birth_date"]
        for attribute in found:
            assert attribute.labels.tolist() == [*expected, None], attribute.name

    def test_the_latest_row_at_the_instant_counts_and_strangers_are_unknown(self, tmp_path: Path) -> None:
        dataset = self.dataset(tmp_path / "data", sex=["f", "m", " "])
        late = pl.read_parquet(dataset.path / "customers.parquet").with_columns(
            sex=pl.lit("x"), event_timestamp=pl.lit(NOW + timedelta(seconds=1)).dt.cast_time_unit("ms")
        )
        folder = dataset.path / "customers"
        folder.mkdir()
        (dataset.path / "customers.parquet").rename(folder / "a.parquet")
        late.with_columns(extra=pl.lit(1)).write_parquet(folder / "b.parquet")
        (sex,) = read_attributes(dataset, ["c1", "c2", "stranger", "c0"], NOW, BANK.credit, 30).found
        assert sex.labels.tolist() == ["m", None, None, "f"]


class TestProbe:
    """On embeddings whose answer is known."""

    def test_an_attribute_in_the_embedding_is_found_and_a_lot_is_not(self) -> None:
        rng = np.random.default_rng(0)
        labels = np.where(rng.random(400) < 0.4, "old", "young").astype(object)
        vectors = rng.normal(0, 1, (400, 8))
        told = probe(vectors, labels, FairnessConfig())
        assert told["old"]["auc"].low < 0.5 < told["old"]["auc"].high
        vectors[:, 3] += 2.0 * (labels == "old")
        told = probe(vectors, labels, FairnessConfig())
        # two normals 2 apart are told with Phi(2 / sqrt(2)) = 0.921
        assert told["old"]["auc"].mean == pytest.approx(0.921, abs=0.03)
        assert abs(told["old"]["chance"] - 0.5) < 0.06
        assert told["old"]["auc"].mean == pytest.approx(told["young"]["auc"].mean)

    def test_small_groups_and_the_unknown_are_left_out(self) -> None:
        rng = np.random.default_rng(0)
        labels = np.array(["a"] * 50 + ["b"] * 50 + ["c"] * 9 + [None] * 5, object)
        assert set(probe(rng.normal(0, 1, (114, 4)), labels, FairnessConfig())) == {"a", "b"}
        assert probe(rng.normal(0, 1, (59, 4)), labels[50:109], FairnessConfig()) == {}


class TestSteering:
    """Three loans of one type, dear, cheap and dearest, and a mortgage."""

    PRODUCTS = ProductFacts.from_frame(
        pl.DataFrame(
            {
                "product_id": ["dear", "cheap", "dearest", "mortgage"],
                "category": ["personal_loan"] * 3 + ["mortgage"],
                "rate": [6.0, 5.0, 7.0, 9.0],
                "is_credit": [True] * 4,
            }
        )
    )

    def audience(self, allowed: list[list[bool]], choosable: list[list[bool]]) -> Audience:
        return Audience(
            customer_ids=[str(row) for row in range(len(allowed))],
            now=NOW,
            columns=pl.DataFrame(),
            products=self.PRODUCTS,
            policy=PolicyEngine(BANK),
            allowed=np.array(allowed),
            choosable=np.array(choosable),
        )

    def test_pairs_are_counted_where_both_may_be_chosen(self) -> None:
        everything, none_cheap = [True] * 4, [True, False, False, True]
        audience = self.audience([[False, True, False, True], none_cheap], [everything, none_cheap])
        scores = np.array([[3.0, 2.0, 1.0, 9.0], [5.0, 1.0, 2.0, 9.0]])
        found = measure_steering(audience, scores, np.array([[3, 1], [3, 0]]))
        assert found is not None
        assert found.pairs.tolist() == [3, 0]  # dear-cheap, dearest-cheap, dearest-dear; the second has no choice
        assert found.ranked.tolist() == [1, 0]
        assert found.shown.tolist() == [0, 0]

    def test_a_list_in_which_the_costlier_one_stands_is_counted(self) -> None:
        audience = self.audience([[True] * 4], [[True] * 4])
        found = measure_steering(audience, np.array([[3.0, 2.0, 1.0, 0.0]]), np.array([[0, 1, -1]]))
        assert found is not None
        assert found.shown.tolist() == [1]

    def test_without_the_rule_or_without_variants_there_is_nothing_to_measure(self) -> None:
        audience = self.audience([[True] * 4], [[True] * 4])
        free = without_steering(BANK)
        assert free.rule("CRED_STEERING") is None
        assert len(free.rules) == len(BANK.rules) - 1
        scores, ranked = np.zeros((1, 4)), np.array([[0]])
        nobody = Audience(**{**vars(audience), "policy": PolicyEngine(free)})
        assert measure_steering(nobody, scores, ranked) is None

    def test_audience_may_choose_what_only_steering_keeps_away(self, governed: Governed) -> None:
        split = governed.outcome.split
        audience = draw_audience(split.dataset, governed.home.path, split.catalogue, governed.pack, 50)
        assert len(audience) == 50
        assert (audience.choosable | ~audience.allowed).all()


def entry(ratio: tuple[float, float, float], p: float, expected: float) -> dict[str, object]:
    interval = dict(zip(("mean", "low", "high"), ratio, strict=True)) | {"n": 100}
    return {"ratio": interval, "candidates_ratio": interval, "p": p, "expected": expected}


def test_alarms_are_certain_only_where_chance_does_not_explain_them_among_all_comparisons() -> None:
    below, fair = entry((0.7, 0.5, 0.79), 0.03, 50), entry((0.9, 0.8, 1.0), 0.9, 50)
    groups = {f"g{number}": {"exposure": {"credit": below}} for number in range(5)}
    groups |= {f"fair {number}": {"exposure": {"credit": fair}} for number in range(40)}
    groups["far"] = {"exposure": {"credit": entry((0.2, 0.1, 0.3), 1e-9, 50)}}
    groups["rare"] = {"exposure": {"fund": entry((0.0, 0.0, 0.0), 1e-9, 1)}}
    groups["masked"] = {"masked": True}  # type: ignore[dict-item]
    found = _alarms({"a": {"groups": groups}}, 0.8)
    assert found[0]["group"] == "far"
    assert [alarm["certain"] for alarm in found] == [True, *[False] * 5]
    assert {alarm["group"] for alarm in found} == {"far", *(f"g{number}" for number in range(5))}
    lonely = _alarms({"a": {"groups": {"one": {"exposure": {"credit": below}}}}}, 0.8)
    assert lonely[0]["certain"]
    assert _alarms({}, 0.8) == []
