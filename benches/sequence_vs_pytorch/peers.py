"""SASRec in PyTorch on the CPU, padded and hand-packed: real tokens per second of whole training steps.

    peers.py data FILE                              writes made-up histories of a music service (seeded)
    peers.py train FILE|HOME padded|packed K [N]    K negatives shared by a step, 0 for the softmax over all items;
                                                    N steps at most

Network, batch, loss and optimiser are those of `kind = "sasrec"` in `run`: d = 64, 2 pre-norm blocks of 2
heads, GELU of width 256, learned positions, tied item vectors, dropout .2, AdamW, 128 windows a step. A table of more than
20,000 items has sparse gradients and `SparseAdam`: only the rows of a step are updated, as on the other side.
"""

import os
import random
import resource
import sys
import time

N_ITEMS, N_LISTENERS, MAX, D, HEADS, HIDDEN, BLOCKS, BATCH = 3416, 6040, 200, 64, 2, 256, 2, 128


def write_data(path):
    """Lognormal lengths, 38 on average and 200 at most; Zipf-like items, of which many lead to the next."""
    draw = random.Random(1)
    weights = [1 / (i + 10) ** 0.9 for i in range(N_ITEMS)]
    items = range(N_ITEMS)
    with open(path, "w") as file:
        for user in range(1, N_LISTENERS + 1):
            n = min(MAX, max(2, int(draw.lognormvariate(3.35, 0.8))))
            plays = draw.choices(items, weights, k=n)
            for i in range(1, n):
                if draw.random() < 0.6:
                    plays[i] = (plays[i - 1] * 7 + draw.randrange(8)) % N_ITEMS
            print(user, *(item + 1 for item in plays), file=file)


def windows_of(path):
    """Windows of at most `MAX` inputs and their targets, oldest first, items from 1; and the number of items."""
    if os.path.isdir(path):
        import numpy as np

        snapshots = os.path.join(path, "snapshots")
        with open(os.path.join(snapshots, "current")) as file:
            plays = os.path.join(snapshots, file.read().strip(), "plays")
        offsets = np.fromfile(os.path.join(plays, "offsets.u64"), "<u8").astype(np.int64)
        items = np.fromfile(os.path.join(plays, "item.u32"), "<u4").astype(np.int64) + 1
        # Cut as the other side cuts: newest first, each target once.
        cuts = ((a, b) for a, b in zip(offsets[:-1], offsets[1:]))
        windows = [items[max(a, end - MAX - 1) : end] for a, b in cuts for end in range(b, a + 1, -MAX)]
        rows = os.path.getsize(os.path.join(os.path.dirname(plays), "items.key.u64")) // 8
        return windows, rows
    histories = [[int(item) for item in line.split()[1:]] for line in open(path)]
    # The same train part as the other side's: the last play is left for the test.
    return [h[:-1][-MAX - 1 :] for h in histories if len(h) > 2], N_ITEMS


def train(path, kind, k, n_steps):
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(D), nn.LayerNorm(D)
            self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
            self.up, self.down = nn.Linear(D, HIDDEN), nn.Linear(HIDDEN, D)
            self.drop = nn.Dropout(0.2)

        def forward(self, x, place):
            """`x` `[tokens, D]` with `place` of each token in `[B, L]`, or `[B, L, D]` without."""
            qkv = self.qkv(self.norm_1(x))
            if place is not None:
                b, length, where = place
                padded = qkv.new_zeros(b * length, 3 * D).index_copy(0, where, qkv)
                qkv = padded.view(b, length, 3 * D)
            b, length, _ = qkv.shape
            q, key, v = qkv.view(b, length, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
            # Padding stands at the end: no token looks at what comes after it.
            y = F.scaled_dot_product_attention(q, key, v, is_causal=True)
            y = y.transpose(1, 2).reshape(b, length, D)
            if place is not None:
                y = y.view(b * length, D).index_select(0, place[2])
            x = x + self.drop(self.out(y))
            hidden = self.drop(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))
            return x + self.drop(self.down(hidden))

    class SasRec(nn.Module):
        def __init__(self):
            super().__init__()
            self.item, self.position = nn.Embedding(n_items + 1, D, sparse=sparse), nn.Embedding(MAX, D)
            nn.init.normal_(self.item.weight, std=0.02)
            nn.init.normal_(self.position.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm, self.drop = nn.LayerNorm(D), nn.Dropout(0.2)

        def forward(self, item, position, place=None):
            x = self.drop(self.item(item) * D**0.5 + self.position(position))
            for block in self.blocks:
                x = block(x, place)
            return self.norm(x)

    histories, n_items = windows_of(path)
    sparse = n_items > 20_000
    torch.manual_seed(1)
    model = SasRec()
    rest = [p for p in model.parameters() if not (sparse and p is model.item.weight)]
    optimisers = [torch.optim.AdamW(rest, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)]
    if sparse:
        optimisers.append(torch.optim.SparseAdam([model.item.weight], lr=1e-3, betas=(0.9, 0.98)))

    def step(rows):
        lengths = torch.tensor([len(h) - 1 for h in rows])
        length = int(lengths.max())
        mask = torch.arange(length)[None, :] < lengths[:, None]
        item = torch.zeros(len(rows), length, dtype=torch.long)
        item[mask] = torch.from_numpy(np.concatenate([h[:-1] for h in rows]))
        target = torch.from_numpy(np.concatenate([h[1:] for h in rows]))
        # Counted from the newest event.
        position = (lengths[:, None] - 1 - torch.arange(length)[None, :]).clamp(min=0)
        if kind == "packed":
            place = (len(rows), length, mask.flatten().nonzero().squeeze(1))
            hidden = model(item[mask], position[mask], place)
        else:
            hidden = model(item, position)[mask]
        if k == 0:
            loss = 0.0
            for part, wanted in zip(hidden.split(512), target.split(512)):
                loss = loss + F.cross_entropy(part @ model.item.weight[1:].T, wanted - 1, reduction="sum")
            loss = loss / len(target)
        else:
            negative = torch.randint(1, n_items + 1, (k,))
            wanted = (hidden * model.item(target)).sum(1, keepdim=True)
            logits = hidden @ model.item(negative).T
            logits = logits.masked_fill(negative[None, :] == target[:, None], float("-inf"))
            logits = torch.cat([wanted, logits], 1)
            loss = F.cross_entropy(logits, torch.zeros(len(target), dtype=torch.long))
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(rest, 5.0)
        for optimiser in optimisers:
            optimiser.step()
        return len(target)

    order = random.Random(1).sample(range(len(histories)), len(histories))
    batches = [[histories[i] for i in order[at : at + BATCH]] for at in range(0, len(order), BATCH)][:n_steps]
    for rows in batches[:3]:
        step(rows)
    tokens, wall, cpu = 0, time.perf_counter(), time.process_time()
    for rows in batches[3:]:
        tokens += step(rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    loss = f"{k} negatives" if k else "all items"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"torch {kind:7} {loss:14} tokens/s wall {tokens / wall:.0f}, per CPU second {tokens / cpu:.0f}; peak {peak:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1] == "data":
        write_data(sys.argv[2])
    else:
        train(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else None)
