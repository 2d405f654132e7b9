"""Shows that both sides compute the same numbers from the same files, in both directions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import segue_torch
import torch
from safetensors.numpy import load_file, save_file
from segue_torch.config import Settings
from segue_torch.losses import Drawn, sampled_loss, softmax_loss
from segue_torch.optim import clip, optimizers

TOLERANCE = 1e-4
CASES = [f"{kind}-{positions}" for kind in ("sasrec", "esasrec") for positions in ("learned", "rotary", "none")]
CASES += ["hstu-learned", "hstu-none", "hstu-undated"]


def batch_of(arrays: dict[str, np.ndarray]) -> segue_torch.Batch:
    return segue_torch.Batch(**{name: torch.from_numpy(arrays[name].astype(np.int64)) for name in inputs(arrays)})


def inputs(arrays: dict[str, np.ndarray]) -> list[str]:
    """Names of the arrays that make a batch."""
    return [f.name for f in dataclasses.fields(segue_torch.Batch) if f.name in arrays]


def loss_of(model, batch, drawn: Drawn | None) -> torch.Tensor:
    hidden, table = model(batch)[batch.target_token], model.item.weight
    if drawn is None:
        return softmax_loss(hidden, batch.target, table) / len(batch.target)
    return sampled_loss(hidden, batch.target, table, drawn, model.settings) / len(batch.target)


def losses_around_a_step(model, batch, draws: list[Drawn | None]) -> np.ndarray:
    """The loss before and after one step of training, `[1, 2]`."""
    steppers = optimizers(model)
    values = []
    for drawn in draws:
        loss = loss_of(model, batch, drawn)
        values.append(loss.item())
        loss.backward()
        clip(model, model.settings.training.clip)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
    return np.array([values], dtype=np.float32)


def worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    gap = float(np.abs(ours - theirs).max())
    assert gap <= TOLERANCE, gap
    return gap


@pytest.mark.parametrize("case", CASES)
def test_a_model_of_the_rust_side_gives_the_same_numbers_here(written, case, record_property):
    [folder] = (p for p in (written / case / "artifact").iterdir() if p.is_dir())
    computed = load_file(written / case / "computed.safetensors")
    model, batch = segue_torch.load(folder), batch_of(computed)
    hidden = model(batch).detach()
    gaps = {
        "hidden": worst(hidden.numpy(), computed["hidden"]),
        "logits": worst(model.logits(hidden).detach().numpy(), computed["logits"]),
    }
    for name in ("softmax", "sampled_softmax", "gbce", "bce"):
        model = segue_torch.load(folder)
        model.settings = Settings.of(model.kind, {**model.settings.to_json(), "loss": name})
        draws: list[Drawn | None] = [None, None]
        if name != "softmax":
            ids = torch.from_numpy(computed[f"negatives.{name}"].astype(np.int64))
            expected = torch.from_numpy(computed[f"log_expected.{name}"])
            draws = [Drawn(*drawn) for drawn in zip(ids, expected, strict=True)]
        values = losses_around_a_step(model, batch, draws)
        gaps[f"loss.{name}"] = worst(values, computed[f"loss.{name}"])
        # A step that changed nothing would agree too.
        assert abs(values[0, 0] - values[0, 1]) > 1e-2
    print(json.dumps({"case": case, "max_abs_difference": gaps}))


def test_models_written_here_give_the_same_numbers_there(rust, written, tmp_path):
    for case in CASES:
        [folder] = (p for p in (written / case / "artifact").iterdir() if p.is_dir())
        arrays = load_file(written / case / "computed.safetensors")
        model, batch = segue_torch.load(folder), batch_of(arrays)
        # Other weights than those that came from there.
        losses_around_a_step(model, batch, [None] * 5)
        segue_torch.save(model, tmp_path / case)
        model = segue_torch.load(tmp_path / case)
        hidden = model(batch).detach()
        computed = {
            **{name: arrays[name] for name in inputs(arrays)},
            "hidden": hidden.numpy(),
            "logits": model.logits(hidden).detach().numpy(),
            "loss.softmax": losses_around_a_step(twin(model, "softmax"), batch, [None, None]),
        }
        save_file(computed, tmp_path / case / "computed.safetensors")
    output = rust("check", tmp_path)
    assert output.count("max_abs_difference") == 3 * len(CASES)
    print(output)


def twin(model, loss: str):
    model.settings = Settings.of(model.kind, {**model.settings.to_json(), "loss": loss})
    return model


def test_an_artifact_that_does_not_fit_says_what_was_expected_and_what_was_there(written, tmp_path):
    [folder] = (p for p in (written / "sasrec-learned" / "artifact").iterdir() if p.is_dir())
    model = segue_torch.load(folder)
    with pytest.raises(ValueError, match="manifest"):
        segue_torch.save(model, folder)
    segue_torch.save(model, tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    for name, bad, message in [
        ("norm.weight", arrays["norm.weight"][:3], r"`norm.weight` of shape \[16\], got \[3\]"),
        ("norm.weight", arrays["norm.weight"].astype(np.float64), "type float32, got float64"),
        ("norm.weight", arrays["norm.weight"] * np.nan, "finite"),
        ("other", arrays["norm.weight"], r"got \['other'\] instead of \[\]"),
    ]:
        save_file({**arrays, name: bad}, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=message):
            segue_torch.load(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    with pytest.raises(ValueError, match="no setting depth"):
        Settings.of("sasrec", {**settings, "depth": 3})


def test_every_sequence_is_encoded_by_itself_and_no_event_sees_a_later_one():
    # In float64: rounding then is far below the bound, whatever weights are drawn.
    model = segue_torch.new("esasrec", {"d": 16, "hidden": 24, "max_history": 8, "positions": "rotary"}, 20).eval().double()
    histories = [[1, 2, 3, 4, 5], [], [6], [7, 8, 9]]
    together = model(segue_torch.Batch.of(histories)).detach()
    alone = torch.cat([model(segue_torch.Batch.of([h])).detach() for h in histories if h])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    head = model(segue_torch.Batch.of([[1, 2, 3]])).detach()
    torch.testing.assert_close(together[:3], head, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="at most 8 events per sequence, got 9"):
        model(segue_torch.Batch.of([list(range(9))]))


def test_a_time_bias_looks_at_the_time_between_event_and_request():
    model = segue_torch.new("hstu", {"d": 16, "max_history": 8}, 20).eval()
    torch.nn.init.normal_(model.block[0].bias.time)
    batch = segue_torch.Batch.of([[1, 2, 3]])
    batch.occurred_at, batch.request_at = torch.tensor([0, 100, 200]), torch.tensor([100, 200, 300])
    soon = model(batch).detach()
    batch.request_at = torch.tensor([100, 200, 90_000])
    late = model(batch).detach()
    assert (soon[:2] == late[:2]).all() and (soon[2] != late[2]).any()
    with pytest.raises(ValueError, match="no setting hidden"):
        Settings.of("hstu", {"hidden": 3})
