"""The parts of a block: attention over packed sequences, feed-forward parts, gates.

Each mirrors a file of ``crates/segue-nn/src``, with the names of its parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Settings

#: Added to the variance, as ``norm.rs`` does.
NORM_EPSILON = 1e-6
ROTARY_BASE = 10_000.0


class Jagged:
    """Where packed tokens stand in a padded batch: ``[n_tokens]`` against ``[n_sequences, longest]``.

    Parameters
    ----------
    offsets
        ``[n_sequences + 1]`` int64; sequence ``s`` owns tokens ``offsets[s]`` to ``offsets[s + 1]``.
    """

    def __init__(self, offsets: Tensor) -> None:
        self.lengths = offsets.diff()
        self.n_sequences = len(self.lengths)
        self.longest = int(self.lengths.max()) if self.n_sequences else 0
        n = int(offsets[-1])
        device = offsets.device
        #: ``[n_tokens]`` the sequence of each token.
        self.sequence = torch.repeat_interleave(
            torch.arange(self.n_sequences, device=device), self.lengths, output_size=n
        )
        #: ``[n_tokens]`` places counted from the oldest event.
        self.place = torch.arange(n, device=device) - offsets[:-1][self.sequence]
        #: ``[n_tokens]`` places counted from the newest event.
        self.from_newest = self.lengths[self.sequence] - 1 - self.place
        #: ``[n_tokens]`` rows of the padded batch, seen as ``[n_sequences * longest]``.
        self.row = self.sequence * self.longest + self.place

    def pad(self, x: Tensor) -> Tensor:
        """``[n_tokens, …]`` → ``[n_sequences, longest, …]``, zeros at the end of short sequences."""
        padded = x.new_zeros(self.n_sequences * self.longest, *x.shape[1:])
        return padded.index_copy(0, self.row, x).view(self.n_sequences, self.longest, *x.shape[1:])

    def pack(self, x: Tensor) -> Tensor:
        """``[n_sequences, longest, …]`` → ``[n_tokens, …]``."""
        return x.flatten(0, 1).index_select(0, self.row)


def rotate(x: Tensor, place: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021): dimension ``i`` of a head is paired with ``i + head_dim / 2``.

    ``x`` is ``[n_tokens, n_heads, head_dim]``, ``place`` ``[n_tokens]``.
    """
    head_dim = x.shape[-1]
    power = torch.arange(0, head_dim, 2, device=x.device, dtype=torch.float64) / head_dim
    angle = place.double()[:, None] * ROTARY_BASE**-power  # [n_tokens, head_dim / 2]
    cos, sin = angle.cos()[:, None].to(x.dtype), angle.sin()[:, None].to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def causal_attention(qkv: Tensor, jagged: Jagged, n_heads: int, rotary: bool, dropout: float) -> Tensor:
    """``softmax(Q Kᵀ / √head_dim) V`` per head and sequence: ``[n_tokens, 3 d]`` → ``[n_tokens, d]``.

    Sequences are padded at their end. A token looks back only, so none sees the padding, no mask is
    needed, and the fused kernels of a GPU apply.
    """
    n_tokens, d = qkv.shape[0], qkv.shape[1] // 3
    q, k, v = qkv.view(n_tokens, 3, n_heads, d // n_heads).unbind(1)
    if rotary:
        q, k = rotate(q, jagged.place), rotate(k, jagged.place)
    q, k, v = (jagged.pad(x).transpose(1, 2) for x in (q, k, v))  # [n_sequences, n_heads, longest, head_dim]
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    return jagged.pack(out.transpose(1, 2)).reshape(n_tokens, d)


#: Buckets of gaps: none at all, then two per doubling of seconds up to 2³².
N_GAPS = 66


def gap_bucket(seconds: Tensor) -> Tensor:
    """The bucket of gaps in whole seconds: 0 for none, else ``1 + 2 ⌊log₂ s⌋``, and one more from 1.5 times
    that power of two on; read off the exponent and first fraction bit of a float32, as ``relative_bias.rs`` does.
    """
    bits = seconds.clamp(min=0).float().contiguous().view(torch.int32).long() >> 22
    return bits.clamp(min=253) - 253


class RelativeBias(nn.Module):
    """``position[i - j] + time[bucket(request_at[i] - occurred_at[j])]`` for query ``i`` and key ``j``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(settings.max_history))
        if settings.time_bias:
            self.time = nn.Parameter(torch.zeros(N_GAPS))
        self.with_time = settings.time_bias

    def forward(self, jagged: Jagged, occurred_at: Tensor | None, request_at: Tensor | None) -> Tensor:
        """``[n_sequences or 1, longest, longest]``; what lies above the diagonal means nothing."""
        place = torch.arange(jagged.longest, device=self.position.device)
        bias = self.position[(place[:, None] - place).clamp(min=0)][None]
        if self.with_time and occurred_at is not None:
            gap = jagged.pad(request_at)[:, :, None] - jagged.pad(occurred_at)[:, None, :]
            bias = bias + self.time[gap_bucket(gap)]
        return bias


class HstuBlock(nn.Module):
    """A layer of HSTU: pointwise attention over ``SiLU(norm_1(x) W)`` that gates its own output.

    ``x + out(norm_2(SiLU(Q Kᵀ / √head_dim + bias) V / n_seen) ⊙ U)``
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        d = settings.d
        self.n_heads = settings.n_heads
        self.norm_1 = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.qkvu = nn.Linear(d, 4 * d, bias=False)
        self.bias = RelativeBias(settings)
        self.norm_2 = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.out = nn.Linear(d, d)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, jagged: Jagged, occurred_at: Tensor | None, request_at: Tensor | None) -> Tensor:
        n_tokens, d = x.shape
        *qkv, gate = F.silu(self.qkvu(self.norm_1(x))).chunk(4, dim=-1)
        heads = (n_tokens, self.n_heads, d // self.n_heads)
        q, k, v = (jagged.pad(part.view(heads)).transpose(1, 2) for part in qkv)
        scores = q @ k.transpose(-1, -2) / (d // self.n_heads) ** 0.5
        scores = scores + self.bias(jagged, occurred_at, request_at)[:, None]  # [n_sequences, n_heads, longest, longest]
        n_seen = torch.arange(1, jagged.longest + 1, device=x.device, dtype=x.dtype)[:, None]
        attended = (F.silu(scores).tril() / n_seen) @ v
        attended = jagged.pack(attended.transpose(1, 2)).reshape(n_tokens, d)
        return x + self.out(self.dropout(self.norm_2(attended) * gate))


class Mlp(nn.Module):
    """``down(dropout(activation(up(x))))``: GELU in its tanh form with biases, or SwiGLU without."""

    def __init__(self, settings: Settings, swiglu: bool) -> None:
        super().__init__()
        d, hidden = settings.d, settings.hidden
        self.swiglu = swiglu
        self.up = nn.Linear(d, 2 * hidden if swiglu else hidden, bias=not swiglu)
        self.down = nn.Linear(hidden, d, bias=not swiglu)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.up(x)
        if self.swiglu:
            a, b = wide.chunk(2, dim=-1)
            inner = F.silu(a) * b
        else:
            inner = F.gelu(wide, approximate="tanh")
        return self.down(self.dropout(inner))


class Block(nn.Module):
    """A pre-norm block; ``gated`` adds the gates of LiGR, ``x + σ(W x + b) ⊙ added``."""

    def __init__(self, settings: Settings, gated: bool) -> None:
        super().__init__()
        d = settings.d
        self.n_heads, self.rotary = settings.n_heads, settings.positions == "rotary"
        self.attention_dropout = settings.attention_dropout
        self.norm_1 = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.norm_2 = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.mlp = Mlp(settings, swiglu=gated)
        if gated:
            self.gate_1, self.gate_2 = nn.Linear(d, d), nn.Linear(d, d)
        self.gated = gated
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, jagged: Jagged) -> Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        attended = causal_attention(self.qkv(self.norm_1(x)), jagged, self.n_heads, self.rotary, dropout)
        added = self.dropout(self.out(attended))
        x = x + (torch.sigmoid(self.gate_1(x)) * added if self.gated else added)
        added = self.dropout(self.mlp(self.norm_2(x)))
        return x + (torch.sigmoid(self.gate_2(x)) * added if self.gated else added)
