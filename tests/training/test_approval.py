"""Who may promote what: the rules, then the registry of a run that was trained for real."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys.bundle import Bundle
from recsys.cli.app import main
from recsys.errors import ModelError
from recsys.home import Home
from tests.training.conftest import Governed
from training.approval import (
    GATE_PASSED,
    GATE_REFUSED,
    GATE_WAITS,
    ApprovalError,
    Signatures,
    require_other,
    require_passed,
)
from training.card_text import DESCRIPTION_LIMIT, render_card
from training.tracking import REGISTERED_MODEL, RegisteredVersion, Tracker

Register = Callable[..., RegisteredVersion]
Capture = pytest.CaptureFixture[str]


def cli(governed: Governed, *arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["--home", str(governed.home.path), *arguments])
    return int(exit_info.value.code or 0)


def tags(governed: Governed, version: str) -> dict[str, str]:
    return dict(Tracker(governed.home.path)._client.get_model_version(REGISTERED_MODEL, version).tags)


class TestRules:
    """Names and gates."""

    @pytest.mark.parametrize("approver", ["ann", " Ann ", "ANN"])
    def test_the_trainer_in_any_spelling_may_not_approve(self, approver: str) -> None:
        with pytest.raises(ApprovalError, match="somebody else must approve"):
            require_other(approver, "Ann")

    def test_nobody_may_not_approve(self) -> None:
        with pytest.raises(ApprovalError, match="is empty"):
            require_other("  ", "Ann")

    @pytest.mark.parametrize("gate", [GATE_REFUSED, None, "passed?"])
    def test_approval_cannot_replace_the_gate(self, gate: str | None) -> None:
        with pytest.raises(ApprovalError, match="did not pass its gate"):
            require_passed("3", gate)

    @pytest.mark.parametrize(
        ("approver", "needed", "passed", "gate", "complete"),
        [
            (None, False, True, GATE_PASSED, True),
            (None, True, True, GATE_WAITS, False),
            ("Bob", True, True, GATE_PASSED, True),
            ("Bob", True, False, GATE_REFUSED, True),
            (None, True, False, GATE_REFUSED, False),
        ],
    )
    def test_gate_says_whether_somebody_is_still_needed(
        self, approver: str | None, needed: bool, passed: bool, gate: str, complete: bool
    ) -> None:
        signatures = Signatures("Ann", approver, needed).checked()
        assert (signatures.gate(passed), signatures.complete) == (gate, complete)


class TestRegistry:
    """What stands in MLflow. Versions of one registry, oldest first."""

    def test_without_the_packs_wish_a_passed_version_is_champion_at_once(
        self, governed: Governed, register: Register
    ) -> None:
        made = register()
        assert (made.promoted, made.gate) == (True, GATE_PASSED)
        assert Tracker(governed.home.path).version_of() == made.version
        found = tags(governed, made.version)
        assert (found["gate"], found["trainer"]) == (GATE_PASSED, "Ann")
        assert "promoted_at" in found
        assert not {"approver", "approved_at"} & set(found)

    def test_with_the_packs_wish_it_waits_until_somebody_else_promotes_it(
        self, governed: Governed, register: Register, capsys: Capture
    ) -> None:
        before, made = register(), register(needs_approver=True)
        tracker = Tracker(governed.home.path)
        assert (made.promoted, made.gate, tags(governed, made.version)["gate"]) == (False, GATE_WAITS, GATE_WAITS)
        assert (tracker.version_of(), tracker.version_of("challenger")) == (before.version, made.version)
        assert tracker.waiting() == made.version
        assert cli(governed, "promote", made.version, "--approver", "ann") == 1
        assert "somebody else must approve" in capsys.readouterr().err
        assert tracker.version_of() == before.version
        assert cli(governed, "promote", "challenger", "--approver", "Bob", "--json") == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["version"], answer["trainer"], answer["approver"]) == (made.version, "Ann", "Bob")
        found = tags(governed, made.version)
        assert (found["gate"], found["approver"]) == (GATE_PASSED, "Bob")
        assert found["approved_at"] == found["promoted_at"] == answer["approved_at"]
        assert tracker.version_of() == made.version
        assert tracker.waiting() is None

    def test_an_approver_at_training_promotes_at_once_and_is_recorded(
        self, governed: Governed, register: Register
    ) -> None:
        made = register(approver="Bob", needs_approver=True)
        assert made.promoted
        assert tags(governed, made.version)["approver"] == "Bob"
        assert Tracker(governed.home.path).card(made.version)["approval"]["approver"] == "Bob"

    def test_a_refused_version_is_nobodys_to_promote(
        self, governed: Governed, register: Register, capsys: Capture
    ) -> None:
        before, made = register(), register(passed=False, approver="Bob", needs_approver=True)
        assert not made.promoted
        assert "approver" not in tags(governed, made.version)
        assert Tracker(governed.home.path).card(made.version)["approval"]["approver"] is None
        assert cli(governed, "promote", made.version, "--approver", "Cy") == 1
        assert "did not pass its gate" in capsys.readouterr().err
        assert Tracker(governed.home.path).version_of() == before.version

    def test_an_earlier_version_that_passed_is_the_way_back(self, governed: Governed, register: Register) -> None:
        first, second = register(), register()
        assert Tracker(governed.home.path).version_of() == second.version
        assert cli(governed, "promote", first.version, "--approver", "Bob") == 0
        assert Tracker(governed.home.path).version_of() == first.version

    def test_a_version_of_other_features_is_not_promoted(
        self, governed: Governed, register: Register, capsys: Capture
    ) -> None:
        before, made = register(), register(needs_approver=True)
        Tracker(governed.home.path)._client.set_tag(made.run_id, "schema_hash", "0" * 16)
        assert cli(governed, "promote", made.version, "--approver", "Bob") == 1
        assert "feature schema 0000000000000000" in capsys.readouterr().err
        assert Tracker(governed.home.path).version_of() == before.version

    @pytest.mark.parametrize("verb", [["promote", "99", "--approver", "Bob"], ["model-card", "99"]])
    def test_an_unknown_version_is_a_plain_error(
        self, governed: Governed, register: Register, verb: list[str], capsys: Capture
    ) -> None:
        register()
        assert cli(governed, *verb) == 1
        assert "has no version 99 of the model" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize("verb", [["promote", "1", "--approver", "Bob"], ["model-card"]])
    def test_an_empty_home_stays_empty(self, tmp_path: Path, verb: list[str], capsys: Capture) -> None:
        with pytest.raises(SystemExit) as exit_info:
            main(["--home", str(tmp_path / "home"), *verb])
        assert exit_info.value.code == 1
        assert "nothing was trained" in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "home").exists()

    def test_who_asks_for_a_champion_where_none_passed_is_told_so(self, tmp_path: Path, governed: Governed) -> None:
        tracker = Tracker(tmp_path)
        with tracker.run("tiny", "tiny"):
            tracker.register(governed.record(False, Signatures("Ann", None, needs_approver=False)))
        with pytest.raises(ModelError, match="no version passed its gate"):
            tracker.bundle_folder()

    def test_where_none_passed_lists_are_by_popularity(
        self, tmp_path: Path, governed: Governed, capsys: Capture
    ) -> None:
        home, out = Home(tmp_path / "home"), tmp_path / "lists.parquet"
        shutil.copytree(governed.home.path, home.path, ignore=shutil.ignore_patterns("mlflow"))
        tracker, dataset = Tracker(home.path), str(governed.dataset.path)
        signatures = Signatures("Ann", None, needs_approver=False)
        for number in ("1", "2"):
            with tracker.run("tiny", "tiny"):
                tracker.register(governed.record(False, signatures))
            assert tracker.refused() == number
        with pytest.raises(SystemExit) as exit_info:
            main(["--home", str(home.path), "recommend", dataset, "--k", "2", "--out", str(out)])
        assert exit_info.value.code in (0, None)
        assert "no version passed its gate" in " ".join(capsys.readouterr().err.split())
        lists = pl.read_parquet(out)
        assert set(lists["mode"]) == {"popular"}
        bundle = Bundle.load(governed.outcome.folder)
        ids = bundle.products["product_id"].to_list()
        people = pl.read_parquet(governed.dataset.path / "customers.parquet").sort("event_timestamp")
        segments = dict(people.select("customer_id", "segment").iter_rows())  # the latest row's
        consents = pl.read_parquet(governed.dataset.path / "consents.parquet").filter(purpose="profiling")
        agreed = dict(consents.sort("event_timestamp").select("customer_id", "granted").iter_rows())
        assert {agreed.get(customer) for customer in lists["customer_id"]} >= {True, False}
        for customer, product, score in lists.select("customer_id", "product_id", "score").iter_rows():
            segment = segments[customer] if agreed.get(customer) else None  # who refused: what everybody likes
            assert score == pytest.approx(bundle.product_popularity.scores(segment)[ids.index(product)])
        with tracker.run("tiny", "tiny"):
            tracker.register(governed.record(True, signatures))
        assert tracker.refused() is None

    def test_who_asks_for_a_champion_that_waits_is_told_how(self, tmp_path: Path, governed: Governed) -> None:
        tracker = Tracker(tmp_path)
        with pytest.raises(ModelError, match="train one with"):
            tracker.bundle_folder()
        with tracker.run("tiny", "tiny"):
            made = tracker.register(governed.record(True, Signatures("Ann", None, needs_approver=True)))
        with tracker.run("tiny", "tiny"):  # a later one that the gate refused does not make it disappear
            tracker.register(governed.record(False, Signatures("Ann", None, needs_approver=True)))
        assert (tracker.refused(), tracker.waiting()) == (None, made.version)
        with pytest.raises(ModelError, match=f"waits: `recsys promote {made.version} --approver NAME"):
            tracker.bundle_folder()

    def test_who_asks_for_a_champion_whose_alias_was_taken_away_is_told_how(
        self, tmp_path: Path, governed: Governed
    ) -> None:
        tracker = Tracker(tmp_path)
        with tracker.run("tiny", "tiny"):
            made = tracker.register(governed.record(True, Signatures("Ann", None, needs_approver=False)))
        tracker._client.delete_registered_model_alias("recommender", "champion")
        assert tracker.refused() is None
        with pytest.raises(ModelError, match=f"any more: `recsys promote {made.version} --approver NAME"):
            tracker.bundle_folder()


class TestCard:
    """The model card of a registered version."""

    def test_card_says_what_the_run_knows(self, governed: Governed, register: Register) -> None:
        made = register(needs_approver=True)
        card = Tracker(governed.home.path).card(made.version)
        assert card["model"]["version"] == made.version
        assert card["data"]["dataset"] == "tiny-bank"
        assert card["policy"] == f"bank@{governed.pack.version}"
        assert [column["key"] for column in card["refused_columns"]] == [c.key for c in governed.outcome.refused]
        assert card["metrics"]["methods"] == governed.outcome.evaluation.report["methods"]
        assert card["metrics"]["slices"] == governed.outcome.evaluation.report["slices"]
        assert "segment" in card["features"]["customers"]["profile"]
        assert card["architecture"]["second_stage"]["chosen"] == "towers"
        assert set(card["fairness"]["attributes"]) == {"age", "sex", "occupation"}
        assert any("name" in limit and "different values" in limit for limit in card["limits"])
        assert card["approval"] == {
            "gate": GATE_WAITS,
            "trainer": "Ann",
            "needs_approver": True,
            "approver": None,
            "approved_at": None,
        }

    def test_card_is_printed_logged_and_described_and_knows_its_approver_afterwards(
        self, governed: Governed, register: Register, capsys: Capture
    ) -> None:
        made = register(needs_approver=True)
        assert cli(governed, "model-card", made.version) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"# Model card: recommender version {made.version}\n")
        assert "| Approved by | nobody yet |" in text
        assert "- `customer_profile__age` (protected: age)" in text
        assert "| sex: diverse | < 10 | masked | masked | masked | masked |" in text
        assert cli(governed, "promote", made.version, "--approver", "Bob | Risk") == 0
        capsys.readouterr()
        assert cli(governed, "model-card") == 0
        text = capsys.readouterr().out
        assert "| Approved by | Bob \\| Risk, 20" in text
        client = Tracker(governed.home.path)._client
        described = client.get_model_version(REGISTERED_MODEL, made.version).description
        assert len(described) <= DESCRIPTION_LIMIT
        assert described.splitlines()[:6] == text.splitlines()[:6]
        files = {item.path for item in client.list_artifacts(made.run_id)}
        assert {"model_card.md", "model_card.json", "gate.json"} <= files
        assert {"evaluation/fairness.json", "evaluation/fairness.png"} <= {
            item.path for item in client.list_artifacts(made.run_id, "evaluation")
        }
        run = client.get_run(made.run_id).data
        assert run.tags["refused_columns"] == "customer_profile__age, customer_profile__occupation"
        reference = governed.fairness["attributes"]["sex"]["reference"]
        other = "male" if reference == "female" else "female"
        ratio = governed.fairness["attributes"]["sex"]["groups"][other]["exposure"]["credit"]["ratio"]
        assert run.metrics[f"fairness.sex.{other}.credit_ratio"] == pytest.approx(ratio["mean"])

    def test_card_says_what_copies_without_a_modality_are_worth(self, governed: Governed, register: Register) -> None:
        made = register()
        card = Tracker(governed.home.path).card(made.version)
        assert "with one modality missing" not in render_card(card)
        ahead = {"mean": 0.074, "low": 0.049, "high": 0.097, "n": 529}
        row = {"plain": 0.363, "copies": 0.437, "copies_minus_plain": ahead}
        tried = {"learned_from_copies": True, "missing": {"profile": row}}
        card["architecture"]["second_stage"]["one_missing_ndcg@10"] = tried
        text = render_card(card)
        assert "Some questions were learned from once more with one modality missing." in text
        assert "| profile | 0.363 | 0.437 | 0.074 [0.049, 0.097] |" in text
        tried["learned_from_copies"] = False
        assert "No question was learned from once more" in render_card(card)

    def test_card_as_json_is_the_card(self, governed: Governed, register: Register, capsys: Capture) -> None:
        made = register()
        assert cli(governed, "model-card", "--json") == 0
        assert json.loads(capsys.readouterr().out) == Tracker(governed.home.path).card(made.version)


def test_fairness_of_the_champion_is_printed_and_written(
    governed: Governed, register: Register, tmp_path: Path, capsys: Capture
) -> None:
    register()
    file = tmp_path / "out" / "fairness.json"
    assert cli(governed, "fairness", str(governed.dataset.path), "--json", str(file)) == 0
    report = json.loads(file.read_text())
    assert report["attributes"]["sex"]["groups"]["diverse"] == {"masked": True}
    assert report["k"] == 10
    said = " ".join(capsys.readouterr().err.split())
    assert "tiny-bank under policy bank@" in said
    assert "sex (protected)" in said
    assert "latitude: not compared" in said
    assert cli(governed, "fairness", str(governed.dataset.path), "--json", str(tmp_path)) == 1
    assert "is a directory" in capsys.readouterr().err


def test_train_with_its_trainer_as_approver_is_refused_before_anything_is_done(
    governed: Governed, tmp_path: Path, capsys: Capture
) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(SystemExit) as exit_info:
        main(["--home", str(home.path), "train", str(governed.dataset.path), "--trainer", "A", "--approver", "a"])
    assert exit_info.value.code == 1
    assert "somebody else must approve" in capsys.readouterr().err
    assert not home.path.exists()
