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

import math
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from simulated_home import PATIENT, T_975, Program, interval, paired, sessions

binary, work = sys.argv[1], sys.argv[2]
seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
ITEMS, DAYS, COLLECT, EVALUATE = 3000, 30, 4, 4
program = Program(binary, listeners * 4 // 3, ITEMS, DAYS)

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


def live(home, seed, first, days, run):
    return program.live(home, seed, listeners, first, days, seed, run)


rows, steps = [], {"learned − popular": [], "learned again − learned": []}
errors = {name: [] for name in steps}
for seed in range(1, seeds + 1):
    folder = os.path.join(work, f"seed-{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    popular, learned, again = (os.path.join(folder, n) for n in ("popular", "learned", "again"))
    program.log(popular, seed)
    with open(os.path.join(popular, "segue.toml")) as f:
        default = f.read() + PATIENT
    with open(os.path.join(popular, "segue.toml"), "w") as f:
        f.write(default + POPULAR_ONLY)
    program.learn(popular)
    live(popular, seed, DAYS, COLLECT, "c1")
    shutil.copytree(popular, learned)
    with open(os.path.join(learned, "segue.toml"), "w") as f:
        f.write(default)
    program.learn(learned)
    live(popular, seed, DAYS + COLLECT, COLLECT, "c2")
    live(learned, seed, DAYS + COLLECT, COLLECT, "c2")
    shutil.copytree(learned, again)
    program.learn(again)
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
        mean, half = interval(values, T_975[seeds - 1])
        between.append(f"**{mean:+.2f} ± {half:.2f}**")
        within.append(f"**{mean:+.2f} ± {1.96 * math.sqrt(sum(e * e for e in errors[name])) / seeds:.2f}**")
    print(f"| all, over listeners | | | | | {' | '.join(within)} |")
    print(f"| all, over worlds | | | | | {' | '.join(between)} |")
