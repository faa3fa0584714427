"""`recsys benchmark-serving`: how fast the service answers, beside an app that only reads."""

import json
import os
import shutil
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer
from rich.progress import Progress

from recsys.cli.terminal import emit, make_progress
from recsys.home import Home
from recsys.schema import CUSTOMER_ID, Table

if TYPE_CHECKING:
    from serving.benchmarking.bank import BankSize
    from serving.benchmarking.measure import LoadConfig


class StoreChoice(StrEnum):
    """Online stores."""

    SQLITE = "sqlite"
    REDIS = "redis"
    BOTH = "both"


ASKED = 1000
"""Customers who are asked about."""
QUICK = ("loop.epochs=1", "loop.patience=1", "refit=false")
"""What the model knows costs the service nothing, so it learns little."""


def benchmark_serving(
    customers: Annotated[int, typer.Option(min=100, help="In the bank.")] = 50_000,
    products: Annotated[int, typer.Option(min=10, help="In the catalogue.")] = 500,
    contents: Annotated[int, typer.Option(min=10, help="Creatives.")] = 2_000,
    requests: Annotated[int, typer.Option(min=10, help="Of each measurement, all rounds together.")] = 2_000,
    rounds: Annotated[int, typer.Option(min=1, help="The servers take turns so often; ratios are medians.")] = 5,
    overload_seconds: Annotated[float, typer.Option(min=0.1, help="At four times what it can do.")] = 10.0,
    breakages: Annotated[
        bool, typer.Option(help="Break one dependency after the other, and take the time of answers and of recovery.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Make the bank in this directory, and use the one that is there.")
    ] = None,
    store: Annotated[StoreChoice, typer.Option(help="Which online store to measure on.")] = StoreChoice.BOTH,
    file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
) -> None:
    """Start the real server on a large bank, drive it from this process, and a bare FastAPI app beside it.

    One worker, one and eight clients, SQLite and (where redis-server is installed) Redis, all policy and the decision
    log on. The bank is a simulated one many times over; making it takes the most time.

    Example: recsys benchmark-serving --json serving.json

    Example: recsys benchmark-serving --customers 1000 --products 100 --contents 300 --requests 500
    """
    from recsys.cli.workflows import require_writable
    from serving.benchmarking.bank import BankSize
    from serving.benchmarking.measure import LoadConfig

    if file is not None:
        require_writable(file)
    size = BankSize(customers=customers, products=products, contents=contents)
    load = LoadConfig(requests=requests, rounds=rounds, overload_seconds=overload_seconds)
    with TemporaryDirectory() as temporary, make_progress() as progress:
        report = run_benchmark(Path(temporary) if keep is None else keep, (size, load), progress, store, breakages)
    if file is not None:
        unfinished = file.with_name(file.name + ".partial")
        unfinished.write_text(json.dumps(report, indent=1))
        unfinished.replace(file)
    emit(report, False, describe(report))


