"""Writes exposures of many listeners to Parquet, lets `segue experiment analyze` read them, and prints what it took.

The rows are made by chunk from a seed: a listener, the arm that a hash of the listener says, a moment within 28 days.
One metric counts the rows of the same file per listener, so that everything is read twice. The answer is held against
counts made while writing.
"""

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

segue, work = os.path.abspath(sys.argv[1]), sys.argv[2]
rows = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000_000
listeners = int(sys.argv[4]) if len(sys.argv) > 4 else 5_000_000
CHUNK, START, DAY = 1_000_000, 1_772_323_200_000, 86_400_000


def treated(user):
    """A bit of a multiplicative hash of the listener."""
    return ((user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & np.uint64(1) == 1


path = os.path.join(work, "exposures.parquet")
seen = np.zeros(listeners, dtype=bool)
schema = pa.schema([("listener", pa.string()), ("variant", pa.string()), ("seen", pa.int64())])
start = time.perf_counter()
with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["variant"]) as writer:
    for chunk in range(-(-rows // CHUNK)):
        rng = np.random.default_rng([7, chunk])
        n = min(CHUNK, rows - chunk * CHUNK)
        user = rng.integers(0, listeners, n)
        seen[user] = True
        arm = np.where(treated(user), "new", "old")
        name = pc.binary_join_element_wise("u", pa.array(user).cast(pa.string()), "")
        moment = START + rng.integers(0, 28 * DAY, n)
        writer.write_table(pa.table([name, pa.array(arm), pa.array(moment)], schema=schema))
made = time.perf_counter() - start
exposed = np.flatnonzero(seen)
want = [int((~treated(exposed)).sum()), int(treated(exposed).sum())]

with open(os.path.join(work, "big.toml"), "w") as f:
    f.write("""
name = "big"
starts_on = "2026-03-01"
ends_on = "2026-03-29"
arms = [{ name = "old" }, { name = "new" }]
[data]
tables = { exposures = "exposures.parquet" }
exposures = "SELECT listener AS unit, variant AS arm, seen AS at FROM exposures"
[[metrics]]
name = "visits"
kind = "count"
role = "success"
direction = "increase"
window_days = [0, 7]
sql = "SELECT listener AS unit, seen AS at, 1.0 AS value FROM exposures"
""")
before = resource.getrusage(resource.RUSAGE_CHILDREN)
start = time.perf_counter()
done = subprocess.run([segue, "experiment", "analyze", "big.toml", "--home", "home", "--json", "--quiet"], cwd=work,
                      capture_output=True, text=True)
wall = time.perf_counter() - start
if done.returncode != 0:
    sys.exit(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
answer = json.loads(done.stdout)
got = [arm["n_units"] for arm in answer["arms"]]
tally = answer["checks"]["exposures"]
if got != want or tally["n_rows"] != rows or tally["n_mixed"] != 0:
    sys.exit(f"arms have {got}, written were {want}; {tally}")
print("| rows, read twice | listeners | file GiB | wall s | CPU s | largest memory, GiB |")
print("|---|---|---|---|---|---|")
print(f"| {rows:,} | {sum(got):,} | {os.path.getsize(path) / 2**30:.2f} | {wall:.1f} | {cpu:.1f} | {used.ru_maxrss / 2**20:.2f} |")
print(f"\nwritten in {made:.0f} s; counts of both arms are those written; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
