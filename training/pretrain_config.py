"""Settings of the pretraining."""

from pydantic import Field

from recsys.config import BaseConfig


class PretrainConfig(BaseConfig):
    """The phase before the labels."""

    enabled: bool = False
    """Off: with all labels at hand, views and clicks are predicted beside them already (`labels.next_event`). What the
    phase is worth with few labels: `recsys ablate DATASET --only labels`; on top of the default: `--only
    self-supervision`."""
    epochs: int = Field(default=4, ge=1, le=50)
    """Passes over the unlabelled events; bounded, for there is nothing to stop early on."""
    next_event: bool = True
    """Predict views and clicks."""
    contrast_weight: float = Field(default=0.1, ge=0)
    """Weight of the contrast between a customer's modalities; 0: none."""
    contrast_temperature: float = Field(default=0.1, gt=0)
    moments: int = Field(default=20_000, ge=0)
    """Messages and transactions at which customers are looked at: at most so many, drawn by seed."""
