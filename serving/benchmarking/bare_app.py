"""What the service is compared with: an app that reads a customer from the same Feast store and returns him as JSON.

It reads by the same fast path as the service (`serving.features`), so that what is measured is all that comes on top.

python -m serving.benchmarking.bare_app HOME PORT
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import uvicorn
from fastapi import Body, FastAPI, Response

from serving.features import OnlineFeatures


def create_bare_app(home: Path) -> FastAPI:
    """The app; the store is open when this returns."""
    features = OnlineFeatures(home)
    features.warm()
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> Response:
        return Response()

    @app.post("/v1/recommendations")
    async def read(body: Annotated[dict[str, Any], Body()]) -> Response:
        row = features.read_customer(body["customer_id"])
        return Response(orjson.dumps(row, default=str), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(create_bare_app(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False)
