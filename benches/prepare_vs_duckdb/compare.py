"""`prepare` beside DuckDB on the same log, in one run on one machine; results compared row by row.

Called by `run` in this folder. The world is synthetic, from a fixed seed (see
`crates/segue-data/examples/prepare_bench.rs`): about 6.7 plays per user and day, 1 % sent twice,
.5 % a day late, .1 % longer than any rule allows. 5,200 and 50,000 listeners over 60 days give 2.1 M
and 20 M plays.

Each engine runs in a process of its own. CPU seconds are user + system of the whole process, peak
memory is the largest resident set the kernel saw; of `prepare`, whose tables are files mapped into
memory, also the largest part that is not a file's (sampled every 20 ms). Exits with 1 if a row differs.

The increment: the last day with plays and what came late after it are taken out of the log, `prepare`
runs, the day comes back, `prepare` runs again, and a rebuild of everything has to give the same bytes.
Beside it: the days that the increment reads, prepared as if there were no others.
The same with the day 32 days before it, so that one sees what a day costs after half the history.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# Ids become numbers once, and pairs are counted one way round and then mirrored: both make DuckDB
# faster than the plain form of the query.
QUERIES = {
    # The first to be known of each event id stays; ties by event id as text never decide here.
    "validate and deduplicate": """
        create table clean as select * exclude (rank) from (
            select user_id, item_id, event_id, epoch_ms(known_at) as known_at, epoch_ms(occurred_at) as occurred_at,
                   epoch_ms(ended_at) as ended_at, listened_ms, duration_ms, end_reason,
                   row_number() over (partition by user_id, event_id order by known_at) as rank
            from read_parquet('{log}/plays/*/*.parquet', hive_partitioning = false)
            where listened_ms between 0 and 86400000 and duration_ms between 1 and 86400000
              and (ended_at is null or ended_at >= occurred_at))
        where rank = 1;
        create table items as select item_id, (row_number() over ())::integer as i from (select distinct item_id from clean);
        create table users as select user_id, (row_number() over ())::integer as u from (select distinct user_id from clean)""",
    "sessions": """
        create table plays as select * exclude (previous),
            (sum(case when previous is null or occurred_at - previous >= 1800000 then 1 else 0 end) over w)::integer - 1 as session,
            (row_number() over w)::integer as n
        from (select u, i, c.* exclude (user_id, item_id, ended_at), max(ended_at) over (
                partition by u order by known_at, event_id rows between unbounded preceding and 1 preceding) as previous
              from clean c join users using (user_id) join items using (item_id))
        window w as (partition by u order by known_at, event_id rows unbounded preceding)""",
    "per user × item": "create table per_user as select u, i, count(*) as plays from plays group by all",
    "per item and day": """
        create table per_item as select i, known_at // 86400000 as day, count(*) as plays,
            count(*) filter (listened_ms >= 30000) as streams,
            count(*) filter (listened_ms * 10 >= duration_ms * 9) as completions,
            count(*) filter (end_reason = 'next' and listened_ms * 10 < duration_ms * 9) as skips,
            count(distinct u) as listeners
        from plays group by all""",
    # What was known strictly before each request: of the listener, of the listener and the item,
    # and of the item through the day before.
    "as-of features": """
        create table wanted as select u, i, requested_at, requested_at // 86400000 as day
            from '{dump}/requests.parquet' join users using (user_id) join items using (item_id);
        create table of_user as select u, known_at, count(*) over (partition by u order by known_at) as plays from plays;
        create table of_pair as select u, i, known_at, count(*) over w as plays,
            count(*) filter (listened_ms * 10 >= duration_ms * 9) over w as completions,
            count(*) filter (end_reason = 'next' and listened_ms * 10 < duration_ms * 9) over w as skips
            from plays window w as (partition by u, i order by known_at);
        create table of_item as select i, day, sum(plays) over w as plays, sum(listeners) over w as listeners
            from per_item window w as (partition by i order by day);
        create table as_of as select w.u, w.i, w.requested_at, coalesce(a.plays, 0) as user_plays,
            coalesce(b.plays, 0) as pair_plays, coalesce(b.completions, 0) as pair_completions, coalesce(b.skips, 0) as pair_skips,
            coalesce(c.plays, 0) as item_plays, coalesce(c.listeners, 0) as item_listeners
        from wanted w
        asof left join of_user a on w.u = a.u and w.requested_at > a.known_at
        asof left join of_pair b on w.u = b.u and w.i = b.i and w.requested_at > b.known_at
        asof left join of_item c on w.i = c.i and w.day > c.day""",
    "ordered sequences": "create table sequences as select u, n, i, known_at, occurred_at, session from plays order by u, n",
    "50 nearest co-listens": """
        create table co_listens as
        with pairs as (select a.i as a, b.i as b from plays a join plays b
                on a.u = b.u and a.session = b.session and b.n > a.n and b.n <= a.n + 10 and a.i <> b.i),
            counts as (select least(a, b) as a, greatest(a, b) as b, count(*) as n from pairs group by all),
            mirrored as (select a, b, n from counts union all select b, a, n from counts)
        select a, unnest(max_by({{'b': b, 'n': n}}, n, 50), recursive := true) from mirrored group by a""",
}

# What is compared and not timed: `prepare` counts an item's neighbours through the day on which its plays last
# grew by an eighth, so here each item is counted through that day, one way round. The query that is timed
# counts them through the last day; it is the faster one.
AS_OF = """
    create table co_listens_as_of as
    with counted as (select p.*, t.day from plays p join items using (i)
            join read_parquet('{dump}/co_listens_through.parquet') t using (item_id)),
        counts as (select a.i as a, b.i as b, count(*) as n from counted a join plays b
            on a.u = b.u and a.session = b.session and b.n between a.n - 10 and a.n + 10 and a.i <> b.i
            where a.known_at // 86400000 <= a.day and b.known_at // 86400000 <= a.day group by all)
    select a, unnest(max_by({{'b': b, 'n': n}}, n, 50), recursive := true) from counts group by a"""

# Neighbours of equal count may be cut at 50 in another order: counts are compared by rank, and those who are sure
# to be there, with more than the last of a full list, by name.
SURE = "select a, b, n from {} qualify n > min(n) over (partition by a) or count(*) over (partition by a) < 50"
RANKED = "select a, n, row_number() over (partition by a order by n desc) as rank from {}"
NAMED = "select a.item_id as a, b.item_id as b, n from co_listens_as_of c join items a on a.i = c.a join items b on b.i = c.b"
COMPARED = {
    "sequences with sessions": (
        "select user_id, n, item_id, known_at, occurred_at, session from sequences join users using (u) join items using (i)",
        "select * from '{dump}/plays.parquet'",
    ),
    "user × item counts": (
        "select user_id, item_id, plays from per_user join users using (u) join items using (i)",
        "select * from '{dump}/interactions.parquet'",
    ),
    "item statistics per day": (
        "select item_id, day, plays, plays as timed, streams, completions, skips, listeners from per_item join items using (i)",
        "select * from '{dump}/item_stats.parquet'",
    ),
    "as-of features": (
        "select user_id, item_id, requested_at, user_plays, pair_plays, pair_completions, pair_skips, item_plays, item_listeners"
        " from as_of join users using (u) join items using (i)",
        "select * from '{dump}/requests.parquet'",
    ),
    "co-listens with more than the last": (SURE.format(f"({NAMED})"), SURE.format("'{dump}/co_listens.parquet'")),
    "co-listen counts by rank": (RANKED.format(f"({NAMED})"), RANKED.format("'{dump}/co_listens.parquet'")),
}


def duckdb_part(home, threads, memory):
    """Runs all queries in this process and prints CPU seconds and differences as JSON."""
    import duckdb

    def cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    spill = str(home / "duckdb-spill")
    db = duckdb.connect(config={"threads": threads, "memory_limit": memory, "temp_directory": spill})
    names = {"log": home / "log", "dump": home / "dump"}
    took, began = {}, time.time()
    for name, sql in QUERIES.items():
        before = cpu()
        db.execute(sql.format(**names))
        took[name] = cpu() - before
    wall = time.time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    differ = {}
    db.execute(AS_OF.format(**names))
    for name, (theirs, ours) in COMPARED.items():
        theirs, ours = theirs.format(**names), ours.format(**names)
        rows = db.execute(f"select count(*) from ({ours})").fetchone()[0]
        sides = [(theirs, ours), (ours, theirs)]
        differ[name] = rows, sum(
            db.execute(f"select count(*) from ({a} except all {b})").fetchone()[0] for a, b in sides
        )
    print(json.dumps({"cpu": took, "wall": wall, "peak_mib": peak, "differ": differ}))


def measured(command):
    """Runs a process; returns its output, CPU seconds, seconds, peak MiB and peak MiB not of files."""
    began = time.time()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE)
    anonymous, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            try:
                text = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            sizes = [int(l.split()[1]) for l in text.splitlines() if l.startswith("RssAnon:")]
            anonymous[0] = max([anonymous[0], *sizes])

    watcher = threading.Thread(target=watch)
    watcher.start()
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.time() - began
    done.set()
    watcher.join()
    if status != 0:
        sys.exit(f"{command} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return json.loads(out) if out else None, cpu, wall, usage.ru_maxrss / 1024, anonymous[0] / 1024


def table(title, rows):
    print(f"\n{title}\n")
    for at, row in enumerate(rows):
        print("| " + " | ".join(str(c) for c in row) + " |")
        if at == 0:
            print("|---" * len(row) + "|")
    sys.stdout.flush()


def prepared(what, binary, home, threads, rows, *flags):
    report, cpu, wall, peak, own = measured([binary, "prepare", home, threads, *flags])
    rows.append(
        [what, report["rows"]["plays"], f"{cpu:.1f}", f"{wall:.1f}", f"{peak:.0f}", f"{own:.0f}", report["n_days_read"]]
    )
    return report, cpu


HEAD = ["run", "plays", "CPU-s", "s", "peak MiB", "of it not files", "days read"]


def world(binary, home, users, items, days, args):
    subprocess.run([binary, "generate", home, str(users), str(items), str(days)], check=True)
    snapshots = home / "snapshots"
    rows, ours = [HEAD], []
    for threads in args.threads:
        for _ in range(args.repeats):
            shutil.rmtree(snapshots, ignore_errors=True)
            full, cpu = prepared(f"prepare, {threads} threads", binary, home, threads, rows)
            ours.append((threads, cpu, full["snapshot_id"]))
    if len({o[2] for o in ours}) != 1:
        sys.exit("snapshots differ between thread counts")
    read, cpu, _, peak, own = measured([binary, "read", home])
    what = ["open", "gather moments", "read all plays"]
    rows_of_read = [["step", "s"], *[[k, f"{s:.2f}"] for k, s in zip(what, read["seconds"])]]
    rows_of_read += [["CPU-s in all", f"{cpu:.1f}"], ["peak MiB", f"{peak:.0f}"], ["of it not files", f"{own:.0f}"]]
    subprocess.run([binary, "dump", home, home / "dump"], check=True)

    shutil.rmtree(snapshots)
    # A day as an increment: the last whole day, and the day 32 days before it with what was known
    # then. Both are at the same place in their block of eight days.
    days_of_log = sorted((home / "log" / "plays").iterdir())
    away = home / "away"
    away.mkdir()
    plays_of = [sum(part.stat().st_size for part in day.rglob("*") if part.is_file()) for day in days_of_log]
    # After the last day of the world only plays arrive that were offline.
    last = max(at for at, size in enumerate(plays_of) if 2 * size >= sorted(plays_of)[len(plays_of) // 2])
    for at in [last, last - 32]:
        for day in days_of_log[at:]:
            day.rename(away / day.name)
        prepared(f"{at} days", binary, home, args.threads[-1], rows)
        (away / days_of_log[at].name).rename(days_of_log[at])
        report, _ = prepared(f"day {at + 1} as an increment", binary, home, args.threads[-1], rows)
        if not report["incremental"]:
            sys.exit("the increment was a rebuild")
        shutil.rmtree(snapshots)
        rebuilt, _ = prepared(f"rebuild with day {at + 1}", binary, home, args.threads[-1], rows)
        if rebuilt["snapshot_id"] != report["snapshot_id"]:
            sys.exit("the increment is not the rebuild")
        alone = home / "alone"
        shutil.copytree(home / "log", alone / "log", ignore=lambda folder, names: names if folder.endswith("plays") else [])
        for day in days_of_log[at + 1 - report["n_days_read"] : at + 1]:
            shutil.copytree(day, alone / "log" / "plays" / day.name)
        prepared("the days that it reads, from nothing", binary, alone, args.threads[-1], rows)
        shutil.rmtree(alone)
        for day in days_of_log[at + 1 :]:
            (away / day.name).rename(day)
        shutil.rmtree(snapshots)
    table(f"prepare, {full['rows']['plays']} plays of {users} listeners", rows)
    table("What a model does before it learns", rows_of_read)

    here = [sys.executable, __file__, "--duckdb", home, "--threads", args.threads[-1], "--memory", args.memory]
    theirs, _, _, _, _ = measured(here)
    total = sum(theirs["cpu"].values())
    best = min(cpu for threads, cpu, _ in ours if threads == args.threads[-1])
    rows = [["query", "DuckDB CPU-s"], *[[k, f"{v:.1f}"] for k, v in theirs["cpu"].items()]]
    table("DuckDB", rows + [["sum", f"{total:.1f}"], ["s", f"{theirs['wall']:.1f}"], ["peak MiB", f"{theirs['peak_mib']:.0f}"]])
    print(f"\nprepare takes {total / best:.2f} times less CPU ({best:.1f} against {total:.1f} s)")
    table("Compared row by row", [["what", "rows", "that differ"], *[[k, *v] for k, v in theirs["differ"].items()]])
    return sum(n for _, n in theirs["differ"].values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--quick", action="store_true", help="2 M plays only")
    parser.add_argument("--users", type=int, nargs="*", help="listeners per world")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--memory", default="14GB", help="DuckDB's memory limit")
    parser.add_argument("--duckdb", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.duckdb:
        return duckdb_part(args.duckdb, args.threads[-1], args.memory)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    wrong = 0
    for users in args.users or ([5_200] if args.quick else [5_200, 50_000]):
        home = Path(tempfile.mkdtemp(dir=args.work, prefix="home-")).resolve()
        try:
            wrong += world(args.binary, home, users, 100_000, 60, args)
        finally:
            shutil.rmtree(home)
    print(f"load average {os.getloadavg()[0]:.1f} at the end")
    sys.exit(1 if wrong else 0)


main()
