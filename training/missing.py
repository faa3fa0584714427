"""Questions about customers of whom something is missing: to measure what it costs, and to learn what to do then.

Trees know what to do where a column is missing only if it was missing while they grew. Towers have dropout for that;
the trees behind them learn from copies of some questions, each with one modality taken away.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsys.modeling.encoding import GROUP_OF_VIEW
from recsys.schema import Modality
from training.queries import Queries


def without(queries: Queries, *modalities: Modality) -> Queries:
    """The same questions with these modalities missing."""
    views = {view for view, group in GROUP_OF_VIEW.items() if group in modalities}
    if Modality.HISTORY in modalities:
        views.add("customer_history")
    gone = [name for name in queries.columns.columns if name.split("__")[0] in views]
    return replace(queries, columns=queries.columns.drop(gone))


def drawn_without(
    queries: Queries, modalities: Sequence[Modality], share: float, seed: int
) -> list[tuple[np.ndarray, Queries]]:
    """Some of the questions, each with one of the modalities missing.

    Args:
        queries: N of them.
        modalities: each is missing in as many.
        share: of the questions, 0 to 1.
        seed: of the draws.

    Returns:
        For each modality, which questions were drawn, [n] int64, and these without it.
    """
    order = np.random.default_rng(seed).permutation(len(queries))[: round(share * len(queries))]
    parts = [np.sort(order[start :: len(modalities)]) for start in range(len(modalities))]
    return [
        (rows, without(queries.take(rows), modality))
        for rows, modality in zip(parts, modalities, strict=True)
        if len(rows)
    ]
