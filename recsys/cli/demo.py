"""`recsys demo`: a bank that does not exist, from nothing to a call that can be copied."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress

from recsys.cli.workflows import load_config, open_dataset, train_and_register
from recsys.data.contract import Dataset
from recsys.features.spec import ViewName
from recsys.home import Home
from recsys.schema import CUSTOMER_ID, Table

_TELLING = (ViewName.CUSTOMER_HISTORY, ViewName.CUSTOMER_TEXT, ViewName.CUSTOMER_IMAGES)
"""Views that not everybody is in."""


def run_demo(home: Home, customers: int, port: int, console: Console, progress: Callable[[], Progress]) -> None:
    """Simulates a bank beside the state, builds, trains and promotes; prints how to ask."""
    from recsys.cli.report import describe_evaluation, describe_registration
    from recsys.simulator import SimulatorConfig, simulate
    from serving.run import listen

    with closing(listen("127.0.0.1", port)):  # a busy port is found now and not after ten minutes
        bank = home.path / "bank"
    console.rule("1/3 a bank that does not exist")
    if not (bank / "dataset.yaml").exists():
        with progress() as bar:
            simulate(SimulatorConfig(customers=customers), bank, bar)
    console.print(f"the bank is in {bank}")
    console.rule("2/3 features, training, evaluation, registration")
    with progress() as bar:
        result = train_and_register(home, bank, load_config(None, []), bar)
    for line in [*describe_evaluation(result["evaluation"]), *describe_registration(result)]:
        console.print(line, highlight=False)
    console.rule("3/3 ask")
    for line in demo_instructions(home, bank, port):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def demo_instructions(home: Home, bank: Path, port: int) -> list[str]:
    """The call to copy, and where to look."""
    from serving.run import page_address
    from training.tracking import tracking_uri

    customer = well_known_customer(open_dataset(home, bank), home.features)
    recsys = f"recsys --home {_relative(home.path)}"
    body = {
        "customer_id": customer,
        "placements": [
            {"name": "home", "kind": "products", "limit": 3},
            {"name": "banner", "kind": "contents", "limit": 1},
        ],
        "channel": "app",
        "locale": "en",
    }
    return [
        "copy and paste, in another terminal:",
        "",
        f"curl -s http://127.0.0.1:{port}/v1/recommendations -H 'content-type: application/json' \\",
        f'  -H "authorization: Bearer $(.venv/bin/{recsys} token --customer {customer})" \\',
        f"  -d '{json.dumps(body)}'",
        "",
        f"his page:          {page_address('127.0.0.1', port, customer)}",
        f"API documentation: http://127.0.0.1:{port}/docs",
        f"experiments:       .venv/bin/mlflow ui --backend-store-uri {tracking_uri(home.path)}",
    ]


def well_known_customer(dataset: Dataset, features: Path) -> str:
    """One who refuses nothing, has every modality and was assessed last: he shows most of what an answer can hold.

    Where nobody is all that, as in a bank of few, the one who comes nearest, by that order.
    """
    from recsys.policy.sources import consent_rows

    refused = consent_rows(dataset).filter(~pl.col("granted"))
    ranks = [~pl.col(CUSTOMER_ID).is_in(_ids(refused))]
    files = [file for view in _TELLING if (file := features / f"{view}.parquet").exists()]
    known = [pl.col(CUSTOMER_ID).is_in(_ids(pl.scan_parquet(file))) for file in files]
    ranks += [pl.sum_horizontal(known)] if known else []
    order = [*ranks, "risk_assessed_at", CUSTOMER_ID]
    customers = dataset.scan(Table.CUSTOMERS)
    best = customers.sort(order, descending=[*[True] * (len(order) - 1), False], nulls_last=True)
    return str(best.select(CUSTOMER_ID).first().collect().item())


def _ids(rows: pl.LazyFrame) -> list[str]:
    return rows.select(pl.col(CUSTOMER_ID).unique()).collect()[CUSTOMER_ID].to_list()


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
