"""What fixes a model: the sizes of its parts, its losses and its inputs. Nothing here needs torch, nor does serving."""

from enum import StrEnum

from pydantic import Field

from recsys.config import BaseConfig
from recsys.modeling.encoding import EntityEncoding
from recsys.schema import Modality


class TowerConfig(BaseConfig):
    """Size and regularisation of the towers."""

    dim: int = Field(default=64, ge=4, le=1024)
    """Dimension of the shared space."""
    category_dim: int = Field(default=16, ge=1)
    """Dimension of a category's embedding."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, le=1)
    """Share of items that are placed by their content alone in a training step: makes new items familiar."""
    modality_dropout: float = Field(default=0.15, ge=0, lt=1)
    """Share of tokens replaced by the learned token for 'missing' in a training step."""


class HistoryEncoderConfig(BaseConfig):
    """Size of the history encoder."""

    layers: int = Field(default=2, ge=0, le=12)
    """Transformer layers; 0 is mean pooling, the simplest history encoder."""
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    time_buckets: int = Field(default=24, ge=1)
    """Logarithmic buckets of the time between two events, base 2 from one second."""


class FusionKind(StrEnum):
    """When the modalities meet."""

    EARLY = "early"
    MIDDLE = "middle"
    LATE = "late"


class FusionConfig(BaseConfig):
    """How modalities are fused."""

    kind: FusionKind = FusionKind.MIDDLE
    """early: concatenated features; middle: a small transformer over tokens; late: a weighted sum of scores."""
    layers: int = Field(default=1, ge=1)
    """Transformer layers of the middle fusion."""
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class LossConfig(BaseConfig):
    """Which negatives a positive is set against, and how the parts are weighted."""

    full_softmax_up_to: int = Field(default=20_000, ge=0)
    """Catalogues of at most so many items use the full softmax, larger ones the sampled one."""
    uniform_negatives: int = Field(default=512, ge=0)
    """Negatives drawn uniformly from the catalogue, beside those in the batch."""
    logq: bool = True
    """Correct the logits of sampled items by the log of their sampling probability."""
    mask_own_items: bool = True
    """The customer's other positives are no negatives."""
    contents_weight: float = Field(default=0.5, ge=0)
    """Weight of the creatives' loss beside the products'."""
    alignment_weight: float = Field(default=0.1, ge=0)
    """Weight of the self-supervised contrastive terms: text with image, id with content."""
    alignment_items: int = Field(default=512, ge=2)
    """Items that are drawn for them in a step: bounds the cost for a large catalogue."""
    alignment_temperature: float = Field(default=0.1, gt=0)


class TwoTowerConfig(BaseConfig):
    """The whole model."""

    tower: TowerConfig = TowerConfig()
    history: HistoryEncoderConfig = HistoryEncoderConfig()
    fusion: FusionConfig = FusionConfig()
    loss: LossConfig = LossConfig()
    temperature: float = Field(default=0.1, gt=0)
    """Divides the scores; with `normalise`, scores before it are cosines."""
    normalise: bool = True
    """Scale vectors to unit length."""


class ModelInputs(BaseConfig):
    """What the model was built for: everything that fixes the shapes of its weights."""

    customers: EntityEncoding
    products: EntityEncoding
    contents: EntityEncoding | None
    product_count: int
    """Products with an id embedding of their own."""
    content_count: int
    event_types: tuple[str, ...]
    """Known event types; index 0 is kept for unknown."""
    channels: tuple[str, ...]
    """Known channels; index 0 is kept for none."""
    history_length: int
    reads_history: bool = True
    """False: every history is read as an empty one."""


def modalities_of(customers: EntityEncoding) -> list[Modality]:
    """The modalities that a customer tower has a token for, in its order."""
    return [one for one in Modality if one is Modality.HISTORY or one in customers.group_names()]
