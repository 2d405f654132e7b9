"""Trains a model: ``python -m segue_torch.train --data HOME --config config.json --out DIR``.

One process, or several with ``torchrun --nproc-per-node N -m segue_torch.train …`` (gloo on CPUs, NCCL on
GPUs). ``segue model pull DIR --name NAME --publish`` takes the result into a home.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

from .artifact import load, new
from .data import read
from .training import Report, Trainer


def train(data: str, config: str, out: str, seed: int = 0, start: str | None = None) -> list[Report]:
    """Trains in this process, which is one of a group if ``torch.distributed`` says so.

    Parameters
    ----------
    data
        A Segue home or snapshot, a ``.npz`` or a ``.parquet`` file: see :func:`segue_torch.data.read`.
    config
        A ``config.json``: ``{"kind": "esasrec", "settings": {…}}``.
    out
        Folder of the best weights.
    seed
        Of initial weights, held-out listeners, order, negatives and dropout.
    start
        A folder with a trained model of the same items to go on from.
    """
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))
        torch.cuda.set_device(device)
    plays = read(data)
    if start is None:
        what = json.loads(Path(config).read_text())
        torch.manual_seed(seed)
        model = new(what["kind"], what["settings"], plays.n_items, plays.item_keys)
    else:
        model = load(start)
        if not torch.equal(model.item_keys, torch.from_numpy(plays.item_keys.view("int64").copy())):
            raise ValueError(f"{start}: expected the item keys of {data}, got others")
    if model.kind == "hstu" and model.settings.time_bias and plays.occurred_at is None:
        warnings.warn(f"{data} does not say when plays began: the time bias of hstu learns nothing", stacklevel=2)
    tell = lambda report: print(json.dumps(dataclasses.asdict(report)), file=sys.stderr, flush=True)  # noqa: E731
    return Trainer(model, plays, seed, device).run(out, tell)


def arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options that all ways to train share."""
    parser.add_argument("--data", required=True, help="a Segue home or snapshot, a .npz or a .parquet file")
    parser.add_argument("--config", required=True, help="config.json: kind and settings")
    parser.add_argument("--out", required=True, help="folder for config.json and model.safetensors")
    parser.add_argument("--start", help="folder of a trained model of the same items to go on from")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main() -> None:
    options = arguments(argparse.ArgumentParser("segue_torch.train", description=__doc__.split("\n")[0])).parse_args()
    grouped = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if grouped:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train(**vars(options))
    finally:
        if grouped:
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
