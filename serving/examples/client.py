"""A worked example: what an app's backend does with the API, in typed Python over httpx.

recsys token --service app --scope recommendations:read --scope events:write
python -m serving.examples.client http://127.0.0.1:8000 TOKEN CUSTOMER
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx

from serving.schemas import (
    EventResponse,
    ItemOut,
    PageResponse,
    PlacementOut,
    RecommendationRequest,
    RecommendationResponse,
)

ATTEMPTS = 4


class RecommendationClient:
    """Asks for recommendations and reports what became of them.

    Args:
        http: has the address and the bearer token; a time-out of its own is wise.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def recommend(self, request: RecommendationRequest) -> RecommendationResponse:
        """The answer. It is asked for with a key, so that a repetition after a time-out is the same decision."""
        headers = {"Idempotency-Key": str(uuid4())}
        body = request.model_dump(mode="json", exclude_none=True)
        return RecommendationResponse.model_validate_json(self._send("POST", "/v1/recommendations", headers, body))

    def more(self, answer: RecommendationResponse, placement: PlacementOut) -> Iterator[ItemOut]:
        """The rest of a placement's ranking, page by page."""
        cursor = placement.next_cursor
        while cursor is not None:
            path = f"/v1/decisions/{answer.decision_id}/items"
            page = PageResponse.model_validate_json(self._send("GET", str(httpx.URL(path, params={"cursor": cursor}))))
            yield from page.placement.items
            cursor = page.placement.next_cursor

    def report(self, event_type: str, customer_id: str, item: ItemOut) -> EventResponse:
        """Says what the customer did with an item; sent twice, it counts once."""
        event = {
            "event_id": str(uuid4()),
            "customer_id": customer_id,
            "event_type": event_type,
            "event_timestamp": datetime.now(UTC).isoformat(),
            "product_id": item.product_id,
            "content_id": item.content_id,
            "tracking_token": item.tracking_token,
        }
        return EventResponse.model_validate_json(self._send("POST", "/v1/events", None, {"events": [event]}))

    def _send(self, method: str, path: str, headers: dict[str, str] | None = None, body: object = None) -> bytes:
        """Tries again where the service says when: too many requests (429), or something is down (503)."""
        for attempt in range(1, ATTEMPTS + 1):
            response = self._http.request(method, path, headers=headers, json=body)
            if response.status_code not in (429, 503) or attempt == ATTEMPTS:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
        response.raise_for_status()
        return response.content


def main(url: str, token: str, customer_id: str) -> None:
    """Asks, shows more of the first placement, and clicks on its first item."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=2.0) as http:
        client = RecommendationClient(http)
        request = {"customer_id": customer_id, "placements": [{"name": "home", "kind": "products", "limit": 3}]}
        answer = client.recommend(RecommendationRequest.model_validate(request))
        home = answer.placements[0]
        for item in [*home.items, *client.more(answer, home)]:
            sys.stdout.write(f"{item.rank:>3} {item.title}: {'; '.join(reason.text for reason in item.reasons)}\n")
        if home.items:
            sys.stdout.write(f"click: {client.report('click', customer_id, home.items[0]).results[0].status}\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
