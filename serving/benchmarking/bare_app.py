"""What the service is compared with: an app that reads a customer from the same Feast store and returns him as JSON.

It reads as anybody would who follows Feast's documentation (`get_online_features`), or, with `direct`, by the several
times faster path of the service (`serving.features`): then what is measured is all that comes on top of the read.

python -m serving.benchmarking.bare_app HOME PORT feast|direct
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import uvicorn
from fastapi import Body, FastAPI, Response

from feature_repo.operations import open_store
from recsys.features.spec import CUSTOMER_SERVICE, Entity
from serving.features import OnlineFeatures

Read = Callable[[str], Any]


def reader(home: Path, way: str) -> Read:
    """Reads one customer, `feast` or `direct`."""
    if way == "direct":
        return OnlineFeatures(home).read_customer
    store = open_store(home)
    service = store.get_feature_service(CUSTOMER_SERVICE)

    def read(customer_id: str) -> dict[str, Any]:
        rows = [{Entity.CUSTOMER.value: customer_id}]
        found = store.get_online_features(service, rows, full_feature_names=True).to_dict()
        return {name: values[0] for name, values in found.items()}

    return read


def create_bare_app(read_customer: Read) -> FastAPI:
    """The app; the store is open and warm when this returns."""
    read_customer("")
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> Response:
        return Response()

    @app.post("/v1/recommendations")
    async def read(body: Annotated[dict[str, Any], Body()]) -> Response:
        row = read_customer(body["customer_id"])
        return Response(orjson.dumps(row, default=str), media_type="application/json")

    return app


if __name__ == "__main__":
    app = create_bare_app(reader(Path(sys.argv[1]), sys.argv[3]))
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
