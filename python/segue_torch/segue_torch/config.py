"""Settings: the ``settings`` of ``config.json``, with the names and defaults of the Rust side.

They mirror ``crates/segue-models/src/sequence/{sasrec,esasrec,hstu,settings}.rs``; unknown names are refused.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

KINDS = ("sasrec", "esasrec", "hstu")
#: Settings that a kind does not have.
ABSENT = {
    "sasrec": {"time_bias"},
    "esasrec": {"time_bias"},
    "hstu": {"hidden", "attention_dropout"},
}
POSITIONS = ("learned", "rotary", "none")
LOSSES = ("softmax", "sampled_softmax", "gbce", "bce")
TARGETS = ("all", "wanted")


@dataclass(frozen=True)
class Negatives:
    """Negatives of the sampled losses, shared by all tokens of a step."""

    count: int = 256
    popular: float = 0.0
    in_batch: float = 0.0
    log_q: bool = True
    calibration: float = 0.75


@dataclass(frozen=True)
class Training:
    """Settings of the training loop. ``shards`` is kept for the Rust side and changes nothing here."""

    rounds: int = 100
    round_steps: int = 100
    patience: int = 5
    batch: int = 128
    shards: int = 4
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.0
    table_decay: float = 0.0
    clip: float = 5.0
    validation_share: float = 0.1
    validation_listeners: int = 4000
    refit: bool = False


@dataclass(frozen=True)
class Settings:
    """What the network looks like, and how it is trained. :data:`ABSENT` says which kind lacks which."""

    kind: str = "sasrec"
    d: int = 64
    n_blocks: int = 2
    n_heads: int = 2
    hidden: int = 256
    max_history: int = 200
    positions: str = "learned"
    time_bias: bool = True
    actions: bool = True
    dropout: float = 0.2
    attention_dropout: float = 0.0
    targets: str = "wanted"
    loss: str = "softmax"
    negatives: Negatives = field(default_factory=Negatives)
    training: Training = field(default_factory=Training)

    @classmethod
    def of(cls, kind: str, settings: dict[str, Any]) -> Settings:
        """Reads the settings of a model of ``kind``; what is absent has the default of the kind.

        Raises
        ------
        ValueError
            Names the setting, its value and the rule.
        """
        _one_of("kind", kind, KINDS)
        values = dict(settings)
        _known(cls, values, kind, {"kind", *ABSENT[kind]})
        values.setdefault("loss", "softmax" if kind == "sasrec" else "sampled_softmax")
        for name, part in (("negatives", Negatives), ("training", Training)):
            if name in values:
                values[name] = part(**_known(part, values[name], f"{kind}.{name}"))
        out = cls(kind=kind, **values)
        out._check()
        return out

    def to_json(self) -> dict[str, Any]:
        """The ``settings`` of ``config.json``."""
        absent = {"kind", *ABSENT[self.kind]}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in absent}

    def _check(self) -> None:
        _one_of("positions", self.positions, POSITIONS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("targets", self.targets, TARGETS)
        for name in ("d", "n_blocks", "n_heads", "hidden", "max_history"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it is at least 1")
        if self.d % self.n_heads:
            raise ValueError(f"`n_heads` is {self.n_heads}; it divides `d`, which is {self.d}")
        if self.positions == "rotary" and self.kind == "hstu":
            raise ValueError("`positions` is 'rotary'; this model knows `learned` and `none`")
        if self.positions == "rotary" and self.d // self.n_heads % 2:
            raise ValueError(f"`n_heads` is {self.n_heads}; rotary positions need an even `d / n_heads`")
        if self.training.refit and not self.training.validation_share > 0:
            raise ValueError("`training.refit` needs a `validation_share` above 0 to find the rounds")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it is in [0, 1)")


def _known(of: type, values: dict[str, Any], where: str, absent: set[str] | None = None) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(of)} - (absent or set())
    if unknown := sorted(set(values) - names):
        raise ValueError(f"`{where}` has no setting {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    return values


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"`{name}` is {value!r}; it is one of {', '.join(allowed)}")
