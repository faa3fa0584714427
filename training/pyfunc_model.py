"""The registered model, in MLflow's models-from-code style: JSON feature rows in, the best product of each out."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from recsys.bundle import Bundle
from recsys.recommender import Recommender
from recsys.schema import Kind


class RecommenderModel(mlflow.pyfunc.PythonModel):
    """Loads the bundle; `predict` is for checks outside the service, which loads the bundle itself."""

    def load_context(self, context: Any) -> None:
        """Reads the bundle that was logged beside the model."""
        self.recommender = Recommender(Bundle.load(Path(context.artifacts["bundle"])))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Each row's `features` is a JSON object of `<view>__<column>`; returns product_id and score."""
        rows = [json.loads(text) for text in model_input["features"]]
        now = datetime.now(UTC)
        scores = self.recommender.score(self.recommender.encode(rows, [now] * len(rows)), Kind.PRODUCTS)
        best = scores.argmax(axis=1)
        products = [self.recommender.product_ids[row] for row in best]
        return pd.DataFrame({"product_id": products, "score": scores[range(len(rows)), best].astype(float)})


# MLflow runs this file to load the model and reads what it sets: its convention, and why nothing else imports it.
mlflow.models.set_model(RecommenderModel())
