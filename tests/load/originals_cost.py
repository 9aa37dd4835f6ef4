#!/usr/bin/env python3
"""What the chain costs with the lab's stand-ins and with real services in their seats: the same driver, one run, tracing on and off.

    originals_cost.py [--rate 20] [--seconds 20] [--rounds 3]

Two labs run side by side and take turns, so that both see the same machine. Prints a table of ratios, original to stand-in:
CPU time per claim and resident memory of each seat with all
processes of it, median and 95th percentile of the answer at a steady rate, and claims per second one after the other. It needs python3,
node, java and mvn; the labs listen on loopback only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from originals import JAVA_CLAIMS, POLICIES, PYTHON_API, RUN, WITH_JAVA
from real_backend import cli, eventually, lab

SEATS = (PYTHON_API, JAVA_CLAIMS, POLICIES)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
WARM_UP = 200
ONE_BY_ONE = 300


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=int, default=20)
    options.add_argument("--seconds", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    for what in ("flask", "express", "spring"):
        subprocess.run([RUN, what, "install"], check=True)
    seated = [option for service, command in WITH_JAVA["all-three"].items() for option in ("--seat", f"{service}={command}")]
    print("| tracing | what | stand-ins | originals | ratio |\n|---|---|---|---|---|")
    for tracing in ("on", "off"):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            disabled = {"OTEL_SDK_DISABLED": "true" if tracing == "off" else "false"}
            labs = [stack.enter_context(lab(f"{folder}/{name}", *more, **disabled))
                    for name, more in (("stand-ins", []), ("originals", seated))]
            for data_dir in labs:
                eventually(lambda at=data_dir: cli(at, "claim")[0] == 0, "a claim is accepted")
                # One after the other: a cold JVM would time out under load.
                cli(data_dir, "claim", "--count", str(WARM_UP))
            rounds = [[measure(data_dir, options) for data_dir in labs] for _ in range(options.rounds)]
            for what in rounds[0][0]:
                ours, theirs = (statistics.median(it[at][what] for it in rounds) for at in (0, 1))
                print(f"| {tracing} | {what} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |", flush=True)


def measure(data_dir, options):
    pids = {process["service"]: process["pid"] for process in json.loads(Path(data_dir, "lab.json").read_text())["processes"]}
    before = {service: used(pids[service])[0] for service in SEATS}
    count = options.rate * options.seconds
    _, answer = cli(data_dir, "claim", "--count", str(count), "--rate", str(options.rate))
    # What a claim leaves behind belongs to it: the fraud check, the spans.
    time.sleep(1)
    after = {service: used(pids[service]) for service in SEATS}
    took = sorted(claim["duration_ms"] for claim in answer["claims"])
    began = time.monotonic()
    _, one_by_one = cli(data_dir, "claim", "--count", str(ONE_BY_ONE))
    elapsed = time.monotonic() - began
    if answer["failed"] or one_by_one["failed"]:
        sys.exit(f"{answer['failed'] + one_by_one['failed']} claims failed in {data_dir}")
    costs = {f"{service}, CPU ms per claim": 1000 * (after[service][0] - before[service]) / count for service in SEATS}
    memory = {f"{service}, resident MB": after[service][1] / 2**20 for service in SEATS}
    return costs | memory | {
        f"answer at {options.rate} per s, median ms": statistics.median(took),
        f"answer at {options.rate} per s, 95th percentile ms": took[int(len(took) * 0.95)],
        "claims per second, one after the other": ONE_BY_ONE / elapsed,
    }


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
