#!/usr/bin/env python3
"""What the chain costs with the lab's stand-ins and with real services in their seats: the same driver, one run, tracing on and off.

    tests/load/originals_cost.py [--rate 20] [--seconds 20] [--rounds 3] [--write]

Four labs run side by side and take turns, so that all see the same machine. Prints a table of ratios, original to stand-in; with
--write it also writes docs/cost.md. It needs python3, node, java and mvn; the labs listen on loopback only. $INSUREWATCH names the
program: take a release build.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from originals import JAVA_CLAIMS, POLICIES, PYTHON_API, RUN, WITH_JAVA
from real_backend import OPENER, ROOT, cli, eventually, lab

SEATS = (PYTHON_API, JAVA_CLAIMS, POLICIES)
CHAIN = (*SEATS, "gateway", "claims-worker", "fraud-partner")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
WARM_UP = 200
ONE_BY_ONE = 300
AT_ONCE, IN_ALL = 8, 800
CLAIM = {"policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 120000, "description": "hail"}

PAGE = ROOT / "docs/cost.md"
TEXT = """# What the chain costs

Written by `tests/load/originals_cost.py --write`, with a release build: the chain of stand-ins beside the same chain with Flask,
Spring Boot and Express (`originals/`) in their seats, with the same driver. Four labs, with tracing on and off, ran at once on one
machine with {cores} cores and took turns: {rounds} rounds of {seconds} s at {rate} claims per second, {one_by_one} claims one after the other, and
{in_all} claims {at_once} at a time, after {warm_up} claims to warm up. Each value is the median of the rounds. Gateway, worker and third party
are the lab's own in both chains. "Off" is `OTEL_SDK_DISABLED=true` for every service.

**What is noise.** In two runs on a machine that also had other work, CPU per claim and memory differed by up to a fifth, throughput and
answer times by up to a factor of four. So only the ratios of CPU and memory are results; the others are magnitudes, and say nothing
about tracing on or off. CPU at the steady rate includes what a service does at rest. Spring keeps claims and queue in two files, and
waits for the disk twice for each claim.

{table}

For a lesson it means: the stand-ins teach what is sent and recorded, and not what tracing costs. A difference of milliseconds in the
lab says nothing about a service of yours.
"""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=int, default=20)
    options.add_argument("--seconds", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--write", action="store_true")
    options = options.parse_args()
    for what in ("flask", "express", "spring"):
        subprocess.run([RUN, what, "install"], check=True)
    seated = [option for service, command in WITH_JAVA["all-three"].items() for option in ("--seat", f"{service}={command}")]
    table = ["| tracing | what | stand-ins | originals | ratio |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        labs = {}
        for tracing, disabled in (("on", "false"), ("off", "true")):
            for who, more in (("stand-ins", []), ("originals", seated)):
                data_dir = stack.enter_context(lab(f"{folder}/{who}-{tracing}", *more, OTEL_SDK_DISABLED=disabled))
                eventually(lambda: cli(data_dir, "claim")[0] == 0, "a claim is accepted")
                # One after the other: a cold JVM would time out under load.
                cli(data_dir, "claim", "--count", str(WARM_UP))
                labs[tracing, who] = data_dir
        rounds = [{key: measure(data_dir, options) for key, data_dir in labs.items()} for _ in range(options.rounds)]
    for tracing in ("on", "off"):
        for what in rounds[0][tracing, "originals"]:
            ours, theirs = (statistics.median(it[tracing, who][what] for it in rounds) for who in ("stand-ins", "originals"))
            table.append(f"| {tracing} | {what} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |")
    print("\n".join(table))
    if options.write:
        PAGE.write_text(TEXT.format(cores=os.cpu_count(), rounds=options.rounds, seconds=options.seconds, rate=options.rate,
                                    one_by_one=ONE_BY_ONE, in_all=IN_ALL, at_once=AT_ONCE, warm_up=WARM_UP, table="\n".join(table)))


def measure(data_dir, options):
    file = json.loads(Path(data_dir, "lab.json").read_text())
    pids = {process["service"]: process["pid"] for process in file["processes"] if process["service"] in CHAIN}
    before = {service: used(pid)[0] for service, pid in pids.items()}
    count = options.rate * options.seconds
    _, answer = cli(data_dir, "claim", "--count", str(count), "--rate", str(options.rate))
    # What a claim leaves behind belongs to it: the fraud check, the spans.
    time.sleep(1)
    after = {service: used(pid) for service, pid in pids.items()}
    cpu = {service: 1000 * (after[service][0] - before[service]) / count for service in pids}
    took = sorted(claim["duration_ms"] for claim in answer["claims"])
    began = time.monotonic()
    _, one_by_one = cli(data_dir, "claim", "--count", str(ONE_BY_ONE))
    elapsed = time.monotonic() - began
    if answer["failed"] or one_by_one["failed"]:
        sys.exit(f"{answer['failed'] + one_by_one['failed']} claims failed in {data_dir}")
    return {
        "claims per second, one after the other": ONE_BY_ONE / elapsed,
        f"claims per second, {AT_ONCE} at a time": at_once(f"{file['front_door']}claims"),
        f"answer at {options.rate} per s, median ms": statistics.median(took),
        f"answer at {options.rate} per s, 95th percentile ms": took[int(len(took) * 0.95)],
        "the chain, CPU ms per claim": sum(cpu.values()),
        **{f"{service}, CPU ms per claim": cpu[service] for service in SEATS},
        "the chain, resident MB": sum(memory for _, memory in after.values()) / 2**20,
        **{f"{service}, resident MB": after[service][1] / 2**20 for service in SEATS},
    }


def at_once(url):
    """Claims per second that are accepted with so many in flight."""
    def send(_):
        request = urllib.request.Request(url, json.dumps(CLAIM).encode(), {"content-type": "application/json"})
        with OPENER.open(request, timeout=10) as answer:
            answer.read()
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, range(IN_ALL)))
    return IN_ALL / (time.monotonic() - began)


def used(top):
    """CPU seconds and resident bytes of a process and of all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(") ", 1)[1].split()
        except (OSError, IndexError):
            continue
        parents[int(stat.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]) * PAGE_BYTES)
    tree, more = set(), {top}
    while more:
        tree |= more
        more = {pid for pid, (parent, _, _) in parents.items() if parent in tree} - tree
    return (sum(parents[pid][1] for pid in tree if pid in parents) / TICKS,
            sum(parents[pid][2] for pid in tree if pid in parents))


if __name__ == "__main__":
    main()
