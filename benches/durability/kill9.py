#!/usr/bin/env python3
"""Kills a running server with SIGKILL, again and again, while clients post events at full rate.

    python3 benches/durability/kill9.py SEGUE_BINARY HOME [ROUNDS] [CLIENTS]

HOME is a prepared home (`segue demo --smoke --home HOME`). Each client posts batches of ten plays and
notes the ids of batches that were answered with 202. After the last round the server's events are moved
into the log (`segue prepare`) and every acknowledged id is counted there: exactly once is right. An id
that was sent but not acknowledged may be there once or not at all, never twice. Exit 1 on a violation.

SIGKILL leaves the page cache alive; power cuts are tested under a faulty storage layer, in
crates/segue-engine/tests/it/durability.rs.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request

binary, home = sys.argv[1], sys.argv[2]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
clients = int(sys.argv[4]) if len(sys.argv) > 4 else 8
luck = random.Random(1)
run = f"kill9-{int(time.time())}"
address_file = os.path.join(home, "address")
acknowledged, sent = set(), 0

# Segments that fill many times a second, so that kills fall into drains and checkpoints too.
settings = os.path.join(home, "segue.toml")
with open(settings) as f:
    text = f.read()
if "[state]" not in text:
    with open(settings, "a") as f:
        f.write("\n[state]\nsegment_bytes = 65536\ncheckpoint_events = 1000\n")


def start():
    if os.path.exists(address_file):
        os.remove(address_file)
    command = [binary, "serve", "--home", home, "--listen", "127.0.0.1:0", "--address-file", address_file, "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.time()
    while not os.path.exists(address_file):
        if process.poll() is not None or time.time() - began > 60:
            sys.exit(f"the server did not come back in round after {len(acknowledged)} acknowledged events")
        time.sleep(0.01)
    with open(address_file) as f:
        return process, f.read().strip(), time.time() - began


def client(number, address, stop, answers):
    n = 0
    while not stop.is_set():
        now = int(time.time() * 1000)
        ids = [f"{run}-{number}-{address[-5:]}-{n}-{i}" for i in range(10)]
        n += 1
        events = [
            {"type": "play", "event_id": e, "user_id": f"k{number}-{i}", "item_id": f"t{i}", "occurred_at": now}
            for i, e in enumerate(ids)
        ]
        body = json.dumps({"events": events}).encode()
        request = urllib.request.Request(address + "/v1/events", body, {"content-type": "application/json"})
        answers[1] += len(ids)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                if response.status == 202 and json.load(response)["n_accepted"] == len(ids):
                    answers[0].extend(ids)
        except OSError:
            pass


slowest = 0.0
for number in range(rounds):
    process, address, took = start()
    slowest = max(slowest, took)
    stop = threading.Event()
    answers = [[[], 0] for _ in range(clients)]
    threads = [
        threading.Thread(target=client, args=(f"{number}.{c}", address, stop, answers[c])) for c in range(clients)
    ]
    [t.start() for t in threads]
    time.sleep(luck.uniform(0.2, 1.5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    stop.set()
    [t.join() for t in threads]
    for ids, n in answers:
        acknowledged.update(ids)
        sent += n

subprocess.run([binary, "prepare", "--home", home, "--quiet", "--json"], check=True, stdout=subprocess.DEVNULL)
query = f"SELECT event_id, count(*) AS n FROM plays WHERE event_id LIKE '{run}-%' GROUP BY event_id"
answer = subprocess.run(
    [binary, "sql", query, "--home", home, "--json", "--quiet", "--max-rows", "10000000"],
    check=True,
    capture_output=True,
)
counts = {row["event_id"]: row["n"] for row in json.loads(answer.stdout)}
lost = [e for e in acknowledged if e not in counts]
doubled = [e for e, n in counts.items() if n > 1]
print(f"{rounds} kills, {clients} clients: {sent} events sent, {len(acknowledged)} acknowledged, {len(counts)} in the log")
print(f"acknowledged and lost: {len(lost)}; doubled: {len(doubled)}; slowest restart {slowest:.2f} s")
if not acknowledged:
    sys.exit("no event was acknowledged, so nothing was shown")
sys.exit(1 if lost or doubled else 0)
