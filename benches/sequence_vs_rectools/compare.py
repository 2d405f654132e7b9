"""Seconds, CPU seconds and memory until a sequence model ranks as well as RecTools' best round.

Data: every listener's last item is dropped (it is the test of protocol P-S3 and nobody looks at it here), the one before
is what both sides are judged on after each pass, the rest is what both train on. Judging is the same on both sides:
the whole training catalogue without what the listener has seen, NDCG@10 over all listeners. For RecTools its time is not
counted (making batches is); ours has it in its time.
"""

import argparse
import io
import json
import re
import resource
import subprocess
import sys
import time

# Pairs that are compared: what RecTools is told, what `segue` is told.
PAIRS = {
    # The same sizes, loss, batch, dropout and optimiser; README.md says what differs.
    "same": (
        {"layers": "sasrec", "n_blocks": 2, "n_heads": 2, "loss": "softmax", "dropout": 0.2, "lr": 1e-3, "batch": 128},
        'kind = "sasrec"\nd = 64\nn_blocks = 2\nn_heads = 2\nhidden = 64\nmax_history = 50\ndropout = 0.2\nattention_dropout = 0.2\nloss = "softmax"\n'
        "[training]\nbatch = 128\nlearning_rate = 0.001\nwarmup_steps = 0\nclip = 0.0\n",
    ),
    # What each side has for such data: gated blocks and sampled softmax.
    "best": (
        {"layers": "ligr", "n_blocks": 2, "n_heads": 1, "loss": "sampled_softmax", "negatives": 256, "width": 2, "dropout": 0.5, "lr": 2e-3, "batch": 256},
        'kind = "esasrec"\nd = 64\nn_blocks = 2\nn_heads = 1\nhidden = 128\nmax_history = 50\ndropout = 0.5\n'
        "negatives = { count = 512, popular = 0.5 }\n"
        "[training]\nbatch = 256\nlearning_rate = 0.002\n",
    ),
}
D = 64
MAX_HISTORY = 50


