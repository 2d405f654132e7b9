"""SASRec, eSASRec and HSTU: item vectors and positions in, one hidden vector per event out.

``x₀ = dropout(√d · table[item] + position + action)``, blocks, a last norm; the score of an item is
the product of hidden vector and item vector. Mirrors ``crates/segue-models/src/sequence/network.rs``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import Settings
from .data import Batch
from .layers import NORM_EPSILON, Block, HstuBlock, Jagged

#: Codes of a play's action, and 0 for one that is not known.
N_ACTIONS = 8
#: Standard deviation of new tables.
TABLE_SD = 0.02


class ItemTable(nn.Module):
    """The vectors of all items, for input and output, and which of them training has seen."""

    def __init__(self, n_items: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_items, d) * TABLE_SD)
        #: ``[n_items]``; items that were in no training play are never recommended.
        self.register_buffer("trained", torch.zeros(n_items, dtype=torch.uint8))


class SequenceModel(nn.Module):
    """An encoder of listening histories.

    The names of its state are those of ``model.safetensors``.

    Parameters
    ----------
    kind
        ``sasrec`` (GELU), ``esasrec`` (SwiGLU and gates) or ``hstu`` (pointwise attention).
    settings
        The ``settings`` of ``config.json``.
    item_keys
        ``[n_items]`` int64: the 64 bits of each item's key, in row order.
    """

    def __init__(self, kind: str, settings: Settings, item_keys: Tensor) -> None:
        super().__init__()
        self.kind, self.settings = kind, settings
        d = settings.d
        if settings.positions == "learned":
            self.position = nn.Parameter(torch.randn(settings.max_history, d) * TABLE_SD)
        if settings.actions:
            self.action = nn.Parameter(torch.randn(N_ACTIONS, d) * TABLE_SD)
        new = HstuBlock if kind == "hstu" else lambda settings: Block(settings, gated=kind == "esasrec")
        self.block = nn.ModuleList(new(settings) for _ in range(settings.n_blocks))
        self.norm = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.item = ItemTable(len(item_keys), d)
        self.register_buffer("item_keys", item_keys.to(torch.int64))
        self.dropout = nn.Dropout(settings.dropout)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, batch: Batch) -> Tensor:
        """The hidden vector of each event, ``[n_tokens, d]``.

        Raises
        ------
        ValueError
            If a sequence is longer than ``max_history``: keep its newest events.
        """
        jagged = Jagged(batch.offsets)
        if jagged.longest > self.settings.max_history:
            raise ValueError(f"expected at most {self.settings.max_history} events per sequence, got {jagged.longest}")
        x = self.item.weight[batch.item] * self.settings.d**0.5
        if self.settings.positions == "learned":
            x = x + self.position[jagged.from_newest]
        if self.settings.actions:
            code = torch.zeros_like(batch.item) if batch.action is None else batch.action
            x = x + self.action[code.clamp(max=N_ACTIONS) % N_ACTIONS]
        x = self.dropout(x)
        times = (batch.occurred_at, batch.request_at) if self.kind == "hstu" else ()
        for block in self.block:
            x = block(x, jagged, *times)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of all items: ``[n, d]`` → ``[n, n_items]``."""
        return hidden @ self.item.weight.T

    @torch.no_grad()
    def user_vectors(self, batch: Batch) -> Tensor:
        """The hidden vector of each sequence's last event, ``[n_sequences, d]``; none may be empty."""
        return self(batch)[batch.offsets[1:] - 1]
