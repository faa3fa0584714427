"""How long a plan for many customers takes and how much memory; `CAMPAIGN_CUSTOMERS` asks for another size.

As in `test_batch_recommendation.py` the model is trained for one epoch on a small bank with the same products.
"""

import os
import resource
import sys
from pathlib import Path
from time import perf_counter

import pytest

from recsys.bundle import Bundle
from recsys.campaigns.brief import Brief
from recsys.campaigns.plan import describe
from recsys.campaigns.planner import plan_campaign
from tests.benchmarks.campaign_bank import write_campaign_bank
from tests.benchmarks.test_batch_recommendation import build_home
from training.campaign import BankCustomers

PRODUCTS = 80


def brief_of(customers: int) -> Brief:
    return Brief.parse(
        {
            "campaign_id": "speed",
            "name": "Speed",
            "objective": "engage",
            "products": "engine",
            "audience": "everyone",
            "channels": [
                {"channel": "email", "cost_per_contact": 0.05, "capacity": customers // 4},
                {"channel": "app", "cost_per_contact": 0.01},
            ],
            "budget": customers * 0.004,
            "starts": "2026-06-02T00:00:00Z",
            "ends": "2026-06-09T00:00:00Z",
            "languages": ["en"],
            "salt": "a salt of some length",
        },
        source="speed",
    )


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_plan_for_many_customers_is_quick_and_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.config import TrainConfig
    from training.train import Training

    customers = int(os.environ.get("CAMPAIGN_CUSTOMERS", "100000"))
    small = write_campaign_bank(tmp_path / "small", 500, PRODUCTS)
    build_home(small, tmp_path / "small-home")
    recipe = TrainConfig.model_validate({"loop": {"epochs": 1}})
    outcome = Training(small, tmp_path / "small-home", recipe, "speed").run()
    large = write_campaign_bank(tmp_path / "large", customers, PRODUCTS)
    seconds = build_home(large, tmp_path / "large-home")
    bundle = Bundle.load(outcome.folder)
    before = _peak()
    started = perf_counter()
    bank = BankCustomers(large, tmp_path / "large-home", bundle, "speed")
    plan = describe(plan_campaign(brief_of(customers), bank))
    took = perf_counter() - started
    totals = plan.summary["totals"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{customers:,} customers: {took:.1f} s (features before that: {seconds:.1f} s), peak memory "
            f"{_peak():.2f} GB ({before:.2f} before), {totals['contacts']:,} contacts, "
            f"gap {plan.summary['gap']:.4%}, load average {os.getloadavg()[0]:.2f}\n"
        )
    assert totals["contacts"] > customers * 0.1
    assert any(entry["binding"] for entry in plan.summary["constraints"])
    assert plan.summary["gap"] <= 0.01


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
