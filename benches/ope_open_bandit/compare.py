"""Both directions between the two policies of the Open Bandit Dataset (small version, campaign "men").

The uniform policy is known exactly. What Thompson sampling (BTS) would do at another moment is not logged, so its
distribution over items at each position is the share of each item in its own log, all moments together; clicks
of that log play no part in it. Truth: the mean click of the policy's own log, with its standard error.
"""

import collections
import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile

segue, data = sys.argv[1], sys.argv[2]


def rows(policy):
    path = os.path.join(data, policy, "men.csv.zst")
    text = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True, text=True).stdout
    return list(csv.DictReader(io.StringIO(text)))


logs = {policy: rows(policy) for policy in ("random", "bts")}
with tempfile.TemporaryDirectory() as work:
    for policy, log in logs.items():
        with open(os.path.join(work, policy + ".csv"), "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["item_id", "position", "click", "propensity_score"])
            out.writerows([r["item_id"], r["position"], r["click"], r["propensity_score"]] for r in log)
    shown = collections.Counter((r["item_id"], r["position"]) for r in logs["bts"])
    at = collections.Counter(r["position"] for r in logs["bts"])
    with open(os.path.join(work, "bts_policy.csv"), "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["action", "position", "probability"])
        out.writerows([item, position, n / at[position]] for (item, position), n in sorted(shown.items()))
    targets = {"random": 'uniform = true', "bts": 'file = "bts_policy.csv"'}
    print("| log | target | logged mean | truth (own log) | verdict | estimate, 95 % | effective sample | mean weight |")
    print("|---|---|---|---|---|---|---|---|")
    details = []
    for log, target in (("bts", "random"), ("random", "bts"), ("random", "random")):
        config = os.path.join(work, f"{log}-{target}.toml")
        with open(config, "w") as f:
            f.write(f'[table]\npath = "{log}.csv"\naction = "item_id"\nposition = "position"\nreward = "click"\n'
                    f'propensity = "propensity_score"\n[[target]]\nname = "{target}"\n{targets[target]}\n')
        done = subprocess.run([segue, "ope", config, "--json"], check=True, capture_output=True, text=True)
        answer = json.loads(done.stdout)["targets"][0]
        family = answer["families"][0]
        clicks = [float(r["click"]) for r in logs[target]]
        truth = sum(clicks) / len(clicks)
        error = math.sqrt(truth * (1 - truth) / len(clicks))
        if "estimable" in family["verdict"]:
            e = family["verdict"]["estimable"]["headline"]
            verdict, estimate = "estimable", f"{e['value']:.5f} ({e['interval'][0]:.5f} to {e['interval'][1]:.5f})"
        else:
            refusal = family["verdict"]["not_estimable"]
            verdict, estimate = "not estimable", "–"
            details.append(f"{log} → {target}: {'; '.join(refusal['reasons'])}; {json.dumps(refusal['more_data'])}")
        w = family["weights"]
        print(f"| {log} | {target} | {answer['logged_mean']:.5f} | {truth:.5f} ± {error:.5f} | {verdict} | {estimate} | "
              f"{w['effective_sample_size']:.0f} | {w['mean_weight']:.3f} ± {w['mean_weight_error']:.3f} |")
    print()
    print("\n".join(details))
