"""A new champion and a new policy under load: no failed and no mixed answer; a broken one changes nothing."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import mlflow
import orjson
import pytest
from starlette.testclient import TestClient

from recsys.errors import ConfigError, ModelError
from recsys.policy.pack import PolicyPack, load_pack
from recsys.schema import PolicyName
from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.champion import ChampionSource, load_components
from serving.features import OnlineFeatures
from serving.loading import Components, ServedModel
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.reload import RETRY_SECONDS, Reloader
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import (
    SIGNING_KEY,
    WEIGHTS,
    Clock,
    MemoryFeatures,
    Service,
    add_customer,
    bearer,
    confirm_facts,
    token_of,
)
from tests.training.conftest import Governed, governed, register
from training.tracking import RegisteredVersion, tracking_uri

__all__ = ["governed", "register"]
ALL = [{"name": "all", "kind": "products", "limit": 50}]
CLIENTS = 6


class MemorySource:
    """A ModelSource of pipelines made by hand: even versions under the pack `eu`, odd ones under `bank`."""

    def __init__(self, wanted: str = "1") -> None:
        self.wanted = wanted
        self.broken: set[str] = set()
        self.down = False
        self.pack: PolicyPack | ConfigError | None = None
        self.loads = 0

    def champion(self) -> str:
        if self.down:
            raise ModelError("the registry does not answer")
        return self.wanted

    def load(self, version: str) -> ServedModel:
        self.loads += 1
        if version in self.broken:
            raise ModelError("a weight is missing")
        policy = PolicyName.BANK if int(version) % 2 else PolicyName.EU
        return ServedModel(tiny_pipeline(policy), f"test@{version}", MemoryFeatures().manifest.schema_hash, WEIGHTS)

    def catalogue(self) -> int:
        return 0

    def files(self, version: str) -> object:
        return None

    def policy(self, name: PolicyName) -> PolicyPack | None:
        pack, self.pack = self.pack, None
        if isinstance(pack, ConfigError):
            raise pack
        return pack


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()


@pytest.fixture
def reloading(tmp_path: Path, source: MemorySource) -> Iterator[Service]:
    """The running service; it looks for something new as often as it can."""
    settings = Settings(
        home=tmp_path, secret=SIGNING_KEY, reload_seconds=0.01, journal_fsync=False, read_timeout_ms=10_000
    )
    features, store, clock = MemoryFeatures(), Store(settings.store_url()), Clock()
    store.create()
    confirm_facts(store)
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young"}
    components = Components(source.load("1"), features, store, source)
    with TestClient(create_app(settings, lambda _: components, clock), raise_server_exceptions=False) as client:
        yield Service(client, client.app, features, store, clock)  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def served(service: Service) -> str:
    return str(service.client.get("/readyz").json()["versions"]["model"])


def ask_until(service: Service, stop: Event, customer_id: str = "anna") -> list[Any]:
    """The answers to one thread that asks without a pause."""
    answers = []
    while not stop.is_set():
        answers.append(service.ask(customer_id, token_of(None), placements=ALL))
    return answers


def under_load(service: Service, change: Callable[[], None], customer_id: str = "anna") -> list[Any]:
    """All answers that were given while `change` ran."""
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(ask_until, service, stop, customer_id) for _ in range(CLIENTS)]
        try:
            change()
        finally:
            stop.set()
        return [answer for one in running for answer in one.result()]


def test_reload_alias_moves_under_load_no_answer_fails_or_mixes_two_models(
    reloading: Service, source: MemorySource
) -> None:
    def move() -> None:
        for version in ("2", "3", "4", "5"):
            source.wanted = version
            until(lambda wanted=version: served(reloading) == f"test@{wanted}")  # type: ignore[misc]
            time.sleep(0.15)

    answers = under_load(reloading, move)
    assert {answer.status_code for answer in answers} == {200}
    bodies = {body["decision_id"]: body for body in (answer.json() for answer in answers)}
    assert len({body["versions"]["model"] for body in bodies.values()}) >= 4
    packs = {name: load_pack(name) for name in (PolicyName.BANK, PolicyName.EU)}
    rules = {f"{name}@{pack.version}": [rule.id for rule in pack.rules] for name, pack in packs.items()}
    logged = {row.decision_id: orjson.loads(row.record) for row in reloading.logged()}
    assert set(bodies) <= set(logged)
    for decision_id, body in bodies.items():
        record, versions = logged[decision_id], body["versions"]
        even = int(versions["model"].rpartition("@")[2]) % 2 == 0
        assert versions["policy"].startswith("eu@" if even else "bank@")
        assert {name: record["versions"][name] for name in versions} == versions
        assert record["rule_ids"] == rules[versions["policy"]]


def test_reload_broken_champion_is_refused_said_and_healed(reloading: Service, source: MemorySource) -> None:
    source.broken, source.wanted = {"2"}, "2"
    until(lambda: reloading.client.get("/readyz").json().get("detail") is not None)
    ready = reloading.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["detail"].startswith("champion 2 was refused (ModelError): test@1 under bank@")
    assert reloading.ask("anna", token_of("anna")).json()["versions"]["model"] == "test@1"
    text = reloading.client.get("/metrics").text
    assert 'recsys_reload_refused{part="model"} 1.0' in text
    assert 'recsys_model_info{policy="bank@' in text
    loads = source.loads
    time.sleep(0.1)
    assert source.loads == loads == 2  # not at every poll
    source.wanted = "3"
    until(lambda: served(reloading) == "test@3")
    assert reloading.client.get("/readyz").json()["detail"] is None
    text = reloading.client.get("/metrics").text
    assert 'recsys_reload_refused{part="model"} 0.0' in text
    assert 'version="test@1"} 0.0' in text


def test_reload_refused_champion_is_tried_again_after_a_while_and_forgotten_when_withdrawn() -> None:
    source, seconds = MemorySource(), [0.0]
    reloader = Reloader(ModelHolder(source.load("1"), Metrics()), source, Metrics(), timer=lambda: seconds[0])
    source.broken, source.wanted = {"2"}, "2"
    reloader.poll()
    reloader.poll()
    assert source.loads == 2
    seconds[0] = RETRY_SECONDS
    reloader.poll()
    assert source.loads == 3
    source.wanted = "1"
    reloader.poll()
    assert reloader.detail is None
    assert source.loads == 3


def test_reload_registry_down_serves_on_and_says_so(reloading: Service, source: MemorySource) -> None:
    source.down = True
    until(lambda: "the registry was refused" in (reloading.client.get("/readyz").json()["detail"] or ""))
    assert reloading.ask("anna", token_of("anna")).status_code == 200
    source.down, source.wanted = False, "2"
    until(lambda: served(reloading) == "test@2")


def test_reload_policy_counts_from_the_next_answer_and_an_invalid_one_changes_nothing(
    reloading: Service, source: MemorySource
) -> None:
    bank = load_pack(PolicyName.BANK)
    assert "p09" not in _shown(reloading)
    rules = tuple(rule for rule in bank.rules if rule.id != "LIFE_PAUSED")
    source.pack = bank.model_copy(update={"version": "99", "rules": rules})
    until(lambda: reloading.ask("anna", token_of("anna")).json()["versions"]["policy"] == "bank@99")
    assert "p09" in _shown(reloading)
    source.pack = ConfigError("bank.yaml", "rules: missing")
    until(lambda: (reloading.client.get("/readyz").json()["detail"] or "").startswith("policy pack bank was refused"))
    answer = reloading.ask("anna", token_of("anna")).json()
    assert answer["versions"] == {**answer["versions"], "model": "test@1", "policy": "bank@99"}
    assert 'recsys_reload_refused{part="policy"} 1.0' in reloading.client.get("/metrics").text
    record = orjson.loads(reloading.logged()[-1].record)
    assert record["versions"]["policy"] == "bank@99"


def _shown(service: Service) -> list[str]:
    items = service.ask("anna", token_of("anna"), placements=ALL).json()["placements"][0]["items"]
    return [item["product_id"] for item in items]


def test_reload_of_a_real_registry_under_load(
    governed: Governed, register: Callable[..., RegisteredVersion], tmp_path: Path
) -> None:
    """Real MLflow, real bundles, real feature store: two good versions, then three broken ones."""
    home = governed.home.path
    first, second, broken, unread = (register(passed=False).version for _ in range(4))
    _crown(home, first)
    settings = Settings(
        home=home, secret=SIGNING_KEY, reload_seconds=0.2, database_url=f"sqlite:///{tmp_path / 'store.db'}"
    )
    with TestClient(create_app(settings, load_components), raise_server_exceptions=False) as client:
        service = Service(client, client.app, MemoryFeatures(), client.app.state.services.store, Clock())  # type: ignore

        def move() -> None:
            _crown(home, second)
            until(lambda: served(service).endswith(f"@{second}"))

        answers = under_load(service, move, "c001")
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["versions"]["model"].rpartition("@")[2] for answer in answers} >= {first}
        for version, spoil in ((broken, _cut_short), (unread, _remove)):
            spoil(_bundle(home, version))
            _crown(home, version)
            until(lambda wanted=version: f"champion {wanted} was refused" in _detail(client))  # type: ignore[misc]
            body = client.post(
                "/v1/recommendations", json={"customer_id": "c001", "placements": ALL}, headers=bearer(token_of(None))
            ).json()
            assert body["versions"]["model"].endswith(f"@{second}")
        _crown(home, first)
        until(lambda: served(service).endswith(f"@{first}"))


def test_champion_whose_file_comes_back_is_taken_at_the_next_look(
    governed: Governed, register: Callable[..., RegisteredVersion]
) -> None:
    """Real MLflow and real files, under a clock that stands still: no waiting for the time of the next try."""
    home = governed.home.path
    first, second = (register(passed=False).version for _ in range(2))
    source, metrics = ChampionSource(home, OnlineFeatures(home).schema_hash), Metrics()
    models = ModelHolder(source.load(first), metrics)
    reloader = Reloader(models, source, metrics, timer=lambda: 0.0)
    weights = next(_bundle(home, second).glob("weights*"))
    away = weights.rename(weights.with_name("away"))
    _crown(home, second)
    for _ in range(2):
        reloader.poll()
        assert models.current.registry_version == first
        assert f"champion {second} was refused" in (reloader.detail or "")
    assert metrics.registry.get_sample_value("recsys_reload_refused", {"part": "model"}) == 1
    assert metrics.registry.get_sample_value("recsys_reloads_total", {"part": "model", "result": "refused"}) == 1
    away.rename(weights)
    reloader.poll()
    assert models.current.registry_version == second
    assert reloader.detail is None
    assert metrics.registry.get_sample_value("recsys_reload_refused", {"part": "model"}) == 0


def test_source_other_features_are_refused(governed: Governed, register: Callable[..., RegisteredVersion]) -> None:
    version = register(passed=False).version
    with pytest.raises(ModelError, match="feature schema"):
        ChampionSource(governed.home.path, "another").load(version)


def test_source_own_pack_is_read_when_its_file_changes_and_the_last_good_one_stays(
    governed: Governed, register: Callable[..., RegisteredVersion]
) -> None:
    home = governed.home.path
    version = register(passed=False).version
    source = ChampionSource(home, OnlineFeatures(home).schema_hash)
    pack = source.load(version).pipeline.policy.pack
    name = PolicyName(pack.name)
    assert source.policy(name) == pack
    assert source.policy(name) is None
    folder = home / "packs"
    folder.mkdir()
    try:
        own = folder / f"{name}.yaml"
        own.write_bytes(orjson.dumps({**pack.model_dump(mode="json"), "version": "77"}))  # JSON is YAML
        found = source.policy(name)
        assert found is not None
        assert found.version == "77"
        own.write_text("rules: [")
        with pytest.raises(ConfigError):
            source.policy(name)
        assert source.policy(name) is None
        assert source.load(version).policy_version == f"{name}@77"
    finally:
        (folder / f"{name}.yaml").unlink()
        folder.rmdir()


def _detail(client: TestClient) -> str:
    return client.get("/readyz").json()["detail"] or ""


def _crown(home: Path, version: str) -> None:
    uri = tracking_uri(home)
    mlflow.MlflowClient(uri, uri).set_registered_model_alias("recommender", "champion", version)


def _bundle(home: Path, version: str) -> Path:
    from serving.loading import find_champion

    return find_champion(home, version).folder


def _cut_short(bundle: Path) -> None:
    """The half of a copy."""
    weights = next(bundle.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _remove(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()
