"""How the tokens of a customer's modalities become one vector: early, middle or late."""

import torch
from torch import Tensor, nn

from recsys.modeling.config import FusionConfig, FusionKind


class EarlyFusion(nn.Module):
    """All tokens side by side through a multi-layer perceptron."""

    def __init__(self, dim: int, tokens: int, config: FusionConfig) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(tokens * dim, 2 * dim), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * dim, dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, M, D] to [B, D]."""
        return self.network(tokens.flatten(1))


class MiddleFusion(nn.Module):
    """A small transformer in which the tokens look at one another; the mean of what comes out is the customer."""

    def __init__(self, dim: int, tokens: int, config: FusionConfig) -> None:
        super().__init__()
        self.kind_of_token = nn.Parameter(torch.zeros(tokens, dim))
        layer = nn.TransformerEncoderLayer(
            dim, config.heads, 2 * dim, config.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, M, D] to [B, D]."""
        return self.norm(self.encoder(tokens + self.kind_of_token).mean(dim=1))


class LateFusion(nn.Module):
    """A learned weight per modality; scores are linear in the customer's vector: this is a weighted sum of scores."""

    def __init__(self, dim: int, tokens: int, config: FusionConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tokens))
        self.heads = nn.ModuleList(nn.Linear(dim, dim) for _ in range(tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, M, D] to [B, D]."""
        vectors = torch.stack([head(tokens[:, i]) for i, head in enumerate(self.heads)], dim=1)
        return (vectors * self.weight.softmax(dim=0)[None, :, None]).sum(dim=1)


def build_fusion(dim: int, tokens: int, config: FusionConfig) -> nn.Module:
    """The fusion that `config` names."""
    classes = {FusionKind.EARLY: EarlyFusion, FusionKind.MIDDLE: MiddleFusion, FusionKind.LATE: LateFusion}
    return classes[config.kind](dim, tokens, config)
