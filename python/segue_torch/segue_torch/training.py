"""The training loop, the same on one process, under ``torchrun`` and under Ray Train.

A step's windows are dealt out to the processes and its loss is divided by the targets of all of them, so
that the number of processes changes nothing but the order of additions (and dropout).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from .artifact import save
from .data import Batch, Plays, Windows
from .losses import Drawn, Sampler, sampled_loss, softmax_loss
from .model import SequenceModel
from .optim import clip, optimizers, rate

#: Listeners that are validated at one time.
CHUNK = 256


@dataclass
class Report:
    """What a round did."""

    round: int
    step: int
    loss: float
    validation_ndcg: float | None
    tokens_per_second: float


class Objective(nn.Module):
    """The loss of a batch as the forward pass of a module, which is what ``DistributedDataParallel`` wraps."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, drawn: Drawn | None) -> Tensor:
        """The loss summed over the targets of the batch."""
        hidden, table = self.model(batch)[batch.target_token], self.model.item.weight
        if drawn is None:
            return softmax_loss(hidden, batch.target, table)
        return sampled_loss(hidden, batch.target, table, drawn, self.model.settings)


class Trainer:
    """A training under way.

    Parameters
    ----------
    model
        Untrained, or trained before. It is moved to ``device``.
    plays
        What it learns from.
    seed
        Of held-out listeners, order, negatives and dropout.
    device
        ``cuda`` computes in bf16 with weights in f32; anything else in f32.
    """

    def __init__(self, model: SequenceModel, plays: Plays, seed: int, device: torch.device) -> None:
        if plays.n_items != len(model.item_keys):
            raise ValueError(f"expected plays of {len(model.item_keys)} items, got {plays.n_items}")
        self.settings, self.plays = model.settings, plays
        self.windows = Windows(plays, self.settings, seed)
        if not self.windows.windows:
            raise ValueError("no listener has two plays in order, the later one wanted: there is nothing to learn")
        self.seed, self.device, self.step_index = seed, device, 0
        self.rank, self.n_ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.model = model.to(device)
        self.model.item.trained.copy_(torch.from_numpy(self.windows.counts > 0))
        self.optimizers = optimizers(self.model)
        self.sampler = None
        if self.settings.loss != "softmax":
            self.sampler = Sampler(self.windows.counts, self.settings.negatives)
        self.objective: nn.Module = Objective(self.model)
        if self.n_ranks > 1:
            devices = [device] if device.type == "cuda" else None
            self.objective = nn.parallel.DistributedDataParallel(self.objective, device_ids=devices)
        torch.manual_seed(seed * 1_000_003 + self.rank)

    def step(self, rows: np.ndarray) -> tuple[float, int]:
        """One step on the windows ``rows`` of all processes together: mean loss of the targets, input tokens."""
        mine = rows[self.rank :: self.n_ranks]
        # A process without a window takes part with one that weighs nothing.
        weight = 1.0 if len(mine) else 0.0
        batch = self.windows.batch(mine if len(mine) else rows[:1])
        counts = torch.tensor([weight * len(batch.target), weight * len(batch.item), 0.0], dtype=torch.float64)
        drawn = self._draw(batch, weight)
        if self.n_ranks > 1:
            counts = counts.to(self.device)
            dist.all_reduce(counts)
        n_targets = max(float(counts[0]), 1.0)
        batch = batch.to(self.device)
        self.model.train()
        with self.autocast():
            loss = self.objective(batch, drawn) * weight
        # The wrapper takes the mean over processes; the sum is wanted.
        (loss * (self.n_ranks / n_targets)).backward()
        total = loss.detach().double()
        if self.n_ranks > 1:
            dist.all_reduce(total)
        mean = float(total) / n_targets
        norm = clip(self.model, self.settings.training.clip)
        if not (np.isfinite(mean) and bool(norm.isfinite())):
            raise FloatingPointError(f"step {self.step_index}: the loss is {mean}, the gradient's norm {float(norm)}")
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate(self.settings.training, self.step_index)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step_index += 1
        return mean, int(counts[1])

    def round(self, index: int) -> Report:
        """Passes over the windows, at least ``round_steps`` steps, then validation."""
        training, began = self.settings.training, time.perf_counter()
        per_pass = -(-len(self.windows.windows) // training.batch)
        n_steps = max(-(-training.round_steps // per_pass), 1) * per_pass
        losses, n_tokens = [], 0
        for _ in range(n_steps):
            pass_index, at = divmod(self.step_index, per_pass)
            if at == 0 or not losses:
                order = self.windows.order(self.seed, pass_index)
            loss, n = self.step(order[at * training.batch : (at + 1) * training.batch])
            losses.append(loss)
            n_tokens += n
        speed = n_tokens / (time.perf_counter() - began)
        return Report(index, self.step_index, float(np.mean(losses)), self.validate(), speed)

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean NDCG@10 of the held-out plays over the trained items.

        Plays of the history are left out, unless the held-out play repeats one; items with an equal score
        rank before the target; a target that no training play holds counts 0.
        """
        held = self.windows.held_out
        if not held:
            return None
        self.model.eval()
        mine, gain = held[self.rank :: self.n_ranks], torch.zeros((), dtype=torch.float64, device=self.device)
        trained = self.model.item.trained.bool()
        for first in range(0, len(mine), CHUNK):
            part = mine[first : first + CHUNK]
            batch = self.windows.histories(part).to(self.device)
            with self.autocast():
                scores = self.model.logits(self.model(batch)[batch.target_token]).float()
            own = scores.gather(1, batch.target[:, None])
            scores[:, ~trained] = -torch.inf
            for row, (begin, end, item) in enumerate(part):
                seen = self.windows.plays.item[begin:end].astype(np.int64)
                if item not in seen:
                    scores[row, torch.from_numpy(seen).to(self.device)] = -torch.inf
            # The target is among them.
            rank = (scores >= own).sum(1).double()
            hit = (rank <= 10) & trained[batch.target]
            gain += torch.where(hit, 1 / (rank + 1).log2(), 0.0).sum()
        if self.n_ranks > 1:
            dist.all_reduce(gain)
        return float(gain) / len(held)

    def run(self, out: str | Path, tell: Callable[[Report], Any] = lambda report: None) -> list[Report]:
        """Trains until no round was better for ``patience`` rounds; ``out`` holds the best weights.

        With ``refit`` it then trains anew, on all plays, for as many rounds as were best, and ``out`` holds
        what comes of it; the reports are those of the first training.
        """
        training, reports, best, best_round = self.settings.training, [], -1.0, 0
        start = copy.deepcopy(self.model.state_dict()) if training.refit else None
        for index in range(1, training.rounds + 1):
            report = self.round(index)
            reports.append(report)
            ndcg = report.validation_ndcg
            if ndcg is None or ndcg > best:
                best, best_round = -1.0 if ndcg is None else ndcg, index
                if self.rank == 0:
                    save(self.model, out)
            if self.rank == 0:
                tell(report)
            if index - best_round >= training.patience or best >= 1.0:
                break
        if start is not None and reports and reports[-1].validation_ndcg is not None:
            self._refit(start, best_round, out)
        return reports

    def _refit(self, start: dict[str, torch.Tensor], rounds: int, out: str | Path) -> None:
        # A wrapper keeps its hooks on the weights for as long as it lives.
        self.objective, self.optimizers = Objective(self.model), []
        self.model.load_state_dict(start)
        again = dataclasses.replace(
            self.settings.training, rounds=rounds, patience=rounds, validation_share=0.0, refit=False
        )
        self.model.settings = dataclasses.replace(self.settings, training=again)
        trainer = Trainer(self.model, self.plays, self.seed, self.device)
        for index in range(1, rounds + 1):
            trainer.round(index)
        self.model.settings = self.settings
        if self.rank == 0:
            save(self.model, out)

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 on a GPU."""
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()

    def _draw(self, batch: Batch, weight: float) -> Drawn | None:
        if self.sampler is None:
            return None
        targets = batch.target.numpy() if weight else batch.target.numpy()[:0]
        if self.n_ranks > 1 and self.settings.negatives.in_batch > 0:
            parts: list[Any] = [None] * self.n_ranks
            dist.all_gather_object(parts, targets)
            targets = np.concatenate(parts)
        # Sorted: the same draws whichever process had which window.
        drawn = self.sampler.draw(self.seed, self.step_index, np.sort(targets))
        return Drawn(drawn.ids.to(self.device), drawn.log_expected.to(self.device))