def read(path):
    """Items of each listener, oldest first."""
    if path.endswith(".zst"):
        import zstandard

        with open(path, "rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file).read().decode()
    else:
        text = open(path, encoding="utf-8").read()
    return [[int(word) for word in line.split()[1:]] for line in io.StringIO(text) if line.strip()]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rectools(args):
    """Trains round by round until `patience` rounds brought nothing better; prints a JSON line per round."""
    import warnings

    warnings.filterwarnings("ignore")
    import logging

    logging.disable(logging.WARNING)
    import numpy as np
    import pandas as pd
    import torch
    from pytorch_lightning import Trainer
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.item_net import IdEmbeddingsItemNet
    from rectools.models.nn.transformers.ligr import LiGRLayers
    from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    told = json.loads(args.told)
    listeners = read(args.file)
    rows = [(user, item, at) for user, items in enumerate(listeners) for at, item in enumerate(items[:-1])]
    frame = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, "at"])
    frame[Columns.Datetime] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["at"], unit="D")
    frame[Columns.Weight] = 1.0
    frame = frame.drop(columns="at")
    dataset = Dataset.construct(frame)
    target = {user: items[-1] for user, items in enumerate(listeners) if len(items) > 1}

    def trainer():
        quiet = {"enable_checkpointing": False, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(max_epochs=1, accelerator="cpu", **quiet)

    model = SASRecModel(
        n_blocks=told["n_blocks"],
        n_heads=told["n_heads"],
        n_factors=D,
        dropout_rate=told["dropout"],
        session_max_len=MAX_HISTORY,
        loss=told["loss"],
        n_negatives=told.get("negatives", 1),
        lr=told["lr"],
        batch_size=told["batch"],
        epochs=1,
        item_net_block_types=(IdEmbeddingsItemNet,),
        transformer_layers_kwargs={"ff_factors_multiplier": told["width"]} if "width" in told else None,
        transformer_layers_type=LiGRLayers if told["layers"] == "ligr" else SASRecTransformerLayers,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    wall, cpu, best, since = 0.0, 0.0, -1.0, 0
    users = np.array(sorted(target))
    for done in range(1, args.rounds + 1):
        wall_zero, cpu_zero = time.perf_counter(), time.process_time()
        model.fit_partial(dataset, min_epochs=1, max_epochs=1)
        wall += time.perf_counter() - wall_zero
        cpu += time.process_time() - cpu_zero
        peak = peak_mb()
        lists = model.recommend(users, dataset, k=10, filter_viewed=True)
        rank = lists[Columns.Rank].to_numpy()
        hit = lists[Columns.Item].to_numpy() == np.array([target[u] for u in lists[Columns.User]])
        ndcg = float((1.0 / np.log2(rank[hit] + 1.0)).sum() / len(target))
        print(json.dumps({"round": done, "ndcg": ndcg, "wall": wall, "cpu": cpu, "peak_mb": peak}), flush=True)
        since = 0 if ndcg > best else since + 1
        best = max(best, ndcg)
        if since >= args.patience:
            break


def ours(args, told):
    """Runs the example on the whole file: it sets the last items aside and holds out the ones before."""
    settings = told.rstrip("\n").split("\n")
    at = settings.index("[training]") if "[training]" in settings else len(settings)
    settings = settings[: at + 1] + [
        "shards = 1" if args.threads == 1 else "shards = 4",
        "validation_share = 1.0",
        "validation_listeners = 1000000",
        f"rounds = {args.rounds}",
        f"patience = {args.patience}",
        "round_steps = 1",
    ] + settings[at + 1 :]
    command = [args.binary, args.file, "\n".join(settings), str(args.seed)]
    child = subprocess.run(command, check=True, capture_output=True, text=True, env={"RAYON_NUM_THREADS": str(args.threads)})
    line = re.compile(r"round +(\d+) .* validation (\S+) .*so far (\S+) s, (\S+) CPU s, peak (\S+) MB")
    names = ("round", "ndcg", "wall", "cpu", "peak_mb")
    return [dict(zip(names, map(float, found.groups()))) for found in line.finditer(child.stdout)]


def reached(rounds, ndcg):
    """The first round that is at least as good, or nothing."""
    return next((r for r in rounds if r["ndcg"] >= ndcg), None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary")
    parser.add_argument("--work")
    parser.add_argument("--file", required=True)
    parser.add_argument("--what", default="all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--told", help="run RecTools with this and nothing else")
    args = parser.parse_args()
    if args.told:
        return rectools(args)
    lines = [f"{user} {' '.join(map(str, items[:-1]))}\n" for user, items in enumerate(read(args.file)) if len(items) > 1]
    path = f"{args.work}/train.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)
    for name, (theirs, told) in PAIRS.items():
        if args.what not in ("all", name):
            continue
        command = [sys.executable, __file__, "--file", path, "--threads", str(args.threads), "--told", json.dumps(theirs)]
        command += ["--rounds", str(args.rounds), "--patience", str(args.patience), "--seed", str(args.seed)]
        child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peer = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
        mine = ours(args, told)
        best = max(peer, key=lambda r: r["ndcg"])
        print(f"\n## {name}: {args.threads} thread(s)\n")
        print("| | rounds | best NDCG@10 | CPU s per round | peak MB |\n|---|---|---|---|---|")
        for who, rounds in (("RecTools", peer), ("segue", mine)):
            top = max(rounds, key=lambda r: r["ndcg"])
            per_round = rounds[-1]["cpu"] / len(rounds)
            print(f"| {who} | {len(rounds)} | {top['ndcg']:.4f} in round {top['round']:.0f} | {per_round:.2f} | {rounds[-1]['peak_mb']:.0f} |")
        print("\n| validation NDCG@10 of at least | RecTools CPU s (wall) | segue CPU s (wall) | ratio |\n|---|---|---|---|")
        for share in (0.8, 0.9, 0.95, 1.0):
            goal = share * best["ndcg"]
            a, b = reached(peer, goal), reached(mine, goal)
            ratio = f"{a['cpu'] / b['cpu']:.1f}" if b else "not reached"
            side = f"{b['cpu']:.1f} ({b['wall']:.1f})" if b else "–"
            print(f"| {goal:.4f} ({share:.0%} of RecTools' best) | {a['cpu']:.1f} ({a['wall']:.1f}) | {side} | {ratio} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
