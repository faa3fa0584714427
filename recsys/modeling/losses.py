"""The losses of the towers, on logits that are already divided by the temperature.

Sources: sampled softmax with logQ correction, Bengio and Senécal 2008, and Yi et al. 2019 (Sampling-Bias-Corrected
Neural Modeling for Large Corpus Item Recommendations); correction of the positive, Baldrati et al. 2025 (Correcting
the LogQ Correction: Revisiting Sampled Softmax for Large-Scale Retrieval), equation 7; InfoNCE, van den Oord et al.
2018.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def full_softmax(logits: Tensor, target: Tensor, weight: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Weighted cross entropy over all items.

    Args:
        logits: [B, N] float.
        target: [B] int64 in 0..N-1.
        weight: [B] float, at least one above zero.
        excluded: [B, N] bool, items that are no negatives for the row; the target is never excluded.
    """
    if excluded is not None:
        excluded = excluded.scatter(1, target[:, None], False)
        logits = logits.masked_fill(excluded, float("-inf"))
    loss = F.cross_entropy(logits, target, reduction="none")
    return (loss * weight).sum() / weight.sum()


def sampled_softmax(
    positive: Tensor, negatives: Tensor, log_q: tuple[Tensor, Tensor] | None, weight: Tensor, excluded: Tensor
) -> Tensor:
    """Weighted sampled softmax.

    Args:
        positive: [B] logit of the positive.
        negatives: [B, S] logits of the sampled items.
        log_q: log probability of drawing an item in one draw: ([B] of the positives, [S] of the samples), or None for
            no correction. The positive is always present, so its own logit is left as it is and each sample stands
            for 1 / (S q) items; the positive's share of the sampling distribution is taken out of the samples'.
        weight: [B] float.
        excluded: [B, S] bool, samples that are no negatives for the row: accidental hits and the customer's own items.
    """
    if log_q is not None:
        log_q_positive, log_q_negative = log_q
        rest = torch.log1p(-log_q_positive.exp().clamp(max=1 - 1e-6))
        draws = (~excluded).sum(dim=1).clamp(min=1).log()
        negatives = negatives - (log_q_negative[None, :] + draws[:, None] - rest[:, None])
    negatives = negatives.masked_fill(excluded, float("-inf"))
    total = torch.logsumexp(torch.cat([positive[:, None], negatives], dim=1), dim=1)
    return ((total - positive) * weight).sum() / weight.sum()


def info_nce(first: Tensor, second: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Symmetric contrastive loss between two views of the same M things, both [M, D]; zero for fewer than two.

    `same` [M, M] bool, symmetric: pairs that are no negatives, because they are about one and the same.
    """
    if len(first) < 2:
        return first.sum() * 0.0
    similarity = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    target = torch.arange(len(first), device=first.device)
    if same is not None:
        itself = target[:, None] == target[None, :]
        similarity = similarity.masked_fill(same & ~itself, float("-inf"))
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
