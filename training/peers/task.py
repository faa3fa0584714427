"""One benchmark task: what is known, what is asked, and how it travels to the process of each method."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.peers.interactions import Asked, Interactions, Items, Lesson, Questions
from training.ragged import Ragged

_LESSON, _EXAM, _ITEMS, _FLAGS, _NAMES = "lesson.npz", "exam.npz", "items.npz", "flags.npz", "names.json"


@dataclass(frozen=True)
class Task:
    """What every method gets."""

    k: int
    customer_ids: list[str]
    """U ids."""
    product_ids: list[str]
    """P ids, in the catalogue's order."""
    lesson: Lesson | None
    """For tuning; None where the dataset has no validation questions."""
    exam: Lesson
    items: Items
    flags: dict[str, np.ndarray]
    """Name to [Q] bool: slices of the exam's questions."""

    @property
    def asked_ids(self) -> list[str]:
        """Q ids of the exam's customers."""
        return [self.customer_ids[row] for row in self.exam.questions.asked.customer]

    def save(self, folder: Path) -> None:
        """Writes the task; the folder must be new."""
        folder.mkdir(parents=True)
        names = {"k": self.k, "customer_ids": self.customer_ids, "product_ids": self.product_ids}
        (folder / _NAMES).write_text(json.dumps(names))
        if self.lesson is not None:
            np.savez(folder / _LESSON, allow_pickle=False, **_arrays(self.lesson))
        np.savez(folder / _EXAM, allow_pickle=False, **_arrays(self.exam))
        spaces = {f"space:{name}": vectors for name, vectors in self.items.spaces.items()}
        np.savez(folder / _ITEMS, allow_pickle=False, numbers=self.items.numbers, **spaces)
        np.savez(folder / _FLAGS, allow_pickle=False, **self.flags)

    @classmethod
    def load(cls, folder: Path) -> "Task":
        """Reads what `save` wrote."""
        names: dict[str, Any] = json.loads((folder / _NAMES).read_text())
        shape = (len(names["customer_ids"]), len(names["product_ids"]))
        lesson = folder / _LESSON
        items, flags = _read(folder / _ITEMS), _read(folder / _FLAGS)
        spaces = {name.removeprefix("space:"): array for name, array in items.items() if name != "numbers"}
        return cls(
            lesson=_lesson(_read(lesson), shape) if lesson.exists() else None,
            exam=_lesson(_read(folder / _EXAM), shape),
            items=Items(spaces, items["numbers"]),
            flags=flags,
            **names,
        )


def _arrays(lesson: Lesson) -> dict[str, np.ndarray]:
    known, questions = lesson.known, lesson.questions
    return {
        "known_customer": known.customer,
        "known_product": known.product,
        "known_weight": known.weight,
        "known_time": known.time,
        "customer": questions.asked.customer,
        "now": questions.asked.now,
        "allowed": np.packbits(questions.allowed, axis=1),
        "relevant_offsets": questions.relevant.offsets,
        "relevant_values": questions.relevant.values,
    }


def _lesson(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> Lesson:
    customer, product, weight, time = (arrays[f"known_{name}"] for name in ("customer", "product", "weight", "time"))
    known = Interactions(customer, product, weight, time, *shape)
    questions = Questions(
        asked=Asked(arrays["customer"], arrays["now"]),
        allowed=np.unpackbits(arrays["allowed"], axis=1, count=shape[1]).astype(bool),
        relevant=Ragged(arrays["relevant_offsets"], arrays["relevant_values"]),
    )
    return Lesson(known, questions)


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
