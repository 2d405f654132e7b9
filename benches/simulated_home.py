"""Homes with made-up worlds, driven by the program: what the benches of the live loop share."""

import json
import os
import subprocess
import sys
import time

START = 20698  # WorldConfig::default().start_day

# What is measured is what is composed, not how fast the machine is: no stage runs out of time.
PATIENT = """
[serving]
source_budget_ms = 5000
hydrate_budget_ms = 5000
score_budget_ms = 5000
"""


def day(n):
    """Day `n` of a world, as a date."""
    return time.strftime("%Y-%m-%d", time.gmtime((START + n) * 86400))


class Program:
    """The program, and the size of the worlds: numbers of users, items and days that `segue sim` logs."""

    def __init__(self, binary, users, items, days):
        self.binary, self.days = os.path.abspath(binary), days
        self.world = ["--users", str(users), "--items", str(items), "--days", str(days)]

    def run(self, home, *arguments):
        """A command's JSON; ends the bench if it fails."""
        done = subprocess.run([self.binary, *arguments, "--home", home, "--json", "--quiet"], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"segue {' '.join(arguments)}: {done.stdout[-400:]} {done.stderr[-800:]}")
        return json.loads(done.stdout)

    def log(self, home, seed):
        """Makes the world's log and settings."""
        return self.run(home, "sim", *self.world, "--seed", str(seed))

    def learn(self, home):
        """Prepares the log and trains what the settings name."""
        self.run(home, "prepare")
        self.run(home, "train")

    def live(self, home, seed, listeners, first, days, luck, run):
        """Listeners live `days` days from day `first` against a server over `home`, which drains its log when it
        stops; returns the simulator's report."""
        address = os.path.join(home, "address")
        if os.path.exists(address):
            os.remove(address)
        server = subprocess.Popen(
            [self.binary, "serve", "--home", home, "--client-clock", "--listen", "127.0.0.1:0", "--address-file", address, "--quiet"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(address):
                if server.poll() is not None:
                    sys.exit("the server ended")
                time.sleep(0.02)
            with open(address) as f:
                url = f.read().strip()
            report = self.run(home, "sim", "--server", url, *self.world, "--seed", str(seed), "--listeners", str(listeners),
                              "--from", day(first), "--for-days", str(days), "--luck", str(luck), "--run", run)
        finally:
            server.terminate()
            ended = server.wait()
        # What is not served or not logged in full is no measurement.
        wrong = {name: report["counts"][name] for name in ("n_events_lost", "n_errors", "n_degraded_slates") if report["counts"][name]}
        if wrong or ended != 0:
            sys.exit(f"{run}: {wrong}, server ended with {ended}: {report['messages'][:2]}")
        return report


def sessions(report):
    """True utility in minutes of each session (crates/segue-sim/src/utility.rs)."""
    return {(s["user"], s["planned_start_ms"]): s["utility_min"] for s in report["sessions"]}


def paired(a, b):
    """Per listener, the mean of b - a over the sessions that both have."""
    by_user = {}
    for key in a.keys() & b.keys():
        by_user.setdefault(key[0], []).append(b[key] - a[key])
    return [sum(v) / len(v) for _, v in sorted(by_user.items())]


def interval(values, t=1.96):
    """Mean, and the half of its interval."""
    n = len(values)
    mean = sum(values) / n
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, t * (variance / n) ** 0.5


# Student's .975 quantile for 1, 2, … degrees of freedom.
T_975 = dict(enumerate([12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
                        2.131, 2.120, 2.110, 2.101, 2.093], start=1))
