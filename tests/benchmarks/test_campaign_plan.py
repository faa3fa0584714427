"""How long a plan for many customers takes and how much memory; `CAMPAIGN_TIMES` asks for another size.

    CAMPAIGN_BANK=bank CAMPAIGN_HOME=.recsys pytest tests/benchmarks/test_campaign_plan.py -m benchmark -s

The bank is one of `recsys simulate`, the home one with a champion trained on it: its customers are planned for many
times over, with all their texts, pictures and payments, by the champion with its second stage, its response model and
what the randomised history teaches of uplift.
"""

import os
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

import pytest
import yaml

from recsys.bundle import Bundle
from recsys.campaigns.brief import Brief
from recsys.campaigns.example import example_brief
from recsys.campaigns.plan import describe
from recsys.campaigns.planner import plan_campaign
from tests.benchmarks.tiled_bank import tile_bank
from training.campaign import BankCustomers
from training.tracking import Tracker

NAMES = ("CAMPAIGN_BANK", "CAMPAIGN_HOME")


def brief_of(source: BankCustomers, customers: int) -> Brief:
    values = yaml.safe_load(example_brief(source.as_of))
    channels = [
        {"channel": "email", "cost_per_contact": 0.05, "capacity": customers // 4},
        {"channel": "app", "cost_per_contact": 0.01},
    ]
    changed = {"audience": "everyone", "channels": channels, "budget": customers * 0.004, "limits": {}}
    return Brief.parse({**values, **changed}, source="speed")


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not all(name in os.environ for name in NAMES), reason="needs a bank and a home with a champion")
def test_plan_for_many_customers_is_quick_and_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, home = (Path(os.environ[name]) for name in NAMES)
    dataset, state = tile_bank(bank, home, tmp_path / "tiled", int(os.environ.get("CAMPAIGN_TIMES", "20")))
    bundle = Bundle.load(Tracker(home).bundle_folder())
    before, started, used = _peak(), perf_counter(), process_time()
    source = BankCustomers(dataset, state, bundle, "speed")
    customers = source.count()
    plan = describe(plan_campaign(brief_of(source, customers), source))
    took, used = perf_counter() - started, process_time() - used
    totals = plan.summary["totals"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{customers:,} customers: {took:.1f} s, of the processor {used:.1f} s; peak memory {_peak():.2f} GB "
            f"({before:.2f} before), {totals['contacts']:,} contacts, gap {plan.summary['gap']:.4%}, "
            f"load average {os.getloadavg()[0]:.2f}\n"
        )
    assert totals["contacts"] > customers * 0.1
    assert any(entry["binding"] for entry in plan.summary["constraints"])
    assert plan.summary["gap"] <= 0.01


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
