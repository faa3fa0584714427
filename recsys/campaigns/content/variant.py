"""Copy, the variant that carries it, and the hash that an approval is pinned to."""

from typing import Literal, NamedTuple

from recsys.campaigns.content.facts import canonical_hash
from recsys.config import BaseConfig

COPY_FIELDS = ("headline", "body", "cta", "disclaimer", "opt_out")


class Copy(NamedTuple):
    """The words of a message."""

    headline: str
    body: str
    cta: str
    disclaimer: str
    opt_out: str


class Variant(BaseConfig):
    """One creative of a plan: words, picture, and where, to whom and in which tone it speaks."""

    content_id: str
    product_id: str
    product_version: str
    """`ProductFacts.version` of the facts that the copy states."""
    segment: str
    channel: str
    language: str
    tone: str
    headline: str
    body: str
    cta: str
    disclaimer: str
    opt_out: str
    image: str | None = None
    """File name in the plan's `images/`."""
    image_size: tuple[int, int] | None = None
    """Width and height in pixels."""
    image_hash: str | None = None
    """Sha256 of the picture's bytes."""
    source: Literal["template", "model"] = "template"
    machine_made: bool = False
    """The words or the picture are a machine's; it is then labelled so wherever it is shown."""
    content_hash: str = ""
    """`hash_of` this variant; empty until `sealed`."""

    @property
    def copy_text(self) -> Copy:
        """The words alone."""
        return Copy(*(getattr(self, name) for name in COPY_FIELDS))

    def hash_of(self) -> str:
        """Sha256 of the canonical JSON of all that is approved: words, picture's hash, place, labels."""
        return canonical_hash(self.model_dump(mode="json", exclude={"content_hash"}))

    def sealed(self) -> "Variant":
        """The same variant with its content hash."""
        return self.model_copy(update={"content_hash": self.hash_of()})
