"""Simulated listeners use the server under one configuration; `segue ope` estimates others from its log.

Per world: a log is made, models are trained, and the server serves Home with `LOGGING`'s exploration to listeners
who live some days. `segue ope` judges every arm of `ARMS` on that log. Then each arm serves the same listeners, with
the same luck, from the state the logging arm began with; the mean reward of its own slates is its true value.
Printed per world and arm: the verdict of each family, and whether the interval, widened by the true value's own
noise, holds the true value. An arm changes what its listeners do later, which no estimate from another log
sees; over a few days that is small.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time

segue_path, work = os.path.abspath(sys.argv[1]), sys.argv[2]
worlds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 400
days = int(sys.argv[5]) if len(sys.argv) > 5 else 4
USERS, ITEMS, LOG_DAYS = max(listeners, 400), 2000, 20
START = 20698  # WorldConfig::default().start_day

LOGGING = {"temperature": 0.2, "epsilon": 0.3}
ARMS = {
    "same": {},
    "a little less exploration": {"epsilon": 0.25},
    "less exploration": {"epsilon": 0.2, "temperature": 0.18},
    "best first": {"selector": "top"},
}


def segue(home, *arguments):
    done = subprocess.run([segue_path, *arguments, "--home", home, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"segue {' '.join(arguments)}: {done.stdout[-400:]} {done.stderr[-800:]}")
    return json.loads(done.stdout)


def configure(home, change):
    """One exploring shelf is the whole Home, so that a slate's reward is that of what is explored."""
    shelf = {"selector": "explore", **LOGGING, **change}
    lines = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in shelf.items()]
    with open(os.path.join(home, "segue.toml"), "w") as f:
        f.write(FIRST + "\n[ranker]\nartifact = \"\"\n[surface.home]\n[[surface.home.shelf]]\nid = \"made_for_you\"\n"
                'title = "Made for you"\nsources = ["markov", "rules", "neighbours", "knn", "popularity", "popular"]\n'
                "limit = 6\npool = 20\n" + "\n".join(lines) + "\n")


def live(home, seed, run):
    address = os.path.join(home, "address")
    if os.path.exists(address):
        os.remove(address)
    server = subprocess.Popen([segue_path, "serve", "--home", home, "--client-clock", "--listen", "127.0.0.1:0",
                               "--address-file", address, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(address):
        if server.poll() is not None:
            sys.exit("the server ended")
        time.sleep(0.02)
    with open(address) as f:
        url = f.read().strip()
    first = time.strftime("%Y-%m-%d", time.gmtime((START + LOG_DAYS) * 86400))
    segue(home, "sim", "--server", url, "--users", str(USERS), "--items", str(ITEMS), "--days", str(LOG_DAYS), "--seed",
          str(seed), "--listeners", str(listeners), "--from", first, "--for-days", str(days), "--luck", str(seed), "--run", run)
    server.terminate()
    server.wait()


def judge(home, arms):
    path = os.path.join(home, "ope.toml")
    with open(path, "w") as f:
        f.write('[log]\nsurface = "home"\nreward = "play"\n')
        for name, change in arms.items():
            f.write(f'[[target]]\nname = "{name}"\n')
            if change:
                f.write("[target.shelf.made_for_you]\n")
                f.writelines(f'{k} = "{v}"\n' if isinstance(v, str) else f"{k} = {v}\n" for k, v in change.items())
    return segue(home, "ope", path)["targets"]


print("| world | arm | slates | family | verdict | estimate, 95 % | true value | covered |")
print("|---|---|---|---|---|---|---|---|")
passed = covered = 0
for seed in range(1, worlds + 1):
    base = os.path.join(work, f"w{seed}")
    segue(base, "sim", "--users", str(USERS), "--items", str(ITEMS), "--days", str(LOG_DAYS), "--seed", str(seed))
    with open(os.path.join(base, "segue.toml")) as f:
        FIRST = f.read()
    segue(base, "prepare")
    segue(base, "train")
    logging = os.path.join(work, f"w{seed}-logging")
    shutil.copytree(base, logging)
    configure(logging, {})
    live(logging, seed, "logging")
    answers = judge(logging, ARMS)
    for answer, (name, change) in zip(answers, ARMS.items()):
        home = os.path.join(work, f"w{seed}-arm")
        shutil.copytree(base, home)
        configure(home, change)
        live(home, seed, "arm")
        own = judge(home, {"itself": {}})[0]
        truth, error = own["logged_mean"], own["logged_standard_error"]
        for family in answer["families"]:
            verdict = family["verdict"]
            if "estimable" in verdict:
                e = verdict["estimable"]["headline"]
                half = math.hypot((e["interval"][1] - e["interval"][0]) / 2, 1.96 * error)
                ok = abs(e["value"] - truth) <= half
                passed, covered = passed + 1, covered + ok
                cells = ["estimable", f"{e['value']:.4f} ({e['interval'][0]:.4f} to {e['interval'][1]:.4f})"]
                cells += [f"{truth:.4f} ± {error:.4f}", "yes" if ok else "no"]
            else:
                more = verdict["not_estimable"]["more_data"]
                needs = f"{more['low']}–{more['high'] or '?'} slates would do" if more["kind"] == "rounds" else "none would do"
                cells = [f"not estimable; {needs}", "–", f"{truth:.4f} ± {error:.4f}", "–"]
            print(f"| {seed} | {name} | {answer['n_rounds']} | {family['family']} | {' | '.join(cells)} |", flush=True)
        shutil.rmtree(home)
    shutil.rmtree(base)
    shutil.rmtree(logging)
print(f"\n{covered} of {passed} intervals that passed hold the true value")
