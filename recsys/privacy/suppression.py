"""Who was erased, remembered without his name: so that an old copy of the dataset does not bring him back.

The list holds HMAC-SHA256 of each erased id, keyed by the home's secret: whoever has the list but not the secret learns
nothing from it, and whoever has both can only ask about an id that he already knows. It lies in the home; a home that
is deleted is a clean start and forgets it.
"""

import hashlib
import hmac
import os
from functools import cached_property
from typing import Final

import polars as pl

from recsys.data.contract import Dataset, Exclusion
from recsys.errors import HomeError
from recsys.home import Home
from recsys.schema import CUSTOMER_ID, Table

_FILE: Final = "suppressed.txt"
_PURPOSE: Final = b"recsys erasure\0"
"""Keeps these hashes apart from whatever else the secret signs."""
_HEX_DIGITS: Final = 64


class SuppressionList:
    """The erased customers of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.file = home.privacy / _FILE

    def add(self, customer_id: str) -> str:
        """Remembers an erased customer, durably; a second time changes nothing.

        Returns:
            His pseudonym, as the list has it.
        """
        pseudonym = self.pseudonym(customer_id)
        present = self.pseudonyms()
        if pseudonym not in present:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.file.with_suffix(".partial")
            with unfinished.open("w", encoding="ascii") as handle:
                handle.writelines(f"{line}\n" for line in sorted({*present, pseudonym}))
                handle.flush()
                os.fsync(handle.fileno())
            unfinished.replace(self.file)
        return pseudonym

    def pseudonym(self, customer_id: str) -> str:
        """The keyed hash of an id: 64 hex digits."""
        return hmac.digest(self._key, _PURPOSE + customer_id.encode(), hashlib.sha256).hex()

    @cached_property
    def _key(self) -> bytes:
        return self._home.secret().encode()

    def __contains__(self, customer_id: str) -> bool:
        """Whether this customer was erased."""
        present = self.pseudonyms()
        return bool(present) and self.pseudonym(customer_id) in present

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset as if the erased customers were not in it. Costs a pass over the customer ids, if there are any.

        Raises:
            HomeError: the list cannot be read.
        """
        present = self.pseudonyms()
        if not present:
            return dataset
        ids = dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique()).collect(engine="streaming")
        erased = {name: hashed for name in ids[CUSTOMER_ID].to_list() if (hashed := self.pseudonym(name)) in present}
        digest = hashlib.sha256("\n".join(sorted(erased.values())).encode()).hexdigest()
        return dataset.without(Exclusion(frozenset(erased), digest if erased else ""))

    def pseudonyms(self) -> frozenset[str]:
        """The keyed hashes of all who were erased.

        Raises:
            HomeError: the list cannot be read.
        """
        if not self.file.exists():
            return frozenset()
        lines = self.file.read_text(encoding="utf-8", errors="replace").split()
        if any(len(line) != _HEX_DIGITS for line in lines):
            raise HomeError(
                f"{self.file}: a line is no keyed hash, so nobody knows who was erased: restore it from a backup"
            )
        return frozenset(lines)
