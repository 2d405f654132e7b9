"""`prepare` beside DuckDB on the same log, in one run on one machine; results compared row by row.

    python3 -m venv /tmp/duckdb && /tmp/duckdb/bin/pip install duckdb
    cargo build --release -p segue-data --example prepare_bench
    /tmp/duckdb/bin/python benches/prepare_vs_duckdb/compare.py TARGET_DIR [USERS ITEMS DAYS THREADS]

TARGET_DIR is cargo's, such as `target`. The world is synthetic, from a fixed seed (see
`crates/segue-data/examples/prepare_bench.rs`): about 6.7 plays per user and day, 1 % sent twice,
.5 % a day late, .1 % longer than any rule allows.

Compared: validate and deduplicate, sessions with a 30-minute gap, ordered sequences, per-user ×
item counts, per-item statistics, as-of features (plays and skips of the listener before each
play), the 50 items most often within 10 plays in a session. `prepare` does all of them and
besides writes user states, plays by market, training rows and a checkpoint; DuckDB does each as
SQL and keeps the tables in memory. CPU seconds are user + system, of the whole process.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

QUERIES = {
    # The first to be known of each event id stays; ties by event id as text never decide here.
    "clean": """create table clean as
        select * exclude (rank) from (
            select user_id, item_id, event_id, epoch_ms(known_at) as known_at, epoch_ms(occurred_at) as occurred_at,
                   epoch_ms(ended_at) as ended_at, listened_ms, duration_ms, end_reason,
                   row_number() over (partition by user_id, event_id order by known_at) as rank
            from read_parquet('{log}/plays/*/*.parquet', hive_partitioning = false)
            where listened_ms between 0 and 86400000 and duration_ms between 1 and 86400000
              and (ended_at is null or ended_at >= occurred_at))
        where rank = 1""",
    "sessions": """create table sessions as
        select *, sum(case when previous is null or occurred_at - previous >= 1800000 then 1 else 0 end)
                    over (partition by user_id order by known_at, event_id rows unbounded preceding) - 1 as session
        from (select *, max(ended_at) over (partition by user_id order by known_at, event_id
                    rows between unbounded preceding and 1 preceding) as previous from clean)""",
    "per_user": "create table per_user as select user_id::varchar as user_id, item_id::varchar as item_id, count(*) as plays from sessions group by all",
    "per_item": """create table per_item as select item_id, known_at // 86400000 as day, count(*) as plays,
        count(*) filter (listened_ms >= 30000) as streams, count(distinct user_id) as listeners from sessions group by all""",
    "as_of": """create table as_of as select user_id, known_at,
        count(*) over w as plays, count(*) filter (end_reason = 'next') over w as skips
        from sessions window w as (partition by user_id order by known_at, event_id rows between unbounded preceding and 1 preceding)""",
    "sequences": """create table sequences as select user_id::varchar as user_id, item_id::varchar as item_id, known_at, occurred_at, session,
        row_number() over (partition by user_id order by known_at, event_id) as n from sessions order by user_id, n""",
    "co_listens": """create table co_listens as
        with numbered as (select user_id, session, item_id, row_number() over (partition by user_id order by known_at, event_id) as n from sessions),
        pairs as (select a.item_id as a, b.item_id as b from numbered a join numbered b
                  on a.user_id = b.user_id and a.session = b.session and a.item_id <> b.item_id and abs(a.n - b.n) <= 10)
        select a, b, n from (
            select *, row_number() over (partition by a order by n desc) as rank
            from (select a::varchar as a, b::varchar as b, count(*) as n from pairs group by all))
        where rank <= 50""",
}


def cpu(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def main():
    target = Path(sys.argv[1])
    users, items, days, threads = (sys.argv[2:] + ["5000", "100000", "60", "2"][len(sys.argv) - 2 :])[:4]
    binary = target / "release" / "examples" / "prepare_bench"
    home = Path(tempfile.mkdtemp(prefix="prepare-vs-duckdb-"))
    try:
        run(binary, home, users, items, days, threads)
    finally:
        shutil.rmtree(home)


def run(binary, home, users, items, days, threads):
    subprocess.run([binary, "generate", home, users, items, days], check=True)
    before, began = cpu(resource.RUSAGE_CHILDREN), time.time()
    report = json.loads(subprocess.run([binary, "prepare", home, threads], check=True, capture_output=True).stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    ours = cpu(resource.RUSAGE_CHILDREN) - before
    print(f"prepare: {report['rows']['plays']} plays, {ours:.1f} CPU-s, {time.time() - began:.1f} s, at most {peak:.0f} MiB")
    for phase, seconds in report["seconds"]:
        print(f"  {phase}: {seconds:.1f} s")
    subprocess.run([binary, "dump", home, home / "dump"], check=True)

    db = duckdb.connect(config={"threads": int(threads)})
    theirs = 0.0
    for name, sql in QUERIES.items():
        before = cpu(resource.RUSAGE_SELF)
        db.execute(sql.format(log=home / "log"))
        took = cpu(resource.RUSAGE_SELF) - before
        theirs += took
        print(f"  duckdb {name}: {took:.1f} CPU-s")
    print(f"duckdb: {theirs:.1f} CPU-s; prepare takes {theirs / ours:.2f} times less")

    def differences(what, sql):
        n = db.execute(sql).fetchone()[0]
        print(f"compared {what}: {n} rows differ")
        return n

    d = home / "dump"
    # Neighbours of equal count may be cut at 50 in another order, so counts are compared by rank.
    ranked = "select a, n, row_number() over (partition by a order by n desc) as rank from {}"
    wrong = (
        differences(
            "sequences and sessions",
            f"""select count(*) from (
            (select user_id, item_id, known_at, occurred_at, session from sequences except all select * from '{d}/plays.parquet')
            union all (select * from '{d}/plays.parquet' except all select user_id, item_id, known_at, occurred_at, session from sequences))""",
        )
        + differences(
            "user × item counts",
            f"""select count(*) from (
            (select * from per_user except all select * from '{d}/interactions.parquet')
            union all (select * from '{d}/interactions.parquet' except all select * from per_user))""",
        )
        + differences(
            "co-listens",
            f"""select count(*) from (
            ({ranked.format("co_listens")} except all {ranked.format(f"'{d}/co_listens.parquet'")})
            union all ({ranked.format(f"'{d}/co_listens.parquet'")} except all {ranked.format("co_listens")}))""",
        )
    )
    sys.exit(1 if wrong else 0)


main()
