"""RecTools' SASRec and BERT4Rec, run by the Python of the peers' own environment (`make peers`).

    python sequential.py TASK METHOD OUT

This file stands alone: it imports nothing of the project, because RecTools cannot share the project's environment.
It reads the arrays of `training/peers/task.py`, finds size and epochs on the lesson's answers, trains again on all
that the exam may know, and writes `lists.parquet` (customer_id, product_id, rank, score) and `costs.json`.
"""

import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

GRID: tuple[dict[str, Any], ...] = ({"n_factors": 64}, {"n_factors": 128})
COMMON: dict[str, Any] = {"n_blocks": 2, "n_heads": 2, "session_max_len": 100, "lr": 1e-3, "loss": "softmax"}
STEP, MOST_EPOCHS, PATIENCE = 5, 100, 2
"""Epochs between two looks at the lesson, at most, and looks without a better one."""
MINUTES = 20.0
"""Of tuning, for the whole grid; a run that is stopped by time says so."""
LIST_LENGTH = 1000


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of a lesson or an exam."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def make_dataset(arrays: dict[str, np.ndarray]) -> Any:
    """RecTools' dataset of the known events; times become ranks, so that the strict order is kept exactly."""
    from rectools import Columns
    from rectools.dataset import Dataset

    order = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(arrays["known_time"])), unit="s")
    frame = {
        Columns.User: arrays["known_customer"],
        Columns.Item: arrays["known_product"],
        Columns.Weight: 1.0,
        Columns.Datetime: order,
    }
    return Dataset.construct(pd.DataFrame(frame))


def make_model(method: str, settings: dict[str, Any]) -> Any:
    """SASRec or BERT4Rec that trains on the CPU, quietly, without files."""
    from rectools.models import BERT4RecModel, SASRecModel

    kind = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}[method]
    return kind(**COMMON, **settings, get_trainer_func=make_trainer, deterministic=True, recommend_torch_device="cpu")


def make_trainer() -> Any:
    """Lightning's trainer without logger, checkpoints and bars."""
    from pytorch_lightning import Trainer

    return Trainer(
        max_epochs=STEP,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def recommend(model: Any, dataset: Any, customers: np.ndarray, n_products: int) -> pd.DataFrame:
    """user_id, item_id, score, rank of those customers of whom something is known; what they have is not taken out."""
    known = np.intersect1d(customers, dataset.user_id_map.external_ids)
    k = min(LIST_LENGTH, n_products, dataset.item_id_map.size)
    return model.recommend(known, dataset, k=k, filter_viewed=False, on_unsupported_targets="ignore")


def mean_ndcg(lists: pd.DataFrame, lesson: dict[str, np.ndarray], n_products: int, k: int) -> float:
    """Over the lesson's questions; a customer without a list scores 0."""
    allowed = np.unpackbits(lesson["allowed"], axis=1, count=n_products).astype(bool)
    row = {int(customer): place for place, customer in enumerate(lesson["customer"])}
    scores = np.full(allowed.shape, -np.inf, np.float32)
    scores[lists["user_id"].map(row), lists["item_id"]] = lists["score"]
    scores[~allowed] = -np.inf
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    discounts, total = 1 / np.log2(np.arange(2, k + 2)), 0.0
    for place, items in enumerate(ranked):
        start, end = lesson["relevant_offsets"][place : place + 2]
        relevant = lesson["relevant_values"][start:end]
        hits = np.isin(items, relevant) & np.isfinite(scores[place, items])
        total += hits @ discounts[: len(items)] / discounts[: min(k, len(relevant))].sum()
    return float(total / len(ranked))


def tune(method: str, folder: Path, n_products: int, k: int) -> tuple[dict[str, Any], int, list[dict[str, Any]]]:
    """The settings, the number of epochs with the best NDCG on the lesson, and all that was tried."""
    lesson = read(folder, "lesson")
    dataset = make_dataset(lesson)
    trials: list[dict[str, Any]] = []
    deadline = time.perf_counter() + 60 * MINUTES
    for place, settings in enumerate(GRID):
        share = (deadline - time.perf_counter()) / (len(GRID) - place)
        until, best, best_epochs, epochs = time.perf_counter() + share, -1.0, STEP, 0
        model = make_model(method, settings)
        while epochs < MOST_EPOCHS and epochs - best_epochs < STEP * PATIENCE and time.perf_counter() < until:
            model.fit_partial(dataset, min_epochs=STEP, max_epochs=STEP)
            epochs += STEP
            score = mean_ndcg(recommend(model, dataset, lesson["customer"], n_products), lesson, n_products, k)
            if score > best:
                best, best_epochs = score, epochs
        stopped = time.perf_counter() >= until
        trials.append({**settings, "epochs": best_epochs, "ndcg": round(best, 5), "stopped_by_time": stopped})
    chosen = max(range(len(GRID)), key=lambda place: trials[place]["ndcg"])
    return GRID[chosen], trials[chosen]["epochs"], trials


def main(folder: Path, method: str, out: Path) -> None:
    """Tunes, fits and recommends."""
    from pytorch_lightning import seed_everything

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(0)
    names = json.loads((folder / "names.json").read_text())
    started = time.perf_counter()
    settings, epochs = GRID[0], 5 * STEP
    trials: list[dict[str, Any]] = []
    if (folder / "lesson.npz").exists():
        settings, epochs, trials = tune(method, folder, len(names["product_ids"]), names["k"])
    tuned = time.perf_counter()
    exam = read(folder, "exam")
    dataset, model = make_dataset(exam), make_model(method, settings)
    model.fit_partial(dataset, min_epochs=epochs, max_epochs=epochs)
    fitted = time.perf_counter()
    lists = recommend(model, dataset, exam["customer"], len(names["product_ids"]))
    asked = time.perf_counter()
    frame = pd.DataFrame(
        {
            "customer_id": np.array(names["customer_ids"], object)[lists["user_id"].to_numpy()],
            "product_id": np.array(names["product_ids"], object)[lists["item_id"].to_numpy()],
            "rank": lists["rank"].to_numpy(np.int32),
            "score": lists["score"].to_numpy(np.float32),
        }
    )
    frame.to_parquet(out / "lists.parquet", index=False)
    costs = {
        "settings": {**COMMON, **settings, "epochs": epochs},
        "grid": trials,
        "tune_seconds": tuned - started,
        "fit_seconds": fitted - tuned,
        "recommend_seconds": asked - fitted,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    (out / "costs.json").write_text(json.dumps(costs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
