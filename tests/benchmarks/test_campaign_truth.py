"""What an allocation is really worth on a simulated bank, beside its peers and the oracle.

    CAMPAIGN_BANK=bank CAMPAIGN_HOME=.recsys pytest tests/benchmarks/test_campaign_truth.py -m benchmark

The bank is one of `recsys simulate` (with `truth/contacts.parquet`), the home one with a champion trained on it.
"""

import os
import sys
from pathlib import Path

import pytest
import yaml

from recsys.campaigns.brief import Brief
from recsys.campaigns.example import example_brief
from recsys.campaigns.holdouts import NONE
from recsys.campaigns.planner import plan_campaign
from recsys.cli.campaign_bank import open_bank
from recsys.home import Home
from tests.campaigns.true_value import plans_of, true_options, worth

NAMES = ("CAMPAIGN_BANK", "CAMPAIGN_HOME")


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not all(name in os.environ for name in NAMES), reason="needs a bank and a home with a champion")
def test_allocation_beats_top_propensity_and_random_by_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    bank, home = (Path(os.environ[name]) for name in NAMES)
    source = open_bank(Home(home), bank)
    brief = Brief.parse(yaml.safe_load(example_brief(source.as_of)), source="example")
    planned = plan_campaign(brief, source)
    options = true_options(planned, bank)
    plans, people = plans_of(planned, options), planned.draft.reach.reachable[NONE]
    lines = [f"{name:<15} {len(plan):>6,} contacts, worth {worth(plan, people)}" for name, plan in plans.items()]
    share = worth(plans["allocation"], people).mean / worth(plans["oracle"], people).mean
    with capsys.disabled():
        sys.stderr.write("\n" + "\n".join([*lines, f"{share:.1%} of the oracle's"]) + "\n")
    for peer in ("top propensity", "random"):
        assert worth(plans["allocation"], people, plans[peer]).low > 0, peer
