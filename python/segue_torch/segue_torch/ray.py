"""Trains under Ray Train: ``python -m segue_torch.ray --workers 2 --data HOME --config config.json --out DIR``.

``--data``, ``--config`` and ``--out`` are read and written by the workers: on a cluster they lie on a file
system that all of them mount.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import Any

from .train import arguments, train


def _worker(options: dict[str, Any]) -> None:
    # Ray Train has made the process group, and set the device of a GPU worker.
    import ray.train

    os.environ["LOCAL_RANK"] = str(ray.train.get_context().get_local_rank())
    train(**options)


def fit(workers: int, gpu: bool = False, **options: Any) -> None:
    """Trains with a number of workers; ``options`` are those of :func:`segue_torch.train.train`.

    Each round's report is a line of JSON in the log of the first worker.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    for name in ("data", "config", "out", "start"):
        if options.get(name):
            options[name] = os.path.abspath(options[name])
    with tempfile.TemporaryDirectory() as storage:
        trainer = TorchTrainer(
            _worker,
            train_loop_config=options,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            run_config=RunConfig(storage_path=storage),
        )
        trainer.fit()


def main() -> None:
    parser = arguments(argparse.ArgumentParser("segue_torch.ray", description=__doc__.split("\n")[0]))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="one GPU per worker")
    fit(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
