"""Listeners' plays, the training windows cut from them, and packed batches.

Mirrors ``crates/segue-models/src/sequence/windows.rs``; which listeners are held out and the order of the
windows are drawn with NumPy, so they differ from the Rust side's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .config import Settings

#: Actions by code; 0 is a play whose action is not known.
ACTIONS = ("", "played", "sampled", "streamed", "completed", "skipped", "censored")
#: Codes that say the listener did not want the item: sampled and skipped.
UNWANTED = (2, 5)


@dataclass
class Batch:
    """Packed events of some listeners, and the targets among them.

    Attributes
    ----------
    offsets : ``[n_sequences + 1]`` int64
    item : ``[n_tokens]`` int64, item rows, oldest first
    action : ``[n_tokens]`` int64 codes, or ``None``
    target_token : ``[n_targets]`` int64, the token that predicts each target
    target : ``[n_targets]`` int64, item rows
    occurred_at : ``[n_tokens]`` int64 seconds since 1970, or ``None``
    request_at : ``[n_tokens]`` int64, when it was asked what follows each event: when the next one occurred
    """

    offsets: Tensor
    item: Tensor
    action: Tensor | None
    target_token: Tensor
    target: Tensor
    occurred_at: Tensor | None = None
    request_at: Tensor | None = None

    @classmethod
    def of(cls, items: Iterable[Sequence[int]], actions: Iterable[Sequence[int]] | None = None) -> Batch:
        """Histories without targets, to encode."""
        histories = [np.asarray(h, dtype=np.int64) for h in items]
        offsets = np.cumsum([0, *map(len, histories)])
        none = torch.zeros(0, dtype=torch.int64)
        codes = None if actions is None else torch.from_numpy(_joined([np.asarray(a) for a in actions]))
        return cls(torch.from_numpy(offsets), torch.from_numpy(_joined(histories)), codes, none, none)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        move = lambda x: None if x is None else x.to(device, non_blocking=True)  # noqa: E731
        return Batch(*(move(getattr(self, name)) for name in self.__dataclass_fields__))


@dataclass
class Plays:
    """All listeners' plays: ``offsets`` ``[n_users + 1]``, ``item`` ``[n_plays]``, ``action`` or ``None``.

    ``item_keys`` ``[n_items]`` uint64 is the key of each row, ``occurred_at`` ``[n_plays]`` milliseconds or ``None``.
    """

    offsets: np.ndarray
    item: np.ndarray
    action: np.ndarray | None
    item_keys: np.ndarray
    occurred_at: np.ndarray | None = None

    @property
    def n_items(self) -> int:
        return len(self.item_keys)


def read(path: str | Path) -> Plays:
    """Reads plays from a Segue home or snapshot, a ``.npz`` or a ``.parquet`` file.

    - A home (the folder with ``snapshots/current``) or a snapshot: its memory-mapped columns. When a play began
      stands there in files that only Segue reads: for that, give one of the others.
    - ``.npz``: ``offsets``, ``item`` and optionally ``action``, ``item_keys`` and ``occurred_at``.
    - ``.parquet``: rows ``user_id``, ``item_id`` and optionally ``action`` (a name) and ``occurred_at`` (a timestamp
      or UTC milliseconds), each listener's in order; an item's key is the xxh3 hash of its id, as everywhere in Segue.
    """
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            item = file["item"]
            n_items = int(item.max(initial=-1)) + 1
            keys = file["item_keys"] if "item_keys" in file else np.arange(n_items)
            plays = Plays(
                file["offsets"], item, file.get("action"), keys.astype(np.uint64), file.get("occurred_at")
            )
    elif path.suffix == ".parquet":
        plays = _read_parquet(path)
    else:
        if (path / "snapshots/current").exists():
            path = path / "snapshots" / (path / "snapshots/current").read_text().strip()
        column = lambda name, kind: np.memmap(path / name, dtype=kind, mode="r")  # noqa: E731
        has = lambda name: (path / name).exists() and (path / name).stat().st_size  # noqa: E731
        plays = Plays(
            column("plays/offsets.u64", "<u8"),
            column("plays/item.u32", "<u4"),
            column("plays/action.u8", "u1") if has("plays/action.u8") else None,
            np.asarray(column("items.key.u64", "<u8")),
        )
    if len(plays.offsets) < 2 or plays.offsets[0] != 0 or plays.offsets[-1] != len(plays.item):
        raise ValueError(f"{path}: expected offsets from 0 to {len(plays.item)}, got {plays.offsets[:1]}…{plays.offsets[-1:]}")
    if len(plays.item) and int(plays.item.max()) >= plays.n_items:
        raise ValueError(f"{path}: expected item rows below {plays.n_items}, got {int(plays.item.max())}")
    return plays


def _read_parquet(path: Path) -> Plays:
    import pyarrow
    import pyarrow.parquet
    import xxhash

    table = pyarrow.parquet.read_table(path)
    users = table["user_id"].combine_chunks().dictionary_encode()
    items = table["item_id"].combine_chunks().dictionary_encode()
    user = users.indices.to_numpy()
    order = np.argsort(user, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(user, minlength=len(users.dictionary)))))
    keys = [xxhash.xxh3_64_intdigest(str(i).encode()) for i in items.dictionary.to_pylist()]
    action = None
    if "action" in table.column_names:
        codes = {name: code for code, name in enumerate(ACTIONS)}
        action = np.array([codes[a or ""] for a in table["action"].to_pylist()], dtype=np.uint8)[order]
    occurred_at = None
    if "occurred_at" in table.column_names:
        column = table["occurred_at"].combine_chunks()
        if pyarrow.types.is_timestamp(column.type):
            column = column.cast(pyarrow.timestamp("ms", tz=column.type.tz), safe=False)
        occurred_at = column.cast(pyarrow.int64()).to_numpy()[order]
    return Plays(offsets, items.indices.to_numpy()[order], action, np.array(keys, dtype=np.uint64), occurred_at)


class Windows:
    """Training windows and held-out plays.

    Every listener's plays are cut, newest first, into windows of at most ``max_history`` inputs: every play
    but the last is an input, every wanted play but the first a target. The last wanted play of a seeded
    share of the listeners is held out.
    """

    def __init__(self, plays: Plays, settings: Settings, seed: int) -> None:
        self.plays, self.max_history = plays, settings.max_history
        self._all_wanted = settings.targets == "all" or plays.action is None
        offsets = plays.offsets.astype(np.int64)
        training = settings.training
        able = np.flatnonzero(np.diff(offsets) >= 3)
        n = min(math.ceil(len(able) * training.validation_share), training.validation_listeners)
        chosen = set(np.random.default_rng(seed).permutation(able)[:n].tolist())
        #: ``[n_held, 3]``: first play of the history, the play after its last, the target's item.
        held_out: list[tuple[int, int, int]] = []
        #: ``[n_windows, 2]``: first play and the one after the last.
        windows: list[tuple[int, int]] = []
        #: ``[n_items]`` plays in training.
        self.counts = np.zeros(plays.n_items, dtype=np.int64)
        for user in range(len(offsets) - 1):
            first, end = int(offsets[user]), int(offsets[user + 1])
            if user in chosen:
                wanted = np.flatnonzero(self.wanted(first + 1, end))
                if len(wanted):
                    at = first + 1 + int(wanted[-1])
                    held_out.append((first, at, int(plays.item[at])))
                    end = at
            np.add.at(self.counts, plays.item[first:end], 1)
            while end - first >= 2:
                begin = max(first, end - self.max_history - 1)
                if self.wanted(begin + 1, end).any():
                    windows.append((begin, end))
                end = first if begin == first else begin + 1
        self.held_out, self.windows = held_out, windows

    def wanted(self, first: int, end: int) -> np.ndarray:
        """Which plays of a range may be targets."""
        if self._all_wanted:
            return np.ones(end - first, dtype=bool)
        return ~np.isin(self.plays.action[first:end], UNWANTED)

    def order(self, seed: int, pass_index: int) -> np.ndarray:
        """The order of the windows in one pass over them."""
        return np.random.default_rng([seed, pass_index]).permutation(len(self.windows))

    def batch(self, rows: Sequence[int]) -> Batch:
        """The windows ``rows``, packed."""
        offsets, tokens, places, targets = [0], [], [], []
        for row in rows:
            first, end = self.windows[row]
            wanted = np.flatnonzero(self.wanted(first + 1, end))
            tokens.append(np.arange(first, end - 1))
            places.append(offsets[-1] + wanted)
            targets.append(self.plays.item[first + 1 : end][wanted])
            offsets.append(offsets[-1] + end - 1 - first)
        return self._packed(offsets, tokens, _joined(places), _joined(targets))

    def histories(self, held_out: Sequence[tuple[int, int, int]]) -> Batch:
        """The newest events before held-out plays, packed; the targets are those plays."""
        tokens = [np.arange(max(first, at - self.max_history), at) for first, at, _ in held_out]
        offsets = [0, *np.cumsum([len(t) for t in tokens])]
        return self._packed(offsets, tokens, np.array(offsets[1:]) - 1, np.array([item for *_, item in held_out]))

    def _packed(self, offsets: list, tokens: list[np.ndarray], places: np.ndarray, targets: np.ndarray) -> Batch:
        at = _joined(tokens)
        tensor = lambda x: torch.from_numpy(np.asarray(x).astype(np.int64))  # noqa: E731
        action = None if self.plays.action is None else tensor(self.plays.action[at])
        times = (None, None)
        if self.plays.occurred_at is not None:
            # The play after a window, and the held-out one, tell when they were asked for.
            moments = (self.plays.occurred_at[at], self.plays.occurred_at[at + 1])
            times = tuple(tensor((ms // 1000).clip(0, 2**32 - 1)) for ms in moments)
        return Batch(tensor(offsets), tensor(self.plays.item[at]), action, tensor(places), tensor(targets), *times)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)
