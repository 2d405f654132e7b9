"""z-tests over 10,000 cells and group-sequential bounds, Segue beside spotify-confidence, in one run.

Prints one table. Bounds are also held against a fine reference: the same recursion by Gauss-Legendre
quadrature with 1,200 nodes per look.
"""

import argparse
import json
import subprocess
import time
import warnings

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

warnings.filterwarnings("ignore")


def cells():
    rows = []
    for i in range(10_000):
        for arm, shift in (("control", 0.0), ("treatment", (i % 100) / 500.0)):
            n, mean, variance = 1_000.0 + i, 10.0 + shift, 4.0 + i % 7
            rows.append((i, arm, n, n * mean, (n - 1) * variance + n * mean * mean))
    return pd.DataFrame(rows, columns=["metric", "arm", "n", "sum", "sum_sq"])


def fine_bounds(looks, alpha=0.025, rho=2.0, nodes=1_200):
    """Upper bounds under power spending; the density of paths that go on is carried from look to look."""
    t = np.arange(1, looks + 1) / looks
    spent = alpha * t**rho
    x01, w01 = np.polynomial.legendre.leggauss(nodes)
    points, mass, before, out = np.array([0.0]), np.array([1.0]), 0.0, []
    for k in range(looks):
        sd = np.sqrt(t[k] - before)
        target = spent[k] - (spent[k - 1] if k else 0.0)
        z = brentq(lambda z: float(mass @ norm.sf((z * np.sqrt(t[k]) - points) / sd)) - target, 0.0, 8.0, xtol=1e-13)
        out.append(z)
        low, high = -8.0 * np.sqrt(t[k]), z * np.sqrt(t[k])
        new = 0.5 * (high + low) + 0.5 * (high - low) * x01
        density = norm.pdf((new[:, None] - points[None, :]) / sd) @ mass / sd
        points, mass, before = new, 0.5 * (high - low) * w01 * density, t[k]
    return np.array(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    ours = json.loads(subprocess.run([binary], capture_output=True, check=True, text=True).stdout)

    from spotify_confidence import ZTest
    from spotify_confidence.analysis.frequentist.sequential_bound_solver import bounds

    frame = cells()
    start = time.perf_counter()
    test = ZTest(
        frame,
        numerator_column="sum",
        numerator_sum_squares_column="sum_sq",
        denominator_column="n",
        categorical_group_columns=["arm", "metric"],
        correction_method="bonferroni",
    )
    difference = test.difference(level_1="control", level_2="treatment", groupby="metric")
    theirs_z = time.perf_counter() - start
    p = difference.sort_values("metric")["p-value"].to_numpy()
    worst_p = float(np.max(np.abs(p - np.array(ours["p"])) / np.maximum(p, 1e-300)))

    print(f"{'what':<34} {'segue':>12} {'confidence':>12} {'factor':>8}   note")
    print(f"{'z-test, 10,000 cells, s':<34} {ours['z_test_s']:>12.6f} {theirs_z:>12.3f}"
          f" {theirs_z / ours['z_test_s']:>8.0f}   largest relative difference of p {worst_p:.1e}")
    for looks in (28, 200):
        t = np.arange(1, looks + 1) / looks
        start = time.perf_counter()
        result = bounds(t, alpha=0.05, rho=2.0, ztrun=8.0, sides=2).bounds
        seconds = time.perf_counter() - start
        reference = fine_bounds(looks)
        mine = np.abs(np.array(ours[f"gst_{looks}_z"]) - reference).max()
        other = np.abs(np.array(result) - reference).max()
        own = ours[f"gst_{looks}_s"]
        print(f"{f'GST bounds, {looks} looks, s':<34} {own:>12.6f} {seconds:>12.3f} {seconds / own:>8.0f}"
              f"   z off a fine reference: {mine:.1e} / {other:.1e}")
    print(f"{'assignment, ns':<34} {ours['assignment_ns']:>12.0f}   (a target, a ramp, three arms; a million listeners)")


if __name__ == "__main__":
    main()
