"""Fixtures: the Rust half of the parity tests, and a small log."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[3]
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rust():
    """Runs ``torch_parity`` with arguments and returns its output.

    ``SEGUE_PARITY`` names the built example; `cargo xtask torch` sets it.
    """
    program = os.environ.get("SEGUE_PARITY")
    if program is None:
        pytest.skip("SEGUE_PARITY does not name the built example `torch_parity`; `cargo xtask torch` sets it")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def written(rust, tmp_path_factory) -> Path:
    """Cases that the Rust side wrote."""
    folder = tmp_path_factory.mktemp("rust")
    rust("write", folder)
    return folder


@pytest.fixture
def log(tmp_path) -> Path:
    """Forty listeners who walk around a ring of 30 items, with some skips, as ``.npz``."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 14, size=40)
    item = np.concatenate([(rng.integers(30) + np.arange(n)) % 30 for n in lengths])
    action = rng.choice([4, 5], p=[0.85, 0.15], size=len(item)).astype(np.uint8)
    path = tmp_path / "log.npz"
    keys = np.arange(30, dtype=np.uint64) + np.uint64(2**63)
    np.savez(path, offsets=np.concatenate(([0], lengths.cumsum())), item=item, action=action, item_keys=keys)
    return path


@pytest.fixture
def config(tmp_path):
    """Writes a small ``config.json``."""

    def write(kind: str, **settings) -> Path:
        import json

        small = {"d": 16, "n_blocks": 1, "max_history": 6, "dropout": 0.0}
        if kind != "hstu":
            small["hidden"] = 32
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps({"kind": kind, "settings": {**small, **settings}}))
        return path

    return write
