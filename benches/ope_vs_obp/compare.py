"""DR over 200,000 rounds × 100 actions and a bootstrap of 1,000 draws: ours beside obp 0.5.7.

Both get the same arrays. obp is called as its users call it: `DoublyRobust.estimate_policy_value` and
`estimate_confidence_interval_by_bootstrap`. Printed: wall and CPU seconds, and how far the estimates
are apart. Ours includes checking that every row of the policy is a distribution.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import types

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--binary", required=True)
parser.add_argument("--work", required=True)
parser.add_argument("--rounds", type=int, default=200_000)
parser.add_argument("--actions", type=int, default=100)
parser.add_argument("--draws", type=int, default=1_000)
args = parser.parse_args()


def import_obp():
    """obp's package imports plotting and, for annotations alone, torch; only its estimators are needed."""
    import importlib.util
    torch = types.ModuleType("torch")
    torch.tensor = torch.Tensor = type("Tensor", (), {})
    sys.modules.setdefault("torch", torch)
    spec = importlib.util.find_spec("obp")
    folder = spec.submodule_search_locations[0]
    for name, path in (("obp", folder), ("obp.ope", os.path.join(folder, "ope"))):
        module = types.ModuleType(name)
        module.__path__ = [path]
        sys.modules[name] = module
    return importlib.import_module("obp.ope.estimators"), importlib.import_module("obp.utils")


estimators, utils = import_obp()

rng = np.random.default_rng(12345)
n, k = args.rounds, args.actions
logits = rng.normal(size=(n, k))
behaviour = np.exp(0.5 * logits)
behaviour /= behaviour.sum(axis=1, keepdims=True)
policy = np.exp(logits)
policy /= policy.sum(axis=1, keepdims=True)
action = (behaviour.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, k - 1)
rows = np.arange(n)
propensity = behaviour[rows, action]
model = 0.2 + 0.1 * rng.random((n, k))
reward = (rng.random(n) < 0.2 + 0.02 * logits[rows, action]).astype(float)
del behaviour, logits

for name, array in (("reward", reward), ("propensity", propensity), ("policy", policy), ("model", model)):
    array.astype("<f8").tofile(os.path.join(args.work, name + ".f64"))
action.astype("<u4").tofile(os.path.join(args.work, "action.u32"))


def timed(times, f):
    f()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(times):
        value = f()
    return value, (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times


inputs = dict(reward=reward, action=action, pscore=propensity, action_dist=policy[:, :, None])
dr = estimators.DoublyRobust()
theirs, wall, cpu = timed(3, lambda: dr.estimate_policy_value(estimated_rewards_by_reg_model=model[:, :, None], **inputs))
ips = estimators.InverseProbabilityWeighting().estimate_policy_value(**inputs)
snips = estimators.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**inputs)
terms = dr._estimate_round_rewards(estimated_rewards_by_reg_model=model[:, :, None], **inputs)
start_cpu, start = time.process_time(), time.perf_counter()
interval = utils.estimate_confidence_interval_by_bootstrap(
    samples=terms, alpha=0.05, n_bootstrap_samples=args.draws, random_state=1)
boot_wall, boot_cpu = time.perf_counter() - start, time.process_time() - start_cpu

ours = json.loads(subprocess.run(
    [args.binary, args.work, str(n), str(k), str(args.draws)], check=True, capture_output=True, text=True).stdout)

print(f"{n} rounds × {k} actions, {args.draws} draws; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
print("| | obp wall s | ours wall s | ratio | obp CPU s | ours CPU s | ratio |")
print("|---|---|---|---|---|---|---|")
for name, w, c, key in (("DR", wall, cpu, "dr"), (f"bootstrap of its terms", boot_wall, boot_cpu, "boot")):
    ow, oc = ours[key + "_wall_s"], ours[key + "_cpu_s"]
    print(f"| {name} | {w:.4f} | {ow:.4f} | {w / ow:.1f} | {c:.4f} | {oc:.4f} | {c / oc:.1f} |")
print()
worst = 0.0
for name, value in (("dr", theirs), ("ips", ips), ("snips", snips)):
    gap = abs(value - ours[name]) / abs(value)
    worst = max(worst, gap)
    print(f"{name}: obp {value:.15f}, ours {ours[name]:.15f}, relative difference {gap:.1e}")
low, high = [v for key, v in interval.items() if key.startswith("95.0% CI")]
print(f"bootstrap 95 %: obp {low:.6f} to {high:.6f}, ours {ours['low']:.6f} to {ours['high']:.6f} (other random numbers)")
sys.exit(0 if worst < 1e-9 else 1)
