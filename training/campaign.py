"""A bank's dataset and its champion as the planner of campaigns sees them (`recsys.campaigns.source`)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from threadpoolctl import threadpool_limits

from recsys.bundle import Bundle
from recsys.campaigns.bank import DatasetCustomers, Shelf
from recsys.campaigns.brief import Objective, canonical_json
from recsys.campaigns.plan_files import Creatives
from recsys.campaigns.source import Groups, History, Scores
from recsys.data.contract import Dataset
from recsys.decisions.versions import product_version, words_hash
from recsys.policy.facts import BoolArray
from recsys.schema import CONTENT_ID, PRODUCT_ID, Kind
from training.campaign_history import read_history
from training.campaign_responses import Responses
from training.campaign_tones import read_tone_responses
from training.campaign_uplift import learn_uplift
from training.fairness.groups import read_attributes
from training.recommend import BatchRecommender

_MOST_GROUPS: Final = 30


class BankCustomers(DatasetCustomers):
    """The customers of a dataset, judged and scored in batches."""

    def __init__(self, dataset: Dataset, home: Path, bundle: Bundle, fingerprint: str) -> None:
        """`fingerprint` is the dataset's, at hand already: it takes a pass over all files."""
        self.home = home
        self.bundle = bundle
        self.recommend = BatchRecommender(dataset, home, bundle)
        pipeline = self.recommend.pipeline
        shelf = Shelf(pipeline.policy, pipeline.catalogue.products, _contents(bundle))
        super().__init__(dataset, home / "features", shelf)
        self.versions: Mapping[str, str] = {
            "model": bundle.manifest.model_version,
            "policy": f"{self.policy.pack.name} {self.policy.pack.version}",
            "features": self.schema_hash,
            "dataset": fingerprint,
        }

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Within it, matrices are multiplied by one thread, which is also what makes sums the same on every machine."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1, "blas"):
                yield
        finally:
            torch.set_num_threads(before)

    def scores(self, customers: Sequence[str], segments: Sequence[str], allowed: BoolArray) -> Scores:
        """What the champion says of them."""
        everybody = np.zeros(len(customers), dtype=bool)
        known = self.recommend.understand(self.asked(customers), everybody)
        products = self.recommend.scores(known, segments, Kind.PRODUCTS, allowed)
        closely = np.zeros(
            (len(customers), len(self.contents)), dtype=bool
        )  # none: `respond` looks at those that matter
        return Scores(
            products,
            self.recommend.scores(known, segments, Kind.CONTENTS, closely),
            None if self.bundle.response is None else Responses(self.recommend.recommender, known, products),
        )

    def history(self, objective: Objective) -> History:
        """What logged impressions taught."""
        with ThreadPoolExecutor(1) as pool:  # beside each other: most of both is done without the interpreter
            learning = pool.submit(learn_uplift, self.dataset, self.as_of, self.policy.pack.credit)
            found = read_history(self.recommend, objective, self.as_of)
        uplift = learning.result()
        if objective == "engage" and uplift.predict is not None:
            why = "the history's trials are about applications, and this campaign is about clicks"
            uplift = uplift._replace(method="propensity", reason=why, predict=None)
        response = self.bundle.response
        return found._replace(
            uplift=uplift,
            by_responses=response is not None,
            blended=response is not None and response.config.blend is not None,
        )

    def groups(self, customers: Sequence[str]) -> list[Groups]:
        """By the columns that the policy pack keeps from models."""
        found = read_attributes(self.dataset, customers, self.as_of, self.policy.pack.credit, _MOST_GROUPS).found
        return [Groups(attribute.name, attribute.kind, attribute.labels) for attribute in found]

    def creatives(self, used: Sequence[str]) -> Creatives:
        """The copy and pictures of creatives, in the form of a plan's variants."""
        rows = self.contents.filter(pl.col(CONTENT_ID).is_in(list(used))).sort(CONTENT_ID)
        facts = {row[PRODUCT_ID]: product_version(row) for row in self.bundle.products.iter_rows(named=True)}
        variants, images = [], {}
        for row in rows.iter_rows(named=True):
            file = self.dataset.image_file(row["image_path"]) if row.get("image_path") else None
            name = None if file is None else f"{row[CONTENT_ID]}{file.suffix}"
            if file is not None and name is not None:
                images[name] = file
            variants.append(_variant(row, name, file, facts[row[PRODUCT_ID]]))
        return Creatives(variants, images)

    def product_rows(self) -> list[dict[str, Any]]:
        """The catalogue's rows."""
        return self.bundle.products.to_dicts()

    def tone_responses(self) -> pl.DataFrame:
        """Who answered to which tone."""
        return read_tone_responses(self.dataset, self.as_of)


def _contents(bundle: Bundle) -> pl.DataFrame:
    if bundle.contents is not None:
        return bundle.contents
    return pl.DataFrame(schema={CONTENT_ID: pl.String, PRODUCT_ID: pl.String})


def _variant(row: Mapping[str, Any], image: str | None, file: Path | None, product_version: str) -> dict[str, Any]:
    copy = {
        CONTENT_ID: row[CONTENT_ID],
        PRODUCT_ID: row[PRODUCT_ID],
        "product_version": product_version,
        "segment": None,
        "channel": row.get("channel"),
        "language": row.get("language"),
        "tone": row.get("tone"),
        "headline": row.get("headline"),
        "body": row.get("body"),
        "cta": row.get("call_to_action"),
        "disclaimer": row.get("disclaimer"),
        "opt_out": None,
        "image": image,
        "source": "catalogue",
        "machine_made": bool(row.get("ai_generated")),
    }
    picture = None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    digest = hashlib.sha256(canonical_json({**copy, "image": picture}).encode()).hexdigest()
    return {**copy, "content_hash": digest, "words_hash": words_hash(row)}
