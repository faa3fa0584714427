"""Events of a decision that nobody knows are kept apart, without effect, until it turns up; then they count once."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from recsys.cli.app import main
from recsys.testing.tiny_scorer import NOW
from serving.store.decisions import DecisionEntry, DecisionStore
from serving.store.erasure import erase_customer
from serving.store.quarantine import Quarantine
from serving.store.tables import events, quarantined_events
from serving.testing import SIGNING_KEY, Service, event, token_of
from serving.tokens import Shown, TrackingSigner

LOST = "decision-of-a-lost-disk"


def token(decision_id: str = LOST, product_id: str = "p03") -> str:
    return TrackingSigner(SIGNING_KEY).sign(Shown(decision_id, product_id, None, "home", 1), "anna")


def counts(service: Service) -> tuple[int, int]:
    with service.store.reading() as connection:
        stored = connection.scalar(select(func.count()).select_from(events))
        apart = connection.scalar(select(func.count()).select_from(quarantined_events))
    return stored or 0, apart or 0


def dismissal(event_id: str = "e1", **values: Any) -> dict[str, Any]:
    return event(event_id, "dismiss", None, tracking_token=token(), **values)


def products(service: Service) -> list[str]:
    answer = service.ask("anna", token_of("anna"), placements=[{"name": "all", "kind": "products", "limit": 50}])
    return [item["product_id"] for item in answer.json()["placements"][0]["items"]]


def find_the_decision(service: Service) -> None:
    record, payload = {"decision_id": LOST, "placements": []}, {"customer_id": "anna", "salt": "s"}
    DecisionStore(service.store).append([DecisionEntry.build(record, payload, None, NOW)])


def test_event_of_an_unknown_decision_is_kept_apart_and_has_no_effect(service: Service) -> None:
    before = products(service)
    assert "p03" in before
    body = service.send(token_of("anna"), dismissal(), event("e2", "click", "p01")).json()
    assert [one["status"] for one in body["results"]] == ["quarantined", "accepted"]
    assert (body["accepted"], body["quarantined"]) == (1, 1)
    assert "decision" in body["results"][0]["reason"]
    assert counts(service) == (1, 1)
    assert "p03" in products(service)
    assert 'recsys_events_total{status="quarantined"} 1.0' in service.client.get("/metrics").text


def test_event_sent_again_while_kept_apart_is_kept_once(service: Service) -> None:
    for _ in range(2):
        assert service.send(token_of("anna"), dismissal(), dismissal()).json()["results"][0]["status"] == "quarantined"
    assert counts(service) == (0, 1)


def test_event_counts_once_when_its_decision_turns_up(service: Service) -> None:
    service.send(token_of("anna"), dismissal())
    ingestor = service.app.state.services.ingestor
    assert ingestor.release_quarantined() == 0
    find_the_decision(service)
    service.clock.now = NOW + timedelta(hours=80)  # it was in time when it came
    assert ingestor.release_quarantined() == 1
    service.clock.now = NOW
    assert counts(service) == (1, 0)
    assert "p03" not in products(service)
    assert ingestor.release_quarantined() == 0
    assert service.send(token_of("anna"), dismissal()).json()["results"][0]["status"] == "duplicate"


def test_event_right_after_its_answer_is_not_kept_apart(service: Service) -> None:
    """Its decision is in the journal, and not in the store yet."""
    service.app.state.services.log.flush()
    item = service.ask("anna", token_of("anna")).json()["placements"][0]["items"][0]
    sent = event("e1", "click", None, tracking_token=item["tracking_token"])
    assert service.send(token_of("anna"), sent).json()["results"][0]["status"] == "accepted"


def test_decision_in_another_workers_journal_is_known(service: Service, tmp_path: Path) -> None:
    journal = tmp_path / "journals" / "worker-2"
    journal.mkdir(parents=True)
    (journal / "00000001.journal").write_bytes(b"00000000 " + orjson.dumps([LOST, "anna"]) + b"\n")
    quarantine = Quarantine(service.store, tmp_path / "journals")
    assert quarantine.unknown([LOST, "another"]) == {"another"}


def test_erasure_takes_what_is_kept_apart_too(service: Service) -> None:
    service.send(token_of("anna"), dismissal())
    erase_customer(service.store, "anna")
    assert counts(service) == (0, 0)


def test_quarantine_command_shows_what_is_kept_apart(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.send(token_of("anna"), dismissal())
    with pytest.raises(SystemExit) as ended:
        main(["--home", str(tmp_path), "quarantine", "--json"])
    assert ended.value.code == 0
    shown = orjson.loads(capsys.readouterr().out)
    assert [(one["event_id"], one["decision_id"]) for one in shown["events"]] == [("e1", LOST)]
    with pytest.raises(SystemExit):
        main(["--home", str(tmp_path), "quarantine", "--drop"])
    assert counts(service) == (0, 0)
