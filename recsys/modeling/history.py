"""The causal history encoder: what a customer did so far, after each event.

A pre-norm transformer whose attention sees relative positions and elapsed time only, so that the state after p events
is the same whether p events were given or more (causality), and whichever window they were cut from. Relative bias as
in T5 (Raffel et al. 2020, section 2.1); time buckets as in HSTU (Zhai et al. 2024, section 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.modeling.batches import HistoryBatch
from recsys.modeling.config import HistoryEncoderConfig
from recsys.modeling.devices import take_rows

_SECOND = 1_000_000


class CausalBlock(nn.Module):
    """One pre-norm layer of attention and feed-forward."""

    def __init__(self, dim: int, config: HistoryEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_feed = nn.LayerNorm(dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * dim, dim)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[B, T, D] and attention bias [B, heads, T, T] (-inf = hidden) to [B, T, D]."""
        batch, steps, dim = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, steps, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.dropout(self.project(attended.transpose(1, 2).reshape(batch, steps, dim)))
        return x + self.dropout(self.feed(self.norm_feed(x)))

    def at(self, x: Tensor, bias: Tensor, place: Tensor) -> Tensor:
        """[B, D]: what `forward` gives at one place of each row, [B] int64, without working out the others."""
        batch, steps, dim = x.shape
        row = torch.arange(batch, device=x.device)
        normed, weight, offset = self.norm_attention(x), self.qkv.weight, self.qkv.bias
        query = F.linear(normed[row, place], weight[:dim], offset[:dim]).view(batch, self.heads, 1, dim // self.heads)
        both = F.linear(normed, weight[dim:], offset[dim:]).view(batch, steps, 2, self.heads, dim // self.heads)
        key, value = both.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[row, :, place][:, :, None])
        last = x[row, place] + self.dropout(self.project(attended.reshape(batch, dim)))
        return last + self.dropout(self.feed(self.norm_feed(last)))


class HistoryEncoder(nn.Module):
    """Item vectors in time order to the customer's state before the first and after every event."""

    def __init__(self, dim: int, max_length: int, config: HistoryEncoderConfig) -> None:
        super().__init__()
        if dim % config.heads:
            raise ValueError(f"the dimension ({dim}) must be a multiple of the history encoder's heads")
        self.config = config
        self.start = nn.Parameter(torch.zeros(dim))
        self.blocks = nn.ModuleList(CausalBlock(dim, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.distance_bias = nn.Parameter(torch.zeros(config.heads, max_length + 1))
        self.time_bias = nn.Parameter(torch.zeros(config.heads, config.time_buckets))

    def forward(self, items: Tensor, history: HistoryBatch) -> Tensor:
        """Encodes B histories.

        Args:
            items: [B, L, D] vector of every entry; entries from `history.length` on are ignored.
            history: times and lengths.

        Returns:
            [B, L + 1, D]: state p is the customer after p events; 0 is the empty history.
        """
        x = self._begin(items)
        if not self.blocks:
            return self.norm(_causal_mean(x))
        bias = self._bias(history)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)

    def last(self, items: Tensor, history: HistoryBatch) -> Tensor:
        """[B, D]: the state after the whole of each history; what serving asks, for less work than `forward`."""
        if not self.blocks:
            return self(items, history)[torch.arange(len(items), device=items.device), history.length]
        x, bias = self._begin(items), self._bias(history)
        for block in self.blocks[:-1]:
            x = block(x, bias)
        final: CausalBlock = self.blocks[-1]  # type: ignore[assignment]
        return self.norm(final.at(x, bias, history.length))

    def _begin(self, items: Tensor) -> Tensor:
        """[B, L + 1, D]: the entries behind the learned start."""
        return self.dropout(torch.cat([self.start.expand(len(items), 1, -1), items], dim=1))

    def _bias(self, history: HistoryBatch) -> Tensor:
        """[B, heads, L + 1, L + 1]: distance and time bias, -inf where the key is later than the query."""
        times = torch.cat([history.timestamp[:, :1], history.timestamp], dim=1)
        steps = times.shape[1]
        position = torch.arange(steps, device=times.device)
        distance = position[:, None] - position[None, :]
        elapsed = (times[:, :, None] - times[:, None, :]).clamp(min=0).float() / _SECOND
        bucket = torch.log2(elapsed + 1).long().clamp(max=self.config.time_buckets - 1)
        by_time = take_rows(self.time_bias.T, bucket).permute(0, 3, 1, 2)
        bias = self.distance_bias[:, distance.clamp(min=0)][None] + by_time
        return bias.masked_fill(distance < 0, float("-inf"))


def _causal_mean(x: Tensor) -> Tensor:
    """[B, T, D]: mean of all entries up to each position."""
    count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(dim=1) / count[None, :, None]
