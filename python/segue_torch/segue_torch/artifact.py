"""Artifacts: ``config.json`` and ``model.safetensors`` in a folder, as Segue and the hub lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from .config import Settings
from .model import SequenceModel

CONFIG, TENSORS, MANIFEST = "config.json", "model.safetensors", "manifest.json"


def new(kind: str, settings: dict[str, Any], n_items: int, item_keys: np.ndarray | None = None) -> SequenceModel:
    """An untrained model. Without ``item_keys`` (``[n_items]`` uint64) the rows are the keys."""
    keys = np.arange(n_items, dtype=np.uint64) if item_keys is None else np.asarray(item_keys, dtype=np.uint64)
    if len(keys) != n_items:
        raise ValueError(f"expected {n_items} item keys, got {len(keys)}")
    return SequenceModel(kind, Settings.of(kind, settings), torch.from_numpy(keys.view(np.int64).copy()))


def load(folder: str | Path) -> SequenceModel:
    """Reads a model that Segue or :func:`save` wrote; in evaluation mode, on the CPU.

    Raises
    ------
    ValueError
        If an array is missing, of another shape or type, not finite, or not asked for: says what was
        expected and what was there.
    """
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text())
    if set(config) != {"kind", "settings"}:
        raise ValueError(f"{folder / CONFIG}: expected kind and settings, got {sorted(config)}")
    arrays = load_file(folder / TENSORS)
    if "item_keys" not in arrays:
        raise ValueError(f"{folder / TENSORS}: expected a tensor `item_keys`, got none (there is {sorted(arrays)})")
    keys = arrays["item_keys"]
    arrays["item_keys"] = keys.view(np.int64)
    model = SequenceModel(
        config["kind"], Settings.of(config["kind"], config["settings"]), torch.from_numpy(arrays["item_keys"].copy())
    )
    state = model.state_dict()
    if set(state) != set(arrays):
        missing, left = sorted(set(state) - set(arrays)), sorted(set(arrays) - set(state))
        raise ValueError(f"{folder / TENSORS}: expected the tensors of the settings, got {left} instead of {missing}")
    for name, tensor in state.items():
        _check(folder / TENSORS, name, tensor, arrays[name])
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return model.eval()


def save(model: SequenceModel, folder: str | Path) -> None:
    """Writes a model; ``segue model pull FOLDER --name NAME --publish`` checks it and serves it.

    Raises
    ------
    ValueError
        If the folder holds a ``manifest.json``: that is a finished artifact, which nothing changes.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        raise ValueError(f"{folder} holds an artifact with a manifest; write to another folder")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, tensor in model.state_dict().items():
        array = tensor.detach().cpu().contiguous()
        if array.is_floating_point():
            array = array.float()
            if not array.isfinite().all():
                raise ValueError(f"`{name}` holds a number that is not finite; nothing was written")
        arrays[name] = array.numpy()
    arrays["item_keys"] = arrays["item_keys"].view(np.uint64)
    config = {"kind": model.kind, "settings": model.settings.to_json()}
    save_file(arrays, folder / f".{TENSORS}.tmp")
    (folder / f".{TENSORS}.tmp").replace(folder / TENSORS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _check(path: Path, name: str, expected: Tensor, got: np.ndarray) -> None:
    if tuple(expected.shape) != got.shape:
        raise ValueError(f"{path}: expected `{name}` of shape {list(expected.shape)}, got {list(got.shape)}")
    dtype = str(expected.dtype).removeprefix("torch.")
    if got.dtype.name != dtype:
        raise ValueError(f"{path}: expected `{name}` of type {dtype}, got {got.dtype.name}")
    if got.dtype.kind == "f" and not np.isfinite(got).all():
        raise ValueError(f"{path}: expected finite values in `{name}`, got others")
