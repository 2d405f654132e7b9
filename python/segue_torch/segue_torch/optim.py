"""AdamW with the constants of ``crates/segue-nn/src/optim``, and its twin for rows of a table."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .config import Settings
from .model import SequenceModel

BETAS, EPSILON = (0.9, 0.98), 1e-8


class RowAdam(torch.optim.Optimizer):
    """Adam that touches only rows with a gradient; each row counts its own steps.

    A row whose gradient is exactly zero counts as not used.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of the rows with a gradient."""
        for group in self.param_groups:
            lr, keep = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for table in (p for p in group["params"] if p.grad is not None):
                state = self.state[table]
                if not state:
                    state["steps"] = torch.zeros(len(table), device=table.device)
                    state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
                rows = table.grad.ne(0).any(1).nonzero(as_tuple=True)[0]
                grad = table.grad[rows]
                steps = state["steps"][rows] + 1
                mean = state["mean"][rows].lerp(grad, 1 - BETAS[0])
                square = state["square"][rows].lerp(grad * grad, 1 - BETAS[1])
                state["steps"][rows], state["mean"][rows], state["square"][rows] = steps, mean, square
                first, second = 1 - BETAS[0] ** steps[:, None], 1 - BETAS[1] ** steps[:, None]
                table[rows] = keep * table[rows] - lr / first * mean / ((square / second).sqrt() + EPSILON)


def optimizers(model: SequenceModel) -> list[torch.optim.Optimizer]:
    """Those of a training: weight decay of matrices and of the table; vectors have none."""
    settings: Settings = model.settings
    training, table = settings.training, model.item.weight
    rest = [p for p in model.parameters() if p is not table]
    groups = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": training.weight_decay},
        {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
    ]
    if settings.loss == "softmax":
        groups.append({"params": [table], "weight_decay": training.table_decay})
        return [torch.optim.AdamW(groups, lr=training.learning_rate, betas=BETAS, eps=EPSILON)]
    dense = torch.optim.AdamW(groups, lr=training.learning_rate, betas=BETAS, eps=EPSILON)
    return [dense, RowAdam([table], lr=training.learning_rate, weight_decay=training.table_decay)]


def rate(training, step: int) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then the peak."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / (training.warmup_steps + 1)
    return training.learning_rate


def clip(model: nn.Module, longest: float) -> Tensor:
    """Shortens the gradient of all parameters together to ``longest`` (0 does not); its norm before."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if longest > 0 and norm > longest:
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(longest / norm)
    return norm