def run_benchmark(
    folder: Path,
    asked_for: "tuple[BankSize, LoadConfig]",
    progress: Progress,
    store: StoreChoice = StoreChoice.BOTH,
    breakages: bool = False,
) -> dict[str, Any]:
    """Makes what is missing of the bank and its champion, and measures on each online store."""
    from serving.benchmarking.measure import measure_store
    from serving.benchmarking.servers import running_redis

    size, load = asked_for
    home = prepare(folder, size, progress)
    asked = _customers(folder / "bank")
    stores = []
    task = progress.add_task("measuring on sqlite", total=None)
    if store is not StoreChoice.REDIS:
        environment = {"RECSYS_ONLINE_STORE": "sqlite"}
        stores.append(measure_store(home.path, "sqlite", asked, load, environment).to_json())
        if breakages:
            progress.update(task, description="breaking what sqlite stands on")
            stores[-1]["breakages"] = _broken(folder, home, asked, load, environment)
    with running_redis(folder) as address:
        if address is not None and store is not StoreChoice.SQLITE:
            progress.update(task, description="measuring on redis")
            copy = Home(folder / "home-redis")
            shutil.rmtree(copy.path, ignore_errors=True)
            shutil.copytree(home.path, copy.path)
            _materialise_into_redis(copy, address)
            environment = {"RECSYS_ONLINE_STORE": "redis", "RECSYS_REDIS": address}
            stores.append(measure_store(copy.path, "redis", asked, load, environment).to_json())
            if breakages:
                progress.update(task, description="breaking what redis stands on")
                stores[-1]["breakages"] = _broken(folder, copy, asked, load, environment)
    progress.update(task, description="measured", total=1, completed=1)
    return {
        "measured_at": datetime.now(UTC).isoformat(),
        "machine": {"cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[0]},
        "size": size.model_dump(),
        "load": load.model_dump(),
        "stores": stores,
    }


def _broken(
    folder: Path, home: Home, asked: list[str], load: "LoadConfig", environment: dict[str, str]
) -> list[dict[str, Any]]:
    """On a copy of the home: what breaks is mended, but not by everybody who was interrupted."""
    from serving.benchmarking.breakages import measure_breakages

    copy = folder / "home-broken"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(home.path, copy)
    address = environment.get("RECSYS_REDIS")
    port = None if address is None else int(address.rpartition(":")[2])
    found = measure_breakages(copy, asked, max(100, load.requests // load.rounds), environment, port)
    return [one._asdict() | {"opening": one.opening._asdict(), "broken": one.broken._asdict()} for one in found]


def prepare(folder: Path, size: "BankSize", progress: Progress) -> Home:
    """The bank and a home with a champion for it, made unless they are there."""
    from recsys.cli.workflows import load_config, train_and_register
    from serving.benchmarking.bank import write_bank
    from training.tracking import Tracker

    bank, home = folder / "bank", Home(folder / "home")
    done = folder / "ready.json"
    if done.exists() and json.loads(done.read_text()) == size.model_dump():
        return home
    for old in (bank, home.path, bank.with_name("bank.simulated")):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_bank(bank, size, progress)
    trained = train_and_register(home, bank, load_config(None, list(QUICK)), progress)
    Tracker(home.path).crown_unproven(trained["version"])
    done.write_text(json.dumps(size.model_dump()))
    return home


def _materialise_into_redis(home: Home, address: str) -> None:
    from feature_repo.operations import apply_and_materialise
    from feature_repo.settings import StoreSettings

    os.environ["RECSYS_HOME"] = str(home.path)
    apply_and_materialise(home.path, settings=StoreSettings(online_store="redis", redis=address))


def _customers(bank: Path) -> list[str]:
    from recsys.data.contract import Dataset

    rows = Dataset.open(bank).scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique().sort()).collect()
    every = rows[CUSTOMER_ID].to_list()
    return every[:: max(1, len(every) // ASKED)][:ASKED]


def describe(report: dict[str, Any]) -> list[str]:
    """The report as lines."""
    machine = report["machine"]
    lines = [f"{machine['cores']} core(s), load average {machine['load_average']:.2f}; times in ms"]
    for one in report["stores"]:
        lines.append(f"[bold]{one['store']}[/bold]")
        for name in ("service", "bare", "direct"):
            part = one[name]
            lines.append(f"  {name}: ready in {part['ready_seconds']:.1f} s, {part['resident_mb']:.0f} MB resident")
            for clients, timing in part["timings"].items():
                lines.append(
                    f"    {clients} client(s): p50 {timing['p50']:.1f}, p99 {timing['p99']:.1f}, "
                    f"{timing['per_second']:.0f} requests/s, {part['cpu_ms'][clients]:.1f} ms of processor time each, "
                    f"statuses {timing['statuses']}"
                )
        compared = [(name, *item) for name in ("compared", "compared_direct") for item in one[name].items()]
        for name, clients, times in compared:
            against = "bare" if name == "compared" else "direct"
            lines.append(
                f"  {clients} client(s), service against {against}: p50 {times['p50_times']:.1f}x, "
                f"p99 {times['p99_times']:.1f}x, {100 * times['rate_share']:.0f} % of its requests/s, "
                f"{times['cpu_times']:.1f}x its processor time"
            )
        beyond = one["overload"]
        lines.append(
            f"  overload: {beyond['per_second']:.0f} answered/s, statuses {beyond['statuses']}, "
            f"p99 of the answered {beyond['p99']:.0f} ({one['overload_p99_times']:.1f}x of one client's)"
        )
        total = one["stages"]["total"]
        lines.append("  where a request's time goes with one client, mean ms and share:")
        for stage, value in sorted(one["stages"].items(), key=lambda pair: -pair[1]):
            lines.append(f"    {stage:<12} {value:7.2f} {100 * value / total:5.0f} %")
        if "breakages" in one:
            from serving.benchmarking.breakages import describe_breakages

            lines += ["  while a dependency is broken (one client):", *describe_breakages(one["breakages"])]
        lines.append(f"  modes: {', '.join(f'{mode} {count:.0f}' for mode, count in one['answered'].items())}")
    return lines
