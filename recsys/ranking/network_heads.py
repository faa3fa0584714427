"""Heads of one network with a shared trunk, by torch: who serves other heads does not import it.

E exposures, F features, H heads.
"""

import numpy as np
import torch
from torch import nn

from recsys.ranking.heads import HEADS, HeadRows, NetworkConfig, log_odds
from recsys.ranking.profiles import Arrays

_CLIP = 4.0
"""Standard deviations: what lies farther off is drift, and a network would follow it anywhere."""


class NetworkHeads:
    """A shared trunk and a head for each outcome, trained together; a head learns where the outcome before came."""

    def __init__(self, mean: np.ndarray, scale: np.ndarray, net: nn.Module) -> None:
        self._mean = mean
        self._scale = scale
        self.net = net

    @classmethod
    def fit(cls, rows: HeadRows, config: NetworkConfig, seed: int) -> "NetworkHeads":
        """Trains the network by Adam on masked cross-entropy."""
        torch.manual_seed(seed)
        mean, scale = _moments(rows.features)
        heads = cls(mean, scale, _network(2 * rows.features.shape[1], config))
        inputs = heads._standardised(rows.features)
        outcomes = torch.from_numpy(rows.outcomes.astype(np.float32))
        weight = torch.from_numpy((rows.counts * rows.weight[:, None]).astype(np.float32))
        averages = [log_odds(rows.outcomes[rows.counts[:, head], head]) for head in range(len(HEADS))]
        with torch.no_grad():
            heads.net[-1].bias.copy_(torch.tensor(averages))  # type: ignore[index]
        optimiser = torch.optim.AdamW(heads.net.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        heads.net.train()
        for _ in range(config.epochs):
            for batch in torch.randperm(len(inputs)).split(config.batch):
                loss = nn.functional.binary_cross_entropy_with_logits(
                    heads.net(inputs[batch]), outcomes[batch], weight[batch], reduction="sum"
                ) / len(batch)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        heads.net.eval()
        return heads

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[E, F] to [E, H] float32 log-odds."""
        with torch.inference_mode():
            return np.asarray(self.net(self._standardised(features)).numpy(), np.float32)

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file."""
        weights = {f"net.{name}": value.detach().numpy() for name, value in self.net.state_dict().items()}
        return {"mean": self._mean, "scale": self._scale, **weights}

    @classmethod
    def from_arrays(cls, arrays: Arrays, config: NetworkConfig) -> "NetworkHeads":
        """The inverse of `to_arrays`."""
        net = _network(2 * len(arrays["mean"]), config)
        net.load_state_dict(
            {
                key.removeprefix("net."): torch.from_numpy(value)
                for key, value in arrays.items()
                if key.startswith("net.")
            }
        )
        net.eval()
        return cls(arrays["mean"], arrays["scale"], net)

    def _standardised(self, features: np.ndarray) -> torch.Tensor:
        """[E, 2F]: clipped, 0 where missing, and a flag that says so."""
        scaled = np.clip((features - self._mean) / self._scale, -_CLIP, _CLIP)
        missing = np.isnan(scaled)
        return torch.from_numpy(np.concatenate([np.where(missing, 0, scaled), missing], axis=1).astype(np.float32))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and a little more than the standard deviation of each column's known values, [F] float32; 0 of none.

    >>> [values.round(3).tolist() for values in _moments(np.array([[1, np.nan], [3, np.nan]], np.float32))]
    [[2.0, 0.0], [1.0, 0.0]]
    """
    known = ~np.isnan(features)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0).sum(axis=0) / count
    variance = np.square(np.where(known, features - mean, 0)).sum(axis=0) / count
    return mean.astype(np.float32), (np.sqrt(variance) + 1e-6).astype(np.float32)


def _network(inputs: int, config: NetworkConfig) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, config.width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.width, len(HEADS))
    )
