"""The settings of the feature build."""

from pydantic import Field, field_validator

from recsys.config import BaseConfig
from recsys.encoders.image import ImageEncoderConfig
from recsys.encoders.text import TextEncoderConfig
from recsys.privacy.redaction import RedactionConfig


class FeatureConfig(BaseConfig):
    """What the feature tables hold."""

    history_length: int = Field(default=50, ge=1, le=1000)
    """Entries kept of a customer's history."""
    text: TextEncoderConfig = TextEncoderConfig()
    """What embeds messages, product descriptions and copy."""
    image: ImageEncoderConfig = ImageEncoderConfig()
    """What embeds pictures."""
    redaction: RedactionConfig = RedactionConfig()
    """What is taken out of texts that customers wrote before they are embedded."""
    window_days: tuple[int, ...] = (7, 30, 90)
    """Lengths of the behaviour windows, in days."""
    text_half_life_days: float = Field(default=30.0, gt=0)
    """After so many days a message counts half in the pooled text vector."""
    image_half_life_days: float = Field(default=30.0, gt=0)
    """The same for pictures."""
    customer_image_dim: int = Field(default=128, ge=1)
    """Length of a customer's pooled image vector, after a fixed orthogonal projection of the encoder's output."""
    bucket_customers: int = Field(default=20_000, ge=1, exclude=True)
    """Customers held in memory at once. Bounds memory, changes nothing that is built."""

    @field_validator("window_days")
    @classmethod
    def _check_windows(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        if not days or min(days) < 1 or max(days) > 3650 or len(set(days)) != len(days):
            raise ValueError("must be different numbers of days between 1 and 3650, at least one")
        return tuple(sorted(days))
