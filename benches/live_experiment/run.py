#!/usr/bin/env python3
"""Does `segue experiment analyze` cover the truth? An A/B test on the running server, many times over.

    benches/live_experiment/run [--first N] [--repetitions N] [--listeners N] [--days N] [--window N] [--live-popularity]

One made-up world, models trained once. Per repetition, with a randomisation of its own (the experiment's name salts it):

1. `experiment`: both arms on one server; simulated listeners use it over HTTP; the log is drained and
   `segue experiment analyze` reads it.
2. the truth: the same listeners with the same luck, all in arm A, then all in arm B, on servers of their
   own. The difference of minutes per listener in the same windows is what the analysis should find.
   `SHARED` repetitions have one luck, and so one truth.

Reported: how often the interval covers the truth, how often the two arms are told apart, and the mean
error. Two checks of the comparison itself: *alike*, the share of the experiment's listeners whose minutes are exactly
those of the truth, and *re-randomised*, the coverage of the same interval when the two truths are dealt to arms 2,000
times without a server, which is what so many listeners with so uneven minutes allow.

Arm B's queue holds only what is popular. The truth of an arm supposes that listeners do not meet what other arms' listeners
played; so popularity here is that of the artifact, not the one that the server keeps from what is played. With
`--live-popularity` the shelves of the default configuration are served, whose popularity both arms feed. Ctrl-C prints the table
of what is done.
"""

import argparse
import math
import os
import random
import resource
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from simulated_home import START, Program, day

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("work")
parser.add_argument("--repetitions", type=int, default=20)
parser.add_argument("--first", type=int, default=1, help="repetition to begin with: a long run may be cut in two")
parser.add_argument("--listeners", type=int, default=400)
parser.add_argument("--days", type=int, default=5, help="days of the experiment")
parser.add_argument("--window", type=int, default=3, help="days after the first exposure that count")
parser.add_argument("--live-popularity", action="store_true")
args = parser.parse_args()
work, listeners, shared = args.work, args.listeners, args.live_popularity
USERS, ITEMS, DAYS, LIVE, WINDOW, SHARED = max(800, listeners), 3000, 30, args.days, args.window, 10
program = Program(args.binary, USERS, ITEMS, DAYS)

# What is measured is the analysis, not how fast the machine is: no stage runs out of time. Requests are kept cheap:
# fewer candidates, which one record in a hundred keeps, since no analysis reads them.
PATIENT = """
[serving]
candidate_sampling_rate = 0.01
candidates_per_source = 30
source_threads = 0
source_budget_ms = 5000
hydrate_budget_ms = 5000
score_budget_ms = 5000
"""

# Nothing that one listener plays changes what another is shown.
APART = """
[[surface.home.shelf]]
id = "jump_back_in"
title = "Jump back in"
sources = ["recent"]

[[surface.home.shelf]]
id = "made_for_you"
title = "Made for you"
sources = ["markov", "popularity"]
selector = "explore"

[surface.now_playing.queue]
id = "queue"
title = "Up next"
sources = ["markov", "rules", "similar", "popularity"]
limit = 20
selector = "explore"
"""

EXPERIMENT = """
[experiment]
name = "queue-{name}"
arms = [
  {{ name = "a", weight = {a} }},
  {{ name = "b", weight = {b}, config = {{ surface = {{ now_playing = {{ queue = {{ sources = ["{popular}"] }} }} }} }} }},
]

[analysis]
alpha = 0.05
starts_on = "{first}"
ends_on = "{end}"
sequential = {{ rule = "fixed" }}

[[analysis.metrics]]
name = "minutes"
kind = "mean"
role = "success"
direction = "increase"
window_days = [0, {window}]
sql = "SELECT user_id AS unit, occurred_at AS at, coalesce(listened_ms, 0) / 60000.0 AS value FROM plays"
"""


def minutes(home, name):
    """Mean minutes per listener in the window after the first exposure, over closed windows."""
    end = f"to_timestamp({(START + DAYS + LIVE) * 86400})"
    rows = program.run(home, "sql", "--max-rows", "1000000", f"""
        WITH shown AS (SELECT user_id, min(composed_at) AS first
                       FROM (SELECT user_id, composed_at, unnest(arms) AS arm FROM slates)
                       WHERE arm = '{name}' GROUP BY user_id),
             closed AS (SELECT * FROM shown WHERE first + INTERVAL '{WINDOW} days' <= {end})
        SELECT closed.user_id AS user_id, coalesce(sum(p.listened_ms), 0) / 60000.0 AS minutes
        FROM closed LEFT JOIN plays AS p ON p.user_id = closed.user_id AND p.occurred_at >= closed.first
             AND p.occurred_at < closed.first + INTERVAL '{WINDOW} days'
        GROUP BY closed.user_id""")
    return {row["user_id"]: row["minutes"] for row in rows}


def home_with(name):
    home = os.path.join(work, name)
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(base, home)
    os.makedirs(os.path.join(home, "experiments"), exist_ok=True)
    return home


