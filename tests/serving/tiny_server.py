"""The service over the tiny bank as a process of its own: the real server, journal and store, a scorer of a few lines.

python -m tests.serving.tiny_server HOME PORT
"""

import sys
from pathlib import Path

import uvicorn

from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import SIGNING_KEY, WEIGHTS, MemoryFeatures


def load(settings: Settings) -> Components:
    features, store = MemoryFeatures(), Store(settings.store_url())
    store.create()
    features.plain = {f"c{number}": {SEGMENT: "young"} for number in range(20)}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    return Components(model, features, store)


if __name__ == "__main__":
    app = create_app(Settings(home=Path(sys.argv[1]), secret=SIGNING_KEY), load)
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
