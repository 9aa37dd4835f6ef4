#!/usr/bin/env python3
"""claims.db and queue.db at their bounds: what goes, what stays, how large the files are, and what an insertion costs.

    kept.py [--rounds 4] [--count 500] [--rate 50]

Two labs side by side take turns: one begins empty, the other with 200,000 checked claims and 12,000 dead letters, beyond
what is kept. Some of its oldest claims were accepted and never checked. Exit code 1 if one of those goes, if a bound does not
hold, if the file grows by more than a tenth, or if an insertion into the full file takes java-claims twice the CPU.
"""

import argparse
import json
import sqlite3
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/attack"))
from lab import cpu_s, lab

KEPT_CLAIMS, KEPT_DEAD = 200_000, 10_000
# What comes between two looks, at most.
SLACK_CLAIMS, SLACK_DEAD = 2 * 256, 256
UNCHECKED = [7, 77, 777]
DEAD = 12_000
HOUR_MS = 3_600_000


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--rate", type=int, default=50)
    options = options.parse_args()

    with ExitStack() as stack:
        labs = {"empty": stack.enter_context(lab()), "full": stack.enter_context(lab(prepare=fill))}
        before = size_mib(labs["full"])
        cpu, latency = {name: [] for name in labs}, {name: [] for name in labs}
        for _ in range(options.rounds):
            for name, running in labs.items():
                java, used = running.pid("java-claims"), cpu_s(running.pid("java-claims"))
                answer = running.cli("claim", "--count", str(options.count), "--rate", str(options.rate))
                cpu[name].append(1000 * (cpu_s(java) - used) / options.count)
                latency[name].append(statistics.median(claim["duration_ms"] for claim in answer["claims"]))
        seen, after = look(labs["full"]), size_mib(labs["full"])
    ratio = statistics.median(cpu["full"]) / statistics.median(cpu["empty"])
    for name in cpu:
        print(f"{name:6} java-claims {statistics.median(cpu[name]):.2f} ms of CPU per claim, median answer "
              f"{statistics.median(latency[name]):.1f} ms")
    print(f"full / empty: CPU {ratio:.2f}, answer {statistics.median(latency['full']) / statistics.median(latency['empty']):.2f}")
    print(f"files before and after {options.rounds * options.count} claims: {json.dumps(before)} -> {json.dumps(after)} MiB")
    print(f"after it: {json.dumps(seen)}")
    problems = [what for what, holds in [
        ("more claims than are kept", seen["claims"] <= KEPT_CLAIMS + SLACK_CLAIMS + len(UNCHECKED)),
        ("fewer claims than are kept", seen["claims"] >= KEPT_CLAIMS),
        ("the oldest are still there", seen["oldest"] > 1),
        ("a claim went that was not checked", seen["unchecked"] == len(UNCHECKED)),
        ("more dead letters than are kept", seen["dead"] <= KEPT_DEAD + SLACK_DEAD),
        ("fewer dead letters than are kept", seen["dead"] >= KEPT_DEAD),
        ("claims.db grew", after["claims.db"] <= 1.1 * before["claims.db"]),
        ("an insertion costs more in a full file", ratio < 2),
    ] if not holds]
    print("holds" if not problems else f"WRONG: {'; '.join(problems)}")
    sys.exit(1 if problems else 0)


def fill(folder):
    submission = json.dumps({"policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15",
                             "amount_cents": 20_000, "description": "hail " * 80})
    decision = json.dumps({"outcome": "approved", "payout_cents": 10_000})
    check = json.dumps({"finding": "clear"})
    with open_database(folder / "claims.db", "java-claims") as claims:
        claims.executemany(
            "INSERT INTO claims (claim_id, submission, decision, fraud_check, accepted_at) VALUES (?, ?, ?, ?, '2026')",
            ((f"CLM-{number:032x}", submission, decision, None if number in UNCHECKED else check)
             for number in range(1, KEPT_CLAIMS + 1)))
    with open_database(folder / "queue.db", "claims-queue") as queue:
        [[now]] = queue.execute("SELECT now_ms FROM queue_clock")
        queue.executemany(
            "INSERT INTO queue_messages (queue, id, body, attributes, attempt, visible_at_ms) VALUES ('claims', ?, ?, '{}', 5, ?)",
            ((f"dead-{number}", "{}", now - HOUR_MS) for number in range(DEAD)))


def open_database(path, crate):
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript((ROOT / f"crates/{crate}/src/schema.sql").read_text())
    return database


def look(running):
    def one(name, query, *values):
        database = sqlite3.connect(f"file:{running.folder / name}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(query, values).fetchone()[0]
        finally:
            database.close()
    marks = ", ".join("?" for _ in UNCHECKED)
    unchecked = [f"CLM-{number:032x}" for number in UNCHECKED]
    return {
        "claims": one("claims.db", "SELECT count(*) FROM claims"),
        "oldest": one("claims.db", "SELECT min(rowid) FROM claims"),
        "unchecked": one("claims.db", f"SELECT count(*) FROM claims WHERE fraud_check IS NULL AND claim_id IN ({marks})", *unchecked),
        "dead": one("queue.db", "SELECT count(*) FROM queue_messages WHERE acked_at_ms IS NULL AND attempt >= 5"),
    }


def size_mib(running):
    return {name: round((running.folder / name).stat().st_size / 2**20, 1) for name in ("claims.db", "queue.db")}


if __name__ == "__main__":
    main()
