"""Who was erased: nothing of his is stored again."""

from recsys.home import Home
from recsys.privacy.suppression import SuppressionList


class ErasedCustomers:
    """The suppression list of a home, read again when its file has changed."""

    def __init__(self, home: Home) -> None:
        self._list = SuppressionList(home)
        self._read: tuple[tuple[int, int] | None, frozenset[str]] = (None, frozenset())

    def __contains__(self, customer_id: str) -> bool:
        """Whether this customer was erased.

        Raises:
            HomeError: the list cannot be read, so nobody knows.
        """
        erased = self._pseudonyms()
        return bool(erased) and self._list.pseudonym(customer_id) in erased

    def _pseudonyms(self) -> frozenset[str]:
        try:
            found = self._list.file.stat()
        except FileNotFoundError:
            return frozenset()
        stamp = (found.st_ino, found.st_mtime_ns)
        if self._read[0] != stamp:  # the stamp was taken first: what is written meanwhile is read the next time
            self._read = (stamp, self._list.pseudonyms())
        return self._read[1]
