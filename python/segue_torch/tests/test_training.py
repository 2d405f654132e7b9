"""Shows that training learns, and that the number of processes does not change what it learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from segue_torch.config import Settings
from segue_torch.data import Plays, Windows, read
from segue_torch.losses import Sampler
from segue_torch.train import train

PACKAGE = Path(__file__).parents[1]
ONE_ROUND = {"rounds": 1, "round_steps": 6, "batch": 16, "warmup_steps": 2, "learning_rate": 0.01}
#: Float32 sums in another order, through six steps of Adam.
TOLERANCE = 1e-4


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def gap(one: Path, other: Path) -> float:
    """The largest difference of two weights.

    The bias of the keys is left out: the softmax of attention does not depend on it, so its gradient is
    rounding, which Adam makes as large as any other.
    """
    a, b = weights(one), weights(other)
    d = len(a["norm.weight"])
    for arrays in (a, b):
        arrays["block.0.qkv.bias"][d : 2 * d] = 0.0
    assert a.keys() == b.keys()
    assert (a["item_keys"] == b["item_keys"]).all() and (a["item.trained"] == b["item.trained"]).all()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a if a[name].dtype == np.float32)


def test_windows_are_those_of_the_rust_side():
    # The two tests of `windows.rs`.
    action = np.array([4, 4, 4, 5, 4, 4, 4, 4], dtype=np.uint8)
    plays = Plays(np.array([0, 7, 8, 8]), np.array([0, 1, 2, 3, 4, 5, 6, 7]), action, np.arange(9, dtype=np.uint64))
    settings = Settings.of("sasrec", {"max_history": 4, "training": {"validation_share": 0.0}})
    windows = Windows(plays, settings, seed=0)
    batch = windows.batch([0, 1])
    assert batch.item.tolist() == [2, 3, 4, 5, 0, 1]
    assert batch.offsets.tolist() == [0, 4, 6]
    assert batch.target.tolist() == [4, 5, 6, 1, 2]
    assert batch.target_token.tolist() == [1, 2, 3, 4, 5]
    assert windows.counts.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 0]

    plays = Plays(np.array([0, 4]), np.arange(4), None, np.arange(4, dtype=np.uint64))
    settings = Settings.of("sasrec", {"max_history": 10, "training": {"validation_share": 1.0}})
    windows = Windows(plays, settings, seed=0)
    assert windows.held_out == [(0, 3, 3)]
    assert windows.batch([0]).item.tolist() == [0, 1]
    assert windows.batch([0]).occurred_at is None
    plays.occurred_at = np.array([5_999, 7_000, 9_000, 12_000])
    assert windows.batch([0]).occurred_at.tolist() == [5, 7]
    assert windows.batch([0]).request_at.tolist() == [7, 9]
    assert windows.histories(windows.held_out).request_at.tolist() == [7, 9, 12]
    assert windows.histories(windows.held_out).item.tolist() == [0, 1, 2]
    assert windows.counts.tolist() == [1, 1, 1, 0]


def test_negatives_are_drawn_as_often_as_their_probability_says():
    counts = np.array([0, 9, 40, 0, 1])
    settings = Settings.of("esasrec", {"negatives": {"count": 200_000, "popular": 0.6}})
    sampler = Sampler(counts, settings.negatives)
    drawn = sampler.draw(0, 0, np.zeros(0, dtype=np.int64))
    seen = np.bincount(drawn.ids.numpy(), minlength=5) / 200_000
    assert abs(sampler.probability.sum() - 1) < 1e-12
    assert np.abs(seen - sampler.probability).max() < 0.005
    expected = np.log(200_000 * sampler.probability)[drawn.ids.numpy()]
    assert np.abs(drawn.log_expected.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("sasrec", "softmax"), ("esasrec", "sampled_softmax"), ("esasrec", "gbce"), ("hstu", "sampled_softmax")],
)
def test_a_ring_is_learnt(log, config, tmp_path, kind, loss):
    settings = {"loss": loss, "negatives": {"count": 16}, "training": {**ONE_ROUND, "rounds": 6, "round_steps": 60}}
    reports = train(str(log), str(config(kind, **settings)), str(tmp_path / "out"))
    # By chance it is .15.
    assert max(r.validation_ndcg for r in reports) > 0.9


def test_a_refit_is_a_training_on_all_plays_for_the_rounds_that_validated_best(log, config, tmp_path):
    def run(name, **settings):
        path = config("esasrec", training={**ONE_ROUND, **settings})
        return train(str(log), str(path), str(tmp_path / name))

    reports = run("refit", rounds=4, validation_share=0.5, refit=True)
    best = max(reports, key=lambda r: r.validation_ndcg).round
    run("told", rounds=best, validation_share=0.0)
    assert gap(tmp_path / "refit", tmp_path / "told") == 0.0
    assert '"refit": true' in (tmp_path / "refit" / "config.json").read_text()


def test_a_parquet_file_is_read_with_keys_that_are_hashes_of_ids(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("xxhash")
    columns = {"user_id": ["u", "v", "u"], "item_id": ["a", "b", "b"], "action": ["skipped", "completed", "streamed"]}
    columns["occurred_at"] = pa.array([7_000_000, 1_000, 9_000_000], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table(columns), tmp_path / "plays.parquet")
    plays = read(tmp_path / "plays.parquet")
    assert plays.offsets.tolist() == [0, 2, 3]
    assert plays.item.tolist() == [0, 1, 1]
    assert plays.action.tolist() == [5, 3, 4]
    assert plays.occurred_at.tolist() == [7_000, 9_000, 1]
    # xxh3_64("a"), as `ItemKey::of` gives it.
    assert int(plays.item_keys[0]) == 0xE6C632B61E964E1F


def test_two_processes_under_torchrun_end_with_the_weights_of_one(log, config, tmp_path):
    settings = {"negatives": {"count": 8, "in_batch": 0.5}, "training": {**ONE_ROUND, "refit": True}}
    path = config("esasrec", **settings)
    train(str(log), str(path), str(tmp_path / "one"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "segue_torch.train", "--data", log, "--config", path, "--out", tmp_path / "two"]
    run(command)
    difference = gap(tmp_path / "one", tmp_path / "two")
    print("largest difference of a weight:", difference)
    assert difference < TOLERANCE


def test_two_workers_under_ray_train_end_with_the_weights_of_one_process(log, config, tmp_path):
    probe = "import ray; ray.init(num_cpus=1, include_dashboard=False); ray.shutdown()"
    try:
        subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, timeout=120)
    except subprocess.SubprocessError:
        pytest.skip("Ray does not start on this machine")
    path = config("sasrec", training=ONE_ROUND)
    train(str(log), str(path), str(tmp_path / "one"))
    run([sys.executable, "-m", "segue_torch.ray", "--data", log, "--config", path, "--out", tmp_path / "two"])
    difference = gap(tmp_path / "one", tmp_path / "two")
    print("largest difference of a weight:", difference)
    assert difference < TOLERANCE


def run(command: list) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
