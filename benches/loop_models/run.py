#!/usr/bin/env python3
"""Which model's page do listeners enjoy? Simulated listeners use the HTTP server, a model at a time.

    python3 benches/loop_models/run.py SEGUE_BINARY WORK_FOLDER [SEEDS] [LISTENERS]

Per seed, in a world of its own whose true preferences the simulator knows: the world's log is learned from; a server
that asks every model of this bench for candidates, and explores, serves a collect period. All policies then learn from
the same log, each with a ranker of its own that sees the scores of its own sources, and serve the same days to the same
listeners with the same luck. A policy is what "Made for you" and the queue ask for candidates; the other shelves are the
same. Reported: true utility per session in minutes, and the paired difference per listener from `counts`, the count
models of the default configuration; 95 % intervals over listeners, and a t interval over the worlds.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from simulated_home import PATIENT, T_975, Program, interval, paired, sessions

binary, work = sys.argv[1], sys.argv[2]
seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
ITEMS, DAYS, COLLECT, EVALUATE = 3000, 30, 4, 4
program = Program(binary, listeners * 4 // 3, ITEMS, DAYS)

COUNTS = ["markov", "rules", "neighbours", "knn"]
# What "Made for you" and the queue ask, `popular` aside, which is there for those without a history.
POLICIES = {
    "counts": COUNTS,
    "markov": ["markov"],
    "rules": ["rules"],
    "neighbours": ["neighbours"],
    "knn": ["knn"],
    "esasrec": ["next"],
    "counts and esasrec": [*COUNTS, "next"],
}

MODEL = """
[model.next]
kind = "esasrec"
d = 64
n_blocks = 2
hidden = 128
max_history = 100
dropout = 0.2
training = { rounds = 20, patience = 3, batch = 64 }
"""

SHELVES = """
[[surface.home.shelf]]
id = "jump_back_in"
title = "Jump back in"
sources = ["recent"]
limit = 8
max_per_artist = 3

[[surface.home.shelf]]
id = "made_for_you"
title = "Made for you"
sources = {sources}
filters = ["recently_played"]
selector = "explore"

[[surface.home.shelf]]
id = "because"
title = "Because you listened to {{because}}"
sources = ["similar"]
filters = ["recently_played"]
min_cards = 3

[[surface.home.shelf]]
id = "popular"
title = "Popular near you"
sources = ["popular"]

[surface.now_playing.queue]
sources = {sources}
"""


def configure(home, default, names):
    listed = "[" + ", ".join(f'"{name}"' for name in [*names, "popular"]) + "]"
    text = default + PATIENT + (MODEL if "next" in names else "") + SHELVES.format(sources=listed)
    with open(os.path.join(home, "segue.toml"), "w") as f:
        f.write(text)


rows, steps, errors = [], {name: [] for name in POLICIES}, {name: [] for name in POLICIES}
for seed in range(1, seeds + 1):
    folder = os.path.join(work, f"seed-{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    base = os.path.join(folder, "base")
    program.log(base, seed)
    with open(os.path.join(base, "segue.toml")) as f:
        default = f.read()
    configure(base, default, [*COUNTS, "next"])
    program.learn(base)
    program.live(base, seed, listeners, DAYS, COLLECT, seed, "c")
    reports = {}
    for name, sources in POLICIES.items():
        home = os.path.join(folder, "policy")
        shutil.copytree(base, home)
        shutil.rmtree(os.path.join(home, "artifacts"))
        configure(home, default, sources)
        program.learn(home)
        reports[name] = sessions(program.live(home, seed, listeners, DAYS + COLLECT, EVALUATE, seed, "e"))
        shutil.rmtree(home)
        mean = sum(reports[name].values()) / len(reports[name])
        cells = [name, str(seed), str(len(reports[name])), f"{mean:.2f}"]
        if name != "counts":
            difference, half = interval(paired(reports["counts"], reports[name]))
            steps[name].append(difference)
            errors[name].append(half / 1.96)
            cells.append(f"{difference:+.2f} ± {half:.2f}")
        else:
            cells.append("–")
        rows.append("| " + " | ".join(cells) + " |")
        print(rows[-1], file=sys.stderr, flush=True)
    shutil.rmtree(folder)

print("| candidates from | seed | sessions | true utility per session, min | difference from counts |")
print("|---|---|---|---|---|")
print("\n".join(sorted(rows, key=lambda row: list(POLICIES).index(row.split(" | ")[0][2:]))))
if seeds > 1:
    print("\n| candidates from | difference from counts, over listeners | over worlds |")
    print("|---|---|---|")
    for name in list(POLICIES)[1:]:
        mean, half = interval(steps[name], T_975[seeds - 1])
        within = 1.96 * sum(e * e for e in errors[name]) ** 0.5 / seeds
        print(f"| {name} | {mean:+.2f} ± {within:.2f} | {mean:+.2f} ± {half:.2f} |")
