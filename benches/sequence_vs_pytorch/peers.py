"""SASRec in PyTorch on the CPU, padded and hand-packed: real tokens per second of whole training steps.

    peers.py data FILE                        writes made-up histories of a music service (seeded)
    peers.py train FILE padded|packed K       K negatives shared by a step, 0 for the softmax over all items

Network, batch, loss and optimiser are those of `kind = "sasrec"` in `run`: d = 64, 2 pre-norm blocks of 2
heads, GELU of width 256, learned positions, tied item vectors, dropout .2, AdamW, 128 windows a step.
"""

import random
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


def train(path, kind, k):
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
            self.item, self.position = nn.Embedding(N_ITEMS + 1, D), nn.Embedding(MAX, D)
            nn.init.normal_(self.item.weight, std=0.02)
            nn.init.normal_(self.position.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm, self.drop = nn.LayerNorm(D), nn.Dropout(0.2)

        def forward(self, item, position, place=None):
            x = self.drop(self.item(item) * D**0.5 + self.position(position))
            for block in self.blocks:
                x = block(x, place)
            return self.norm(x)

    torch.manual_seed(1)
    model = SasRec()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    histories = [[int(item) for item in line.split()[1:]] for line in open(path)]
    # The same train part as the other side's: the last play is left for the test.
    histories = [h[:-1][-MAX - 1 :] for h in histories if len(h) > 2]

    def step(rows):
        lengths = torch.tensor([len(h) - 1 for h in rows])
        length = int(lengths.max())
        mask = torch.arange(length)[None, :] < lengths[:, None]
        item = torch.zeros(len(rows), length, dtype=torch.long)
        item[mask] = torch.tensor([i for h in rows for i in h[:-1]])
        target = torch.tensor([i for h in rows for i in h[1:]])
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
            negative = torch.randint(1, N_ITEMS + 1, (k,))
            wanted = (hidden * model.item(target)).sum(1, keepdim=True)
            logits = hidden @ model.item(negative).T
            logits = logits.masked_fill(negative[None, :] == target[:, None], float("-inf"))
            logits = torch.cat([wanted, logits], 1)
            loss = F.cross_entropy(logits, torch.zeros(len(target), dtype=torch.long))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        return len(target)

    order = random.Random(1).sample(range(len(histories)), len(histories))
    batches = [[histories[i] for i in order[at : at + BATCH]] for at in range(0, len(order), BATCH)]
    for rows in batches[:3]:
        step(rows)
    tokens, wall, cpu = 0, time.perf_counter(), time.process_time()
    for rows in batches[3:]:
        tokens += step(rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    loss = f"{k} negatives" if k else "all items"
    print(f"torch {kind:7} {loss:14} tokens/s wall {tokens / wall:.0f}, per CPU second {tokens / cpu:.0f}")


if __name__ == "__main__":
    if sys.argv[1] == "data":
        write_data(sys.argv[2])
    else:
        train(sys.argv[2], sys.argv[3], int(sys.argv[4]))
