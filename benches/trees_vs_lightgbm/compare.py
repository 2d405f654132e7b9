"""Fits our trees and LightGBM to the same rows and prints a table.

The data are made here, so the best possible AUC is known: a row belongs to a request of ten; its
log odds are a smooth function of a dozen columns, products of pairs among them, an effect of the
request that no within-request measure can see, and an effect of values that are missing. The other
columns are noise, some of them integers, constants of a request, or heavy-tailed.

Both sides get 300 trees of 31 leaves at learning rate 0.1 and all of the time of one process at a
time. Binning counts as training on both sides. The fits alternate and the best time of the repeats
counts, so that a busy machine slows both alike.
"""

import argparse
import json
import os
import subprocess
import time

import numpy as np

N_FEATURES = 40
REQUEST_ROWS = 10


def world(n_rows, seed):
    """Columns `[n_rows, 40]`, probabilities, labels and request numbers."""
    rng = np.random.default_rng(seed)
    n_requests = n_rows // REQUEST_ROWS
    request = np.repeat(np.arange(n_requests), REQUEST_ROWS)
    x = rng.standard_normal((n_rows, N_FEATURES)).astype(np.float32)
    # Columns 30 to 34 belong to the request; 35 to 37 are small counts; 38 and 39 have heavy tails.
    x[:, 30:35] = rng.standard_normal((n_requests, 5)).astype(np.float32)[request]
    x[:, 35:38] = rng.poisson(3, (n_rows, 3))
    x[:, 38:40] = np.exp(2 * x[:, 38:40])
    z = -2.4 + 0.9 * x[:, 0] + 0.6 * np.sin(2 * x[:, 1]) + 0.7 * x[:, 2] * x[:, 3]
    z += 0.5 * np.abs(x[:, 4]) + 0.4 * x[:, 5] * (x[:, 6] > 0) - 0.3 * x[:, 7] ** 2
    z += 0.5 * (x[:, 8] > 1) + 0.3 * x[:, 9] * x[:, 10] * (x[:, 11] > 0)
    z += 0.5 * x[:, 30] + 0.4 * x[:, 31] * x[:, 12] + 0.15 * x[:, 35] + 0.2 * np.log(x[:, 38])
    missing = rng.random((n_rows, 2)) < 0.3
    z += 0.6 * missing[:, 0]
    x[missing[:, 0], 13] = np.nan
    x[missing[:, 1], 0] = np.nan
    p = 1 / (1 + np.exp(-z))
    return x, p, rng.random(n_rows) < p, request


def auc(scores, labels):
    order = np.argsort(scores, kind="stable")
    sorted_scores = scores[order]
    # Mean rank over equal scores.
    first = np.searchsorted(sorted_scores, sorted_scores, side="left")
    last = np.searchsorted(sorted_scores, sorted_scores, side="right")
    ranks = np.empty(len(scores))
    ranks[order] = (first + last + 1) / 2
    n_positive = labels.sum()
    n_negative = len(labels) - n_positive
    return (ranks[labels].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def within_request_auc(scores, labels):
    """Share of (clicked, not clicked) pairs of one request in the right order, over all such pairs."""
    s, y = scores.reshape(-1, REQUEST_ROWS), labels.reshape(-1, REQUEST_ROWS)
    pairs = y[:, :, None] & ~y[:, None, :]
    right = (s[:, :, None] > s[:, None, :]) + 0.5 * (s[:, :, None] == s[:, None, :])
    return (right * pairs).sum() / pairs.sum()


def log_loss(log_odds, labels):
    z = np.where(labels, -log_odds, log_odds).astype(np.float64)
    return np.mean(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


def quality(log_odds, labels):
    return log_loss(log_odds, labels), auc(log_odds, labels), within_request_auc(log_odds, labels)


def fit_ours(binary, data, n_train, n_test, threads, settings):
    command = [binary, data, str(n_train), str(n_test), str(N_FEATURES), str(threads), *settings]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    scores = np.fromfile(data + ".scores", dtype="<f4")
    cpu_s = result["train_cpu_s"]
    return result["train_s"], result["score_us_per_1000"], float("nan") if cpu_s is None else cpu_s, scores


def fit_lightgbm(x, y, x_test, threads, rounds):
    import lightgbm

    parameters = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.1,
        "num_threads": threads,
        "verbosity": -1,
        "seed": 1,
    }
    start, cpu_start = time.perf_counter(), time.process_time()
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=rounds)
    train_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    times = []
    for _ in range(3):
        start = time.perf_counter()
        scores = booster.predict(x_test, raw_score=True, num_threads=1)
        times.append((time.perf_counter() - start) * 1e9 / len(x_test))
    return train_s, min(times), cpu_s, scores


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--quick", action="store_true", help="30 trees, one repeat: does it run?")
    parser.add_argument("--rows", type=int, nargs="*", default=[90_000, 500_000])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="settings of ours, such as max_bins=64")
    args = parser.parse_args()
    rounds, repeats = (30, 1) if args.quick else (300, args.repeats)
    n_test = 100_000
    print(f"{os.cpu_count()} CPUs, {rounds} trees of 31 leaves, best of {repeats}; scoring on one thread")
    for n_train in args.rows:
        x, p, y, _ = world(n_train + n_test, seed=n_train)
        data = os.path.join(args.work, f"rows-{n_train}")
        with open(data, "wb") as file:
            file.write(np.ascontiguousarray(x.T, dtype="<f4").tobytes())
            file.write(y.astype(np.uint8).tobytes())
        x_test, y_test = np.ascontiguousarray(x[n_train:]), y[n_train:]
        best = quality(np.log(p[n_train:] / (1 - p[n_train:])), y_test)
        print(f"\n{n_train} training rows, {n_test} test rows, {y.mean():.3f} positive")
        print("| | threads | log loss | AUC | within request | train s | train CPU s | score 1,000 rows, µs |")
        print("|---|---|---|---|---|---|---|---|")
        print(f"| best possible | | {best[0]:.4f} | {best[1]:.4f} | {best[2]:.4f} | | | |")
        for threads in args.threads:
            ours, theirs = [], []
            for _ in range(repeats):
                settings = [f"rounds={rounds}", *args.set]
                ours.append(fit_ours(args.binary, data, n_train, n_test, threads, settings))
                theirs.append(fit_lightgbm(x[:n_train], y[:n_train], x_test, threads, rounds))
            rows = {}
            for name, fits in (("segue", ours), ("lightgbm", theirs)):
                least = [min(fit[i] for fit in fits) for i in range(3)]
                rows[name] = (*quality(fits[0][3], y_test), least[0], least[2], least[1])
                loss, a, w, train_s, cpu_s, score_us = rows[name]
                print(
                    f"| {name} | {threads} | {loss:.4f} | {a:.4f} | {w:.4f} "
                    f"| {train_s:.2f} | {cpu_s:.2f} | {score_us:.0f} |"
                )
            s, l = rows["segue"], rows["lightgbm"]
            print(
                f"| segue − or ÷ lightgbm | {threads} | {s[0] - l[0]:+.4f} | {s[1] - l[1]:+.4f} "
                f"| {s[2] - l[2]:+.4f} | {s[3] / l[3]:.2f}× | {s[4] / l[4]:.2f}× | {s[5] / l[5]:.2f}× |",
                flush=True,
            )


if __name__ == "__main__":
    main()
