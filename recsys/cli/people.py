"""Who trains and who approves, as the command line knows it."""

import getpass
import os
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from recsys.data.contract import Dataset
from recsys.home import Home

if TYPE_CHECKING:
    from training.approval import Signatures
    from training.config import TrainConfig

TrainerOption = Annotated[
    str | None,
    typer.Option("--trainer", envvar="RECSYS_TRAINER", help="Who trains; default: the user of the operating system."),
]


class People(NamedTuple):
    """Names, as they were given."""

    trainer: str
    approver: str | None = None

    @classmethod
    def of_process(cls, trainer: str | None = None, approver: str | None = None) -> "People":
        """With the operating system's user as the trainer where none is named."""
        return cls(trainer if trainer and trainer.strip() else local_user(), approver)


def sign(home: Home, dataset: Dataset, config: "TrainConfig", people: People) -> "Signatures":
    """What the registry will say of a run, before it begins.

    Raises:
        ApprovalError: the approver is the trainer.
        ConfigError: the bank's own policy pack is not valid.
    """
    from recsys.policy.registry import pack_in_force
    from training.approval import Signatures

    pack = pack_in_force(home.path, dataset.config.policy)
    needed = pack.promotion.needs_second_approver or config.gate.needs_second_approver
    return Signatures(people.trainer, people.approver, needed).checked()


def local_user() -> str:
    """The user's name; in a container that has none, his number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
