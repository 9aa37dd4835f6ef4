#!/usr/bin/env python3
"""Keeps a lab under load for half an hour: how its memory and files grow, and whether a claim is lost.

    soak.py [--minutes 30] [--rate 50] [--every 300] [--switch 5]

It sends claims at a steady rate while the scenario is switched every few seconds. At the start, every five minutes and at the
end it prints resident memory (RSS, and Pss, which counts shared pages by share) per process, and the sizes of the files.
Then each accepted claim is read back and must have been checked for fraud. Exit code 1 if one is lost or failed.
"""

import argparse
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attack"))
from lab import lab

CHECK_DEADLINE_S = 120


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--rate", type=int, default=50)
    options.add_argument("--every", type=float, default=300, help="seconds between two looks")
    options.add_argument("--switch", type=float, default=5, help="seconds between two scenarios")
    options = options.parse_args()

    with lab() as running:
        began = time.monotonic()
        end = began + 60 * options.minutes
        accepted, failed, stop = [], [], threading.Event()
        sender = threading.Thread(target=send, args=(running, options.rate, end, accepted, failed))
        switches = [0]
        switcher = threading.Thread(target=switch, args=(running, options.switch, stop, switches))
        print("  min  RSS/Pss in MiB per process; files in MiB")
        show(running, 0)
        sender.start()
        switcher.start()
        look = began + options.every
        while sender.is_alive():
            sender.join(max(0.1, min(look, end + 30) - time.monotonic()))
            if time.monotonic() >= look and sender.is_alive():
                show(running, time.monotonic() - began)
                look += options.every
        stop.set()
        switcher.join()
        show(running, time.monotonic() - began)
        lost, unchecked = read_back(running, accepted)
        print(f"accepted {len(accepted)}, failed {len(failed)}, switched {switches[0]} times, lost {lost}, "
              f"not checked for fraud {unchecked}; restarts "
              f"{sum(process['restarts'] for process in running.file['processes'])}")
        for reason in sorted(set(failed))[:5]:
            print(f"  failed: {reason} ({failed.count(reason)} times)")
    sys.exit(1 if lost or unchecked or failed else 0)


def send(running, rate, end, accepted, failed):
    """In portions, so that neither the desk's answer nor this script grows with the time."""
    while (left := end - time.monotonic()) > 0:
        count = max(1, int(rate * min(left, 10)))
        answer = running.cli("claim", "--count", str(count), "--rate", str(rate), codes=(0, 1))
        for claim in answer["claims"]:
            if claim["status"] == 201:
                accepted.append(claim["claim_id"])
            else:
                failed.append(f"{claim['status']} {claim.get('error') or ''}")


def switch(running, every, stop, switches):
    known = [scenario["id"] for scenario in running.cli("scenario", "list")]
    while not stop.wait(every):
        running.cli("scenario", "use", known[switches[0] % len(known)])
        switches[0] += 1


def show(running, passed_s):
    memory = []
    for process in running.file["processes"]:
        lines = Path(f"/proc/{process['pid']}/smaps_rollup").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        memory.append(f"{process['service']} {kib['Rss'] / 1024:.1f}/{kib['Pss'] / 1024:.1f}")
    sizes = {}
    for path in running.folder.rglob("*"):
        if path.is_file():
            name = "logs" if path.parent.name == "logs" else path.name
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    files = [f"{name} {size / 2**20:.1f}" for name, size in sorted(sizes.items()) if size >= 2**16]
    print(f"{passed_s / 60:5.1f}  {', '.join(memory)}; {', '.join(files) or 'nothing above 0.1'}", flush=True)


def read_back(running, accepted):
    """How many claims are gone, and how many were never checked."""
    door = running.file["front_door"]
    lost, unchecked, deadline = 0, set(accepted), time.monotonic() + CHECK_DEADLINE_S
    while unchecked and time.monotonic() < deadline:
        lost = 0
        for claim in list(unchecked):
            try:
                with urllib.request.urlopen(f"{door}claims/{claim}", timeout=10) as answer:
                    if "fraud_check" in json.load(answer):
                        unchecked.discard(claim)
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    continue
                lost += 1
        time.sleep(0.2 if unchecked else 0)
    return lost, len(unchecked) - lost


if __name__ == "__main__":
    main()
