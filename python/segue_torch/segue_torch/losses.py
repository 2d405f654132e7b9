"""Losses over hidden rows and the item table, summed over the targets.

Mirrors ``crates/segue-nn/src/loss``. Divide by the number of targets of the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .config import Negatives, Settings

#: Targets whose logits over the whole catalogue exist at one time.
CHUNK = 2048


def softmax_loss(hidden: Tensor, target: Tensor, table: Tensor) -> Tensor:
    """``Σ ln Σⱼ exp(h · eⱼ) - h · e_y``: ``hidden`` ``[n, d]``, ``target`` ``[n]``, ``table`` ``[n_items, d]``.

    Logits exist for :data:`CHUNK` targets at a time and are computed anew in the backward pass.
    """

    def part(hidden: Tensor, target: Tensor, table: Tensor) -> Tensor:
        return F.cross_entropy((hidden @ table.T).float(), target, reduction="sum")

    if len(target) <= CHUNK:
        return part(hidden, target, table)
    parts = zip(hidden.split(CHUNK), target.split(CHUNK), strict=True)
    return torch.stack([checkpoint(part, h, t, table, use_reentrant=False) for h, t in parts]).sum()


@dataclass
class Drawn:
    """Negatives of a step: ``ids`` ``[k]``, and ``log_expected`` ``[k]``, ``ln(k q)`` of each."""

    ids: Tensor
    log_expected: Tensor


def sampled_loss(hidden: Tensor, target: Tensor, table: Tensor, drawn: Drawn, settings: Settings) -> Tensor:
    """Sampled softmax, gBCE or BCE over the target and negatives shared by all rows.

    - sampled softmax: ``ln(eˢ + Σⱼ exp(sⱼ - ln(k qⱼ))) - s``; without ``log_q`` the ``ln(k qⱼ)`` is missing
    - gBCE: ``(β ln(1 + e⁻ˢ) + Σⱼ ln(1 + exp(sⱼ))) / (k + 1)``; BCE has ``β = 1``

    A negative that is the target is left out.
    """
    positive = (hidden * table[target]).sum(-1).float()  # [n]
    negative = (hidden @ table[drawn.ids].T).float()  # [n, k]
    hit = target[:, None] == drawn.ids
    if settings.loss == "sampled_softmax":
        if settings.negatives.log_q:
            negative = negative - drawn.log_expected
        negative = negative.masked_fill(hit, -torch.inf)
        both = torch.cat((positive[:, None], negative), dim=1)
        return (both.logsumexp(1) - positive).sum()
    k = len(drawn.ids)
    beta = gbce_beta(settings.negatives.calibration, k, len(table)) if settings.loss == "gbce" else 1.0
    terms = beta * F.softplus(-positive) + F.softplus(negative).masked_fill(hit, 0.0).sum(1)
    return terms.sum() / (k + 1)


def gbce_beta(calibration: float, k: int, n_items: int) -> float:
    """``α (t (1 - 1/α) + 1/α)`` with ``α = k / (n_items - 1)`` (Petrov & Macdonald 2023)."""
    alpha = min(k / (max(n_items, 2) - 1), 1.0)
    return alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)


class Sampler:
    """Draws negatives: a share by popularity, a share from the targets of the batch, the rest uniformly."""

    def __init__(self, counts: np.ndarray, negatives: Negatives) -> None:
        # One more than the count: an item that was never played can be drawn.
        weight = counts.astype(np.float64) + 1
        by_count = negatives.popular + negatives.in_batch
        self.negatives, self.n_items = negatives, len(counts)
        self.probability = by_count * weight / weight.sum() + (1 - by_count) / len(counts)
        self._cumulative = weight.cumsum()

    def draw(self, seed: int, step: int, targets: np.ndarray) -> Drawn:
        """The negatives of a step; ``targets`` are those of the whole batch. The same on every process."""
        n, rng = self.negatives, np.random.default_rng([seed, step, 0x6E6567])
        kind = rng.random(n.count)
        ids = rng.integers(self.n_items, size=n.count)
        popular = np.searchsorted(self._cumulative, rng.random(n.count) * self._cumulative[-1], side="right")
        ids = np.where(kind < n.popular, popular.clip(max=self.n_items - 1), ids)
        if len(targets):
            from_batch = targets[rng.integers(len(targets), size=n.count)]
            ids = np.where((kind >= n.popular) & (kind < n.popular + n.in_batch), from_batch, ids)
        expected = np.log(n.count * self.probability[ids])
        return Drawn(torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(expected.astype(np.float32)))
