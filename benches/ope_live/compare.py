"""Simulated listeners use the server under one configuration; `segue ope` estimates others from its log.

Per world: a log is made, models are trained, and the server serves Home with `LOGGING`'s exploration to listeners
who live some days. `segue ope` judges every arm of `ARMS` on that log. Then each arm serves the same listeners, with
the same luck, from the state the logging arm began with; the mean reward of its own slates is its true value.
Printed per world and arm: the verdict of each family, and whether the interval, widened by the true value's own
noise, holds the true value, and whether it does as it is: listeners and luck are the same on both sides, so their noise is
not independent, and the wider interval holds more often than it says. Then over all worlds, by arm and family, how often the
gate passed, coverage (widened, as it is, and widened without the gate), and its errors, as `benches/ope_calibration` defines them: a false pass is off by more than twice
the interval's half-width; a false refusal would have held the true value with a half-width of at most a quarter
of it. An arm changes what its listeners do later, which no estimate from another log sees; over a few days that is
small.
"""

import math
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from simulated_home import Program

work = sys.argv[2]
worlds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 400
days = int(sys.argv[5]) if len(sys.argv) > 5 else 4
USERS, ITEMS, LOG_DAYS = max(listeners, 400), 2000, 20
program = Program(sys.argv[1], USERS, ITEMS, LOG_DAYS)

LOGGING = {"temperature": 0.2, "epsilon": 0.3}
ARMS = {
    "same": {},
    "a little less exploration": {"epsilon": 0.25},
    "less exploration": {"epsilon": 0.2, "temperature": 0.18},
    "best first": {"selector": "top"},
}


def configure(home, change):
    """One exploring shelf is the whole Home, so that a slate's reward is that of what is explored; the queue, which
    nobody judges, and the candidates beyond the pool, which no arm here asks for, are kept cheap."""
    shelf = {"selector": "explore", **LOGGING, **change}
    lines = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in shelf.items()]
    with open(os.path.join(home, "segue.toml"), "w") as f:
        f.write(FIRST + "\n[ranker]\nartifact = \"\"\n[serving]\ncandidate_sampling_rate = 0.01\n"
                # What is judged is the estimate, not how fast the machine is: no stage runs out of time.
                "source_threads = 0\nsource_budget_ms = 5000\nhydrate_budget_ms = 5000\nscore_budget_ms = 5000\n"
                "[surface.now_playing.queue]\nid = \"queue\"\nsources = [\"popular\"]\n[surface.home]\n[[surface.home.shelf]]\nid = \"made_for_you\"\n"
                'title = "Made for you"\nsources = ["markov", "rules", "neighbours", "knn", "popularity", "popular"]\n'
                "limit = 6\npool = 20\n" + "\n".join(lines) + "\n")


def live(home, seed, run):
    program.live(home, seed, listeners, LOG_DAYS, days, seed, run)


def judge(home, arms, gate=""):
    path = os.path.join(home, "ope.toml")
    with open(path, "w") as f:
        f.write('[log]\nsurface = "home"\nreward = "play"\n' + gate)
        for name, change in arms.items():
            f.write(f'[[target]]\nname = "{name}"\n')
            if change:
                f.write("[target.shelf.made_for_you]\n")
                f.writelines(f'{k} = "{v}"\n' if isinstance(v, str) else f"{k} = {v}\n" for k, v in change.items())
    return program.run(home, "ope", path)["targets"]


# Lets everything pass: what would have been printed without a gate.
OPEN = "[gate]\n" + "".join(f"{name} = {value}\n" for name, value in {
    "min_effective_sample": 0.0, "max_mean_weight_z": "inf", "max_mean_weight_error": "inf", "max_weight_share": "inf",
    "max_unsupported_mass": "inf", "max_disagreement_z": "inf", "min_effective_units": 0.0}.items())


def held(estimate, truth, error):
    """Whether the interval holds the true value, and its half-width; both noises count."""
    half = math.hypot((estimate["interval"][1] - estimate["interval"][0]) / 2, 1.96 * error)
    return abs(estimate["value"] - truth) <= half, half


def held_as_it_is(estimate, truth):
    """Whether the interval holds the true value as if that were known exactly."""
    return estimate["interval"][0] <= truth <= estimate["interval"][1]


tallies = {}
print("| world | arm | slates | family | verdict | estimate, 95 % | true value | covered | as it is |")
print("|---|---|---|---|---|---|---|---|---|")
for seed in range(1, worlds + 1):
    base = os.path.join(work, f"w{seed}")
    program.log(base, seed)
    with open(os.path.join(base, "segue.toml")) as f:
        FIRST = f.read()
    program.learn(base)
    logging = os.path.join(work, f"w{seed}-logging")
    shutil.copytree(base, logging)
    configure(logging, {})
    live(logging, seed, "logging")
    answers, raw = judge(logging, ARMS), judge(logging, ARMS, OPEN)
    for answer, ungated, (name, change) in zip(answers, raw, ARMS.items()):
        home = os.path.join(work, f"w{seed}-arm")
        shutil.copytree(base, home)
        configure(home, change)
        live(home, seed, "arm")
        own = judge(home, {"itself": {}})[0]
        truth, error = own["logged_mean"], own["logged_standard_error"]
        for family, free in zip(answer["families"], ungated["families"]):
            verdict = family["verdict"]
            tally = tallies.setdefault((name, family["family"]), {k: 0 for k in (
                "worlds", "passed", "covered", "as_it_is", "ungated", "false_pass", "good", "false_refusal")})
            e = free["verdict"]["estimable"]["headline"]
            ok, half = held(e, truth, error)
            is_passed = "estimable" in verdict
            is_good = ok and half <= 0.25 * truth
            for key, hit in {"worlds": True, "passed": is_passed, "covered": is_passed and ok, "ungated": ok,
                             "as_it_is": is_passed and held_as_it_is(e, truth),
                             "false_pass": is_passed and abs(e["value"] - truth) > 2 * half, "good": is_good,
                             "false_refusal": is_good and not is_passed}.items():
                tally[key] += hit
            if is_passed:
                cells = ["estimable", f"{e['value']:.4f} ({e['interval'][0]:.4f} to {e['interval'][1]:.4f})"]
                cells += [f"{truth:.4f} ± {error:.4f}", "yes" if ok else "no", "yes" if held_as_it_is(e, truth) else "no"]
            else:
                refused = verdict["not_estimable"]
                more = refused["more_data"]
                needs = f"{more['low']}–{more['high'] or '?'} slates would do" if more["kind"] == "rounds" else "none would do"
                rules = ", ".join(c["rule"] for c in family["checks"] if not c["passed"])
                cells = [f"not estimable ({rules}); {needs}", "–", f"{truth:.4f} ± {error:.4f}", "–", "–"]
            print(f"| {seed} | {name} | {answer['n_rounds']} | {family['family']} | {' | '.join(cells)} |", flush=True)
        shutil.rmtree(home)
    shutil.rmtree(base)
    shutil.rmtree(logging)
print("\n| arm | family | worlds | passed | coverage | as it is | ungated | false pass | false refusal |")
print("|---|---|---|---|---|---|---|---|---|")
for (name, family), t in tallies.items():
    share = lambda a, b: f"{t[a]} of {t[b]}" if t[b] else "–"
    print(f"| {name} | {family} | {t['worlds']} | {share('passed', 'worlds')} | {share('covered', 'passed')} "
          f"| {share('as_it_is', 'passed')} | {share('ungated', 'worlds')} | {share('false_pass', 'passed')} | {share('false_refusal', 'good')} |")
