"""A disk that takes no more bytes, for a real server process: empty answers that say why, and recovery by itself.

The operating system refuses the writes: `prlimit` sets how large a file of the process may grow to nothing, so that
every write fails as it does on a full disk (EFBIG in place of ENOSPC).
"""

import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from serving.store.database import open_store, sqlite_url
from serving.store.decisions import DecisionStore
from serving.store.verification import verify
from serving.testing import bearer, token_of
from tests.serving.test_durability import know, running_server

PROMPT_SECONDS = 0.2
RECOVERY_SECONDS = 5.0
BODY = {"customer_id": "c1", "placements": [{"name": "home", "kind": "products", "limit": 3}]}


def ask(address: str) -> dict[str, object]:
    response = httpx.post(f"{address}/v1/recommendations", json=BODY, headers=bearer(token_of(None)))
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_full_disk_gives_prompt_empty_answers_and_loses_nothing_that_was_shown(tmp_path: Path) -> None:
    with open_store(sqlite_url(tmp_path)) as store:
        know(store, "c1")
    with running_server(tmp_path) as (process, address):
        shown = [ask(address)["decision_id"] for _ in range(3)]
        before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        for number in range(5):
            started = time.perf_counter()
            answer = ask(address)
            assert (answer["mode"], answer["notice"]) == ("safe", "unrecorded")
            assert [place["items"] for place in answer["placements"]] == [[]]  # type: ignore[attr-defined]
            assert time.perf_counter() - started < PROMPT_SECONDS or number == 0
        event = {"event_id": "e1", "customer_id": "c1", "event_type": "click", "product_id": "p03"}
        event["event_timestamp"] = datetime.now(UTC).isoformat()
        refused = httpx.post(f"{address}/v1/events", json=event, headers=bearer(token_of(None)))
        assert refused.status_code == 503  # what is not durable is not acknowledged
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (answer := ask(address))["notice"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        shown.append(answer["decision_id"])
        time.sleep(1.5)
    with running_server(tmp_path), open_store(sqlite_url(tmp_path)) as store:
        logged = {row.decision_id for row in DecisionStore(store).walk()}
        assert set(shown) <= logged
        assert verify(store).finding is None
