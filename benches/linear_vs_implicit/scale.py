"""iALS on made-up matrices: 1M users × 200k items with 10M, 30M and 100M plays. Peak memory and time per pass.

Item popularity follows Zipf's law (exponent 0.9), users have between half and one and a half times the mean number of plays; a
repeated draw counts once, so a little fewer entries remain. Seeded.
"""

import argparse
import json
import subprocess

import numpy as np

N_USERS, N_ITEMS, EXPONENT = 1_000_000, 200_000, 0.9


def generate(path, n_users, n_items, n_plays, seed=1):
    rng = np.random.default_rng(seed)
    share = np.cumsum(np.arange(1, n_items + 1) ** -EXPONENT)
    share /= share[-1]
    item_of_rank = rng.permutation(n_items).astype(np.int64)
    mean = n_plays / n_users
    offsets, n = np.zeros(n_users + 1, dtype="<u8"), 0
    with open(path, "wb") as file:
        file.write(np.zeros(3, dtype="<u8").tobytes() + offsets.tobytes())
        for first in range(0, n_users, 10_000):
            sizes = rng.integers(max(1, int(mean / 2)), int(mean * 1.5) + 1, min(10_000, n_users - first))
            user = np.repeat(np.arange(len(sizes)), sizes)
            ranks = np.minimum(np.searchsorted(share, rng.random(len(user))), n_items - 1)
            pairs = np.unique(user * n_items + item_of_rank[ranks])
            counts = np.bincount(pairs // n_items, minlength=len(sizes))
            offsets[first + 1 : first + 1 + len(sizes)] = n + np.cumsum(counts)
            n += len(pairs)
            file.write((pairs % n_items).astype("<u4").tobytes())
        file.seek(0)
        file.write(np.array([n_users, n_items, n], dtype="<u8").tobytes() + offsets.tobytes())
    return n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--plays", type=int, nargs="*", default=[10_000_000, 30_000_000, 100_000_000])
    parser.add_argument("--quick", action="store_true", help="a hundredth of it: does it run?")
    args = parser.parse_args()
    shrink = 100 if args.quick else 1
    print("| plays | d | read, s wall / CPU | one pass, s wall / CPU | peak MB |\n|---|---|---|---|---|", flush=True)
    for n_plays in args.plays:
        path = f"{args.work}/made-up"
        n = generate(path, N_USERS // shrink, N_ITEMS // shrink, n_plays // shrink)
        settings = [
            f"factors={args.factors}", f"iterations={args.passes}", "max_user_items=1000000", "max_history=1000",
            'solver="cg"',
        ]
        command = [args.binary, path, str(args.threads), "passes", "0", *settings]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        wall, cpu = np.array(result["passes"]).min(axis=0)
        print(
            f"| {n} | {args.factors} | {result['read'][0]:.1f} / {result['read'][1]:.1f} "
            f"| {wall:.1f} / {cpu:.1f} | {result['peak_mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
