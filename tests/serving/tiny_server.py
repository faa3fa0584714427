"""The service over the tiny bank as a process of its own: the real server, journal and store, a scorer of a few lines.

python -m tests.serving.tiny_server HOME PORT [SECONDS_A_READ]

Where the home has features they are read from, and written to, Feast's online store; else they are in memory.
"""

import sys
from pathlib import Path

from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, FeatureReader, ServedModel
from serving.run import listen, run_app
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import SIGNING_KEY, WEIGHTS, MemoryFeatures


def load(settings: Settings, delay: float) -> Components:
    store = Store(settings.store_url())
    store.create()
    features = reader(settings.home, delay)
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    return Components(model, features, store)


def reader(home: Path, delay: float) -> FeatureReader:
    if (home / "features").exists():
        from serving.features import OnlineFeatures

        online = OnlineFeatures(home)
        online.warm()
        return online
    features = MemoryFeatures()
    features.delay = delay
    features.plain = {f"c{number}": {SEGMENT: "young"} for number in range(20)}
    return features


if __name__ == "__main__":
    delay = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    app = create_app(Settings(home=Path(sys.argv[1]), secret=SIGNING_KEY), lambda settings: load(settings, delay))
    with listen("127.0.0.1", int(sys.argv[2])) as listener:
        run_app(app, listener)
