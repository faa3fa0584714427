"""Contacts of a real bank about one product: imported, learned from, and served by its champion."""

from pathlib import Path

import orjson
import pytest

from recsys.data.importers.bank_marketing import FILE
from tests.end_to_end.conftest import run

SOURCE = Path(__file__).parents[2] / "../shared/data/bank_marketing"


@pytest.mark.slow
def test_responses_of_real_contacts_are_learned(tmp_path: Path) -> None:
    if not (SOURCE / FILE).exists():
        pytest.skip("Bank Marketing does not lie in ../shared/data")
    data, home = tmp_path / "contacts", tmp_path / "home"
    assert run("import", "bank-marketing", SOURCE, "--out", data) == 0
    assert run("--home", home, "train", data) == 0
    (report,) = home.glob("mlflow/artifacts/*/artifacts/evaluation/evaluation.json")
    response = orjson.loads(report.read_bytes())["response"]
    assert response["test"]["click"]["auc"] > 0.6