def start(home, name, a, b):
    text = EXPERIMENT.format(name=name, a=a, b=b, popular="popular" if shared else "popularity", first=day(DAYS), end=day(DAYS + LIVE), window=WINDOW)
    path = os.path.join(home, "trial.toml")
    with open(path, "w") as f:
        f.write(text)
    program.run(home, "experiment", "start", path)


base = os.path.join(work, "base")
shutil.rmtree(work, ignore_errors=True)
program.log(base, 1)
with open(os.path.join(base, "segue.toml"), "a") as f:
    f.write(PATIENT if shared else PATIENT + APART)
program.learn(base)

def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lived(name, a, b, r, luck, run):
    """A home in which listeners have lived, and the CPU seconds of server and listeners."""
    home = home_with(name)
    start(home, f"r{r}", a, b)
    before = cpu_seconds()
    program.live(home, 1, listeners, DAYS, LIVE, luck, run)
    return home, cpu_seconds() - before


def welch(a, b):
    """Difference of means, and the half of its 95 % interval."""
    def moments(x):
        mean = sum(x) / len(x)
        return mean, sum((v - mean) ** 2 for v in x) / (len(x) - 1) / len(x)
    (ma, va), (mb, vb) = moments(a), moments(b)
    return mb - ma, QUANTILE * math.sqrt(va + vb)


# Student's .975 quantile is within .4 % of this from 200 listeners on.
QUANTILE = 1.97
rows, alike, truths, seconds, lives = [], [], {}, 0.0, 0


def repeat(r):
    global seconds, lives
    luck = 1 + (r - 1) // SHARED
    run = f"luck{luck}"
    if luck not in truths:
        truth = {}
        for name, a, b in (("a", 1, 0), ("b", 0, 1)):
            home, used = lived(name, a, b, r, luck, run)
            seconds, lives = seconds + used, lives + listeners
            truth[name] = minutes(home, f"queue-r{r}={name}")
            shutil.rmtree(home)
        truths[luck] = truth
    truth = truths[luck]
    home, used = lived("ab", 1, 1, r, luck, run)
    seconds, lives = seconds + used, lives + listeners
    analysis = program.run(home, "experiment", "analyze", f"queue-r{r}")
    found = analysis["comparisons"][0]["metrics"][0]["rule"]["looks"][-1]
    for name in ("a", "b"):
        own = minutes(home, f"queue-r{r}={name}")
        alike.extend(abs(own[u] - truth[name][u]) < 1e-6 for u in own.keys() & truth[name].keys())
    shutil.rmtree(home)
    both = truth["a"].keys() & truth["b"].keys()
    true = sum(truth["b"][u] - truth["a"][u] for u in both) / len(both)
    rows.append((true, found["effect"], found["interval"][0], found["interval"][1], found["n_units"]))
    print(f"{r}: truth {true:+.2f}, found {found['effect']:+.2f} [{found['interval'][0]:+.2f}, {found['interval'][1]:+.2f}] "
          f"of {found['n_units']}", file=sys.stderr, flush=True)


try:
    for r in range(args.first, args.repetitions + 1):
        repeat(r)
except KeyboardInterrupt:
    truths = {luck: truth for luck, truth in truths.items() if len(truth) == 2}
    if not rows:
        sys.exit("broken off before the first repetition was done")

dealt, held, cards = 0, 0, random.Random(1)
for truth in truths.values():
    both = sorted(truth["a"].keys() & truth["b"].keys())
    true = sum(truth["b"][u] - truth["a"][u] for u in both) / len(both)
    for _ in range(2_000 // len(truths)):
        arms = {"a": [], "b": []}
        for u in both:
            name = cards.choice("ab")
            arms[name].append(truth[name][u])
        effect, half = welch(arms["a"], arms["b"])
        dealt, held = dealt + 1, held + (abs(effect - true) <= half)

n = len(rows)
covered = sum(low <= true <= high for true, _, low, high, _ in rows)
apart = sum(low > 0 or high < 0 for _, _, low, high, _ in rows)
print("| repetitions | listeners | in the analysis | true difference, min per listener | interval covers it (nominal .95) | told apart "
      "| mean error ± se | alike | re-randomised | CPU s per 1,000 listeners |")
print("|---|---|---|---|---|---|---|---|---|---|")
errors = [row[1] - row[0] for row in rows]
mean_error = sum(errors) / n
spread = math.sqrt(sum((e - mean_error) ** 2 for e in errors) / max(n - 1, 1) / n)
print(f"| {n} | {listeners} | {sum(row[4] for row in rows) / n:.0f} | {sum(row[0] for row in rows) / n:+.2f} | {covered} of {n} | {apart} of {n} "
      f"| {mean_error:+.2f} ± {spread:.2f} | {sum(alike) / len(alike):.3f} | {held / dealt:.3f} | {seconds / lives * 1000:.1f} |")
