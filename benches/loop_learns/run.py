#!/usr/bin/env python3
"""Does the loop learn? Simulated listeners use the HTTP server under three policies.

    python3 benches/loop_learns/run.py SEGUE_BINARY WORK_FOLDER [SEEDS] [LISTENERS]

Per seed, in a world of its own whose true preferences the simulator knows:

1. `popular`: every shelf and the queue are what is popular. It serves collect period 1.
2. `learned`: the default surfaces, models and ranker trained on the world's log and what period 1 collected.
   It serves collect period 2 (and so does `popular`, in a home of its own).
3. `learned again`: trained once more, on what `learned` collected in period 2.

Then all three serve the same days to the same listeners with the same luck. Reported: true utility per
session in minutes (defined in crates/segue-sim/src/utility.rs), and paired differences per listener with
95 % intervals, per seed and over seeds twice: over listeners (these worlds, other listeners) and a t interval
over the seeds' means (other worlds).
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time

binary, work = os.path.abspath(sys.argv[1]), sys.argv[2]
seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
USERS, ITEMS, DAYS, COLLECT, EVALUATE = listeners * 4 // 3, 3000, 30, 4, 4
START = 20698  # WorldConfig::default().start_day

# What is measured is what is learned, not how fast the machine is: no stage runs out of time.
PATIENT = """
[serving]
source_budget_ms = 5000
hydrate_budget_ms = 5000
score_budget_ms = 5000
"""

POPULAR_ONLY = """
[ranker]
artifact = ""
[surface.home]
[[surface.home.shelf]]
id = "popular"
title = "Popular near you"
sources = ["popular"]
limit = 12
[surface.now_playing.queue]
id = "queue"
title = "Up next"
sources = ["popular"]
"""


def segue(home, *arguments):
    done = subprocess.run([binary, *arguments, "--home", home, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"segue {' '.join(arguments)}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


def day(n):
    return time.strftime("%Y-%m-%d", time.gmtime((START + n) * 86400))


def live(home, seed, first, days, run):
    """Listeners live `days` days from day `first` against a server over `home`; returns the report."""
    address = os.path.join(home, "address")
    if os.path.exists(address):
        os.remove(address)
    server = subprocess.Popen(
        [binary, "serve", "--home", home, "--client-clock", "--listen", "127.0.0.1:0", "--address-file", address, "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(address):
        if server.poll() is not None:
            sys.exit("the server ended")
        time.sleep(0.02)
    with open(address) as f:
        url = f.read().strip()
    report = segue(home, "sim", "--server", url, "--users", str(USERS), "--items", str(ITEMS), "--days", str(DAYS),
                   "--seed", str(seed), "--listeners", str(listeners), "--from", day(first), "--for-days", str(days),
                   "--luck", str(seed), "--run", run)
    server.terminate()
    server.wait()
    lost = report["counts"]["n_events_lost"] + report["counts"]["n_errors"]
    if lost:
        print(f"  {run}: {lost} failed calls or lost events: {report['messages'][:2]}", file=sys.stderr)
    return report


def learn(home):
    segue(home, "prepare")
    segue(home, "train")


def sessions(report):
    return {(s["user"], s["planned_start_ms"]): s["utility_min"] for s in report["sessions"]}


def paired(a, b):
    """Per listener, the mean of b - a over the sessions that both have."""
    by_user = {}
    for key in a.keys() & b.keys():
        by_user.setdefault(key[0], []).append(b[key] - a[key])
    return [sum(v) / len(v) for _, v in sorted(by_user.items())]


def interval(values, t=1.96):
    n = len(values)
    mean = sum(values) / n
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, t * sd / math.sqrt(n)


T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262}
rows, steps = [], {"learned − popular": [], "learned again − learned": []}
errors = {name: [] for name in steps}
for seed in range(1, seeds + 1):
    folder = os.path.join(work, f"seed-{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    popular, learned, again = (os.path.join(folder, n) for n in ("popular", "learned", "again"))
    segue(popular, "sim", "--users", str(USERS), "--items", str(ITEMS), "--days", str(DAYS), "--seed", str(seed))
    with open(os.path.join(popular, "segue.toml")) as f:
        default = f.read() + PATIENT
    with open(os.path.join(popular, "segue.toml"), "w") as f:
        f.write(default + POPULAR_ONLY)
    learn(popular)
    live(popular, seed, DAYS, COLLECT, "c1")
    shutil.copytree(popular, learned)
    with open(os.path.join(learned, "segue.toml"), "w") as f:
        f.write(default)
    learn(learned)
    live(popular, seed, DAYS + COLLECT, COLLECT, "c2")
    live(learned, seed, DAYS + COLLECT, COLLECT, "c2")
    shutil.copytree(learned, again)
    learn(again)
    reports = [sessions(live(h, seed, DAYS + 2 * COLLECT, EVALUATE, "e")) for h in (popular, learned, again)]
    means = [sum(r.values()) / len(r) for r in reports]
    first, second = paired(reports[0], reports[1]), paired(reports[1], reports[2])
    cells = []
    for name, values in zip(steps, (first, second)):
        mean, half = interval(values)
        steps[name].append(mean)
        errors[name].append(half / 1.96)
        cells.append(f"{mean:+.2f} ± {half:.2f}")
    rows.append(f"| {seed} | {len(reports[0])} | " + " | ".join(f"{m:.2f}" for m in means) + " | " + " | ".join(cells) + " |")
    print(rows[-1], file=sys.stderr)
    shutil.rmtree(folder)

print("| seed | sessions | popular | learned | learned again | learned − popular | learned again − learned |")
print("|---|---|---|---|---|---|---|")
print("\n".join(rows))
if seeds > 1:
    within, between = [], []
    for name, values in steps.items():
        mean, half = interval(values, T_975.get(seeds - 1, 1.96))
        between.append(f"**{mean:+.2f} ± {half:.2f}**")
        within.append(f"**{mean:+.2f} ± {1.96 * math.sqrt(sum(e * e for e in errors[name])) / seeds:.2f}**")
    print(f"| all, over listeners | | | | | {' | '.join(within)} |")
    print(f"| all, over worlds | | | | | {' | '.join(between)} |")
