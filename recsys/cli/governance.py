"""What the verbs of model risk do: fairness of the champion, promotion on approval, model cards."""

from pathlib import Path
from typing import Any

from recsys.cli.workflows import check_schema, open_known
from recsys.errors import ModelError
from recsys.home import Home


def fairness_of_champion(home: Home, directory: Path) -> dict[str, Any]:
    """The fairness report of the champion's selection weights, under the policy in force."""
    from recsys.policy.registry import pack_in_force
    from training.config import TrainConfig
    from training.evaluate import load_selection, load_split
    from training.fairness.report import measure_fairness
    from training.tracking import Tracker

    dataset, config = open_known(home, directory), TrainConfig()
    bundle = load_selection(Tracker(home.path).bundle_folder(), home.path)
    pack = pack_in_force(home.path, dataset.config.policy)
    split = load_split(dataset, home.path)
    return measure_fairness(bundle, split, home.path, pack, config.fairness, config.evaluation.k)


def promote_version(home: Home, version: str, approver: str) -> dict[str, Any]:
    """Makes a version champion on somebody's approval.

    Raises:
        ModelError: there is no such version.
        ApprovalError: it did not pass its gate, or its trainer approves it himself.
        SchemaMismatchError: it was trained on other features than the home holds.
    """
    from training.tracking import Tracker

    require_home(home)
    tracker = Tracker(home.path)
    check_schema(home, tracker.schema_hash(version))
    promoted = tracker.promote(version, approver)
    approval = tracker.card(promoted.version)["approval"]
    return {"version": promoted.version, "run_id": promoted.run_id, "promoted": promoted.promoted, **approval}


def read_model_card(home: Home, version: str) -> tuple[dict[str, Any], str]:
    """The card of a version, as an object and as Markdown.

    Raises:
        ModelError: there is no such version, or it has no card.
    """
    from training.card_text import render_card
    from training.tracking import Tracker

    require_home(home)
    card = Tracker(home.path).card(version)
    return card, render_card(card)


def require_home(home: Home) -> None:
    """Refuses a home in which nothing was trained: asking it must not make one.

    Raises:
        ModelError: nothing was.
    """
    if home.record() is None:
        raise ModelError(f"nothing was trained in {home.path}: run `recsys train DATASET`, or name another --home")
