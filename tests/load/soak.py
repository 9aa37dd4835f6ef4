#!/usr/bin/env python3
"""Keeps a lab under load for half an hour: how its memory, descriptors and files grow, and whether a claim is lost.

    soak.py [--minutes 30] [--rate 50] [--switch 5]

It sends claims at a steady rate while the scenario is switched every few seconds. The tables have seven columns: at the
start, after every sixth of the run, and at the end. Exit code 1 if any of this is false:

- every claim that was sent is accepted, is in the database at the end, and was checked for fraud; outbox and queue are empty
- no process was restarted, and the private memory of each is constant: the mean of the last third of the run is at most 5 %
  or 1 MiB above the mean of the middle third. A process is judged only from the time when its own limit is reached: the
  trace store from its first eviction on, fraud-partner from 10,000 claims on, which it remembers. A claim's cost depends on
  the scenario, so a third must be at least one round of all scenarios, about 150 s. A shorter run judges no memory and says so.
- no log file is larger than 8 MiB, where it is rotated, plus what is logged within a second; no write-ahead log is larger
  than 32 MiB
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attack"))
from lab import cpu_s, lab

LOOKS = 6
SAMPLES = 90
# What fraud-partner remembers: crates/fraud-partner/src/lib.rs.
REMEMBERED = 10_000
GROWTH, GROWTH_MIB = 1.05, 1
LOG_MIB, LOG_SLACK_MIB, WAL_MIB = 8, 1, 32
CHECK_DEADLINE_S = 120
ASKED = 200


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--rate", type=int, default=50)
    options.add_argument("--switch", type=float, default=5, help="seconds between two scenarios")
    options = options.parse_args()

    with lab() as running:
        soak = Soak(running)
        soak.run(60 * options.minutes, options.rate, options.switch)
        problems = soak.verdicts() + soak.read_back()
        soak.print_tables()
    for problem in problems:
        print(f"WRONG {problem}")
    print("holds" if not problems else f"{len(problems)} of the promises above are broken")
    sys.exit(1 if problems else 0)


class Soak:
    def __init__(self, running):
        self.running = running
        self.pids = {process["service"]: process["pid"] for process in running.file["processes"]}
        self.sent, self.accepted, self.failed, self.switches = 0, [], [], 0
        self.stop, self.broken = threading.Event(), []
        # (seconds, {service: MiB}) of private memory, and per look everything else.
        self.samples, self.looks = [], []
        self.largest, self.rotated, self.full_at, self.round_s = {}, set(), {}, 0

    def run(self, seconds, rate, every):
        self.began = time.monotonic()
        end = self.began + seconds
        threads = [threading.Thread(target=self.guarded, args=work)
                   for work in [(self.send, rate, end), (self.switch, every)]]
        self.look()
        for thread in threads:
            thread.start()
        looks = [self.began + seconds * number / LOOKS for number in range(1, LOOKS)]
        while threads[0].is_alive():
            threads[0].join(min(5, seconds / SAMPLES))
            self.sample()
            if looks and time.monotonic() >= looks[0]:
                looks.pop(0)
                self.look()
        self.took = time.monotonic() - self.began
        self.stop.set()
        threads[1].join()
        self.look()

    def guarded(self, work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            self.broken.append(f"{work.__name__}: {error}")
            raise

    def send(self, rate, end):
        """In portions, so that neither the desk's answer nor this script grows with the time."""
        while (left := end - time.monotonic()) > 0:
            count = max(1, int(rate * min(left, 10)))
            self.sent += count
            answer = self.running.cli("claim", "--count", str(count), "--rate", str(rate), codes=(0, 1))
            for claim in answer["claims"]:
                if claim["status"] == 201:
                    self.accepted.append(claim["claim_id"])
                else:
                    self.failed.append(f"{claim['status']} {claim.get('error') or ''}")

    def switch(self, every):
        known = [scenario["id"] for scenario in self.running.cli("scenario", "list")]
        self.round_s = len(known) * every
        while not self.stop.wait(every):
            self.running.cli("scenario", "use", known[self.switches % len(known)])
            self.switches += 1

    # === what is seen ===

    def seconds(self):
        return time.monotonic() - self.began

    def sample(self):
        memory = {service: memory_mib(pid)[0] for service, pid in self.pids.items()}
        self.samples.append((self.seconds(), memory))
        for name, mib in self.files().items():
            self.largest[name] = max(mib, self.largest.get(name, 0))
            if name.endswith(".jsonl.1"):
                self.rotated.add(name)
        if len(self.accepted) >= REMEMBERED:
            self.full_at.setdefault("fraud-partner", self.seconds())
        if "trace-store" not in self.full_at:
            with urllib.request.urlopen(self.running.file["traces"] + "status", timeout=10) as answer:
                if json.load(answer)["traces_evicted"]:
                    self.full_at["trace-store"] = self.seconds()

    def look(self):
        self.looks.append({
            "minutes": self.seconds() / 60,
            "memory": {service: memory_mib(pid) for service, pid in self.pids.items()},
            "descriptors": {service: len(os.listdir(f"/proc/{pid}/fd")) for service, pid in self.pids.items()},
            "cpu": {service: cpu_s(pid) for service, pid in self.pids.items()},
            "accepted": len(self.accepted),
            "files": self.files(),
        })
        print(f"{self.seconds() / 60:5.1f} min: {len(self.accepted)} claims accepted, {len(self.failed)} failed, "
              f"{self.switches} switches, private memory {sum(m[0] for m in self.looks[-1]['memory'].values()):.0f} MiB",
              flush=True)

    def files(self):
        """MiB by path in the lab's folder."""
        found = {}
        for path in self.running.folder.rglob("*"):
            try:
                if path.is_file():
                    found[str(path.relative_to(self.running.folder))] = path.stat().st_size / 2**20
            except FileNotFoundError:
                continue
        return found

    # === what is judged ===

    def verdicts(self):
        problems = list(self.broken)
        if self.failed:
            reasons = {reason: self.failed.count(reason) for reason in sorted(set(self.failed))}
            problems.append(f"{len(self.failed)} of {self.sent} claims failed: {json.dumps(reasons)[:300]}")
        for process in self.running.file["processes"]:
            if process["restarts"]:
                problems.append(f"{process['service']} was started again {process['restarts']} times")
        for name, mib in sorted(self.largest.items()):
            bound = LOG_MIB + LOG_SLACK_MIB if name.startswith("logs/") else WAL_MIB if name.endswith("-wal") else None
            if bound and mib > bound:
                problems.append(f"{name} had {mib:.1f} MiB, bound {bound}")
        self.memory = {service: judge(self.samples, service, self.full_at, self.round_s) for service in self.pids}
        problems += [f"the memory of {service}: {verdict}" for service, verdict in self.memory.items()
                     if verdict.startswith("GROWS")]
        return problems

    def read_back(self):
        """What is missing of the claims that were accepted; waits for their fraud checks."""
        accepted, deadline = set(self.accepted), time.monotonic() + CHECK_DEADLINE_S
        while True:
            kept = dict(rows(self.running.folder / "claims.db", "SELECT claim_id, fraud_check IS NOT NULL FROM claims"))
            lost = accepted - set(kept)
            unchecked = sum(not kept[claim] for claim in accepted - lost)
            [[outbox]] = rows(self.running.folder / "claims.db", "SELECT count(*) FROM outbox")
            [[queued]] = rows(self.running.folder / "queue.db", "SELECT count(*) FROM queue_messages WHERE acked_at_ms IS NULL")
            if not (unchecked or outbox or queued) or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.lost = len(lost)
        # And the database is what the front door answers from.
        door, wrong = self.running.file["front_door"], 0
        for claim in random.sample(sorted(accepted), min(ASKED, len(accepted))):
            with urllib.request.urlopen(f"{door}claims/{claim}", timeout=10) as answer:
                wrong += "fraud_check" not in json.load(answer)
        found = [(self.lost, "accepted claims are not in the database"), (unchecked, "claims were not checked for fraud"),
                 (outbox, "messages are in the outbox"), (queued, "messages are in the queue, dead ones included"),
                 (wrong, f"of {ASKED} claims that were asked for have no fraud check"),
                 (int(not accepted), "run without a claim that was accepted")]
        return [f"{number} {what}" for number, what in found if number]

    # === what is printed ===

    def print_tables(self):
        looks = self.looks
        head = "".join(f"{look['minutes']:8.1f}" for look in looks)
        claims = max(1, looks[-1]["accepted"] - looks[0]["accepted"])
        print(f"\nprivate memory (Pss), MiB; minutes:\n{'':18}{head}  verdict")
        for service, verdict in self.memory.items():
            print(f"{service:18}" + "".join(f"{look['memory'][service][0]:8.1f}" for look in looks) + f"  {verdict}")
            print(f"{'':18}" + "".join(f"{'(%.1f)' % look['memory'][service][1]:>8}" for look in looks))
        print("open descriptors, and CPU per claim:")
        for service in self.pids:
            cpu = 1000 * (looks[-1]["cpu"][service] - looks[0]["cpu"][service]) / claims
            print(f"{service:18}" + "".join(f"{look['descriptors'][service]:8}" for look in looks) + f"  {cpu:.2f} ms")
        print("files, MiB (those above 0.05; the largest seen):")
        for name in sorted(self.largest):
            if self.largest[name] >= 0.05:
                print(f"{name:32}" + "".join(f"{look['files'].get(name, 0):8.1f}" for look in looks)
                      + f"  {self.largest[name]:.1f}")
        rotated = ", ".join(sorted(Path(name).stem for name in self.rotated)) or "none had 8 MiB"
        print(f"logs that were rotated: {rotated}")
        print(f"sent {self.sent} in {self.took:.0f} s ({self.sent / self.took:.1f} per second), accepted "
              f"{len(self.accepted)}, failed {len(self.failed)}, lost {self.lost}; switched {self.switches} times")


def judge(samples, service, full_at, round_s):
    """By the rule at the head of this file."""
    if service in ("trace-store", "fraud-partner") and service not in full_at:
        return "not judged: its bound was not reached"
    end = samples[-1][0]
    middle, last = max(end / 3, full_at.get(service, 0)), end * 2 / 3
    if min(last - middle, end - last) < round_s:
        return "not judged: too short for two rounds of all scenarios"
    before, after = (statistics.mean(memory[service] for at, memory in samples if begin < at <= until)
                     for begin, until in ((middle, last), (last, end)))
    grows = after > before * GROWTH and after > before + GROWTH_MIB
    return f"{'GROWS' if grows else 'flat'}, {before:.1f} -> {after:.1f} MiB"


def memory_mib(pid):
    """Private memory and Pss."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024, kib["Pss"] / 1024


def rows(path, query):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
