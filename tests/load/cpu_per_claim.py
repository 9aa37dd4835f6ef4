#!/usr/bin/env python3
"""Measures CPU time per claim, by process, at 50 claims per second.

    cpu_per_claim.py [--seconds 20] [--rate 50] [--rounds 3] BINARY [OTHER]

With two binaries their labs run side by side and take turns, so that both see the same machine: the last line is the ratio
of the medians. Idle is what a process uses in a second without claims, after a period with claims. The desk's time includes
sending the claims; the sum of the chain leaves out desk and trace store.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attack"))
import lab as labs

NOT_OF_THE_CHAIN = ("desk", "trace-store")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=20)
    options.add_argument("--rate", type=int, default=50)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("binaries", nargs="+", metavar="BINARY")
    options = options.parse_args()

    with ExitStack() as stack:
        running = []
        for binary in options.binaries:
            labs.INSUREWATCH = os.path.abspath(binary)
            running.append((labs.INSUREWATCH, stack.enter_context(labs.lab()), [], []))
        for _ in range(options.rounds):
            for binary, lab, loaded, idle in running:
                labs.INSUREWATCH = binary
                loaded.append(per_claim(lab, options))
                idle.append(at_rest(lab))
        medians = []
        for binary, _, loaded, idle in running:
            claim, rest = median(loaded), median(idle)
            print(binary)
            for service in claim:
                print(f"  {service:18} {claim[service]:6.2f} ms per claim, idle {rest[service]:5.1f} ms per second")
            chain = sum(cost for service, cost in claim.items() if service not in NOT_OF_THE_CHAIN)
            print(f"  {'the chain':18} {chain:6.2f} ms per claim", flush=True)
            medians.append(chain)
        if len(medians) == 2:
            print(f"the second takes {medians[1] / medians[0]:.2f} of the first")


def per_claim(lab, options):
    count = options.rate * options.seconds
    before = used(lab)
    answer = lab.cli("claim", "--count", str(count), "--rate", str(options.rate), codes=(0, 1))
    # What a claim leaves behind belongs to it: the fraud check, the spans.
    time.sleep(1)
    after = used(lab)
    if answer["failed"]:
        sys.exit(f"{answer['failed']} of {count} claims failed")
    return {service: 1000 * (after[service] - before[service]) / count for service in after}


def at_rest(lab, seconds=5):
    before = used(lab)
    time.sleep(seconds)
    return {service: 1000 * (now - before[service]) / seconds for service, now in used(lab).items()}


def used(lab):
    return {process["service"]: labs.cpu_s(process["pid"]) for process in lab.file["processes"]}


def median(rounds):
    return {service: statistics.median(costs[service] for costs in rounds) for service in rounds[0]}


if __name__ == "__main__":
    main()
