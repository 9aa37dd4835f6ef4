#!/usr/bin/env python3
"""Sends claims in every scenario, and reads each claim's record afterwards.

No claim may fail, and each must have been checked for fraud, although claims-worker is killed with SIGKILL half-way. With --kill it is
another service: one that answers may leave some claims unaccepted, but loses none that it has accepted.

    claims_once.py [--count 1000] [--rate 50] [--kill SERVICE] [--queue nats://127.0.0.1:4222] [SCENARIO ...]

It starts a lab with `target/debug/insurewatch` (or $INSUREWATCH) in a temporary folder, on free ports, and
ends it. Exit code 1 if a claim failed or was not checked.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = os.environ.get("INSUREWATCH", "target/debug/insurewatch")
CHECK_DEADLINE_S = 90
WORKER = "claims-worker"


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--rate", type=float, default=50)
    options.add_argument("--queue", help="URL of the claims queue; without it the built-in one")
    options.add_argument("--kill", default=WORKER, metavar="SERVICE")
    options.add_argument("scenarios", nargs="*")
    options = options.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, **({"INSUREWATCH_QUEUE_URL": options.queue} if options.queue else {}))
        lab = subprocess.Popen([BINARY, "--data-dir", folder, "up", "--port-base", "0"], env=environment,
                               stdout=subprocess.PIPE, text=True)
        try:
            for line in lab.stdout:
                if line.startswith("ready"):
                    break
            threading.Thread(target=lab.stdout.read, daemon=True).start()
            known = [scenario["id"] for scenario in cli(folder, "scenario", "list", "--json")]
            bad = [run(folder, scenario, options) for scenario in options.scenarios or known]
        finally:
            lab.send_signal(signal.SIGINT)
            lab.wait(60)
    sys.exit(1 if any(bad) else 0)


def run(folder, scenario, options):
    """Whether something went wrong."""
    cli(folder, "scenario", "use", scenario, "--json")
    began = time.monotonic()
    killer = threading.Timer(options.count / options.rate / 2, kill, [folder, options.kill])
    killer.start()
    answer = cli(folder, "claim", "--count", str(options.count), "--rate", str(options.rate), "--json", codes=(0, 1))
    killer.join()
    sent_s = time.monotonic() - began
    claims = [claim["claim_id"] for claim in answer["claims"] if claim["status"] == 201]
    door = lab_file(folder)["front_door"]
    unchecked, deadline = set(claims), time.monotonic() + CHECK_DEADLINE_S
    while unchecked and time.monotonic() < deadline:
        unchecked = {claim for claim in unchecked if "fraud_check" not in record(door, claim)}
        time.sleep(0.2 if unchecked else 0)
    restarts = next(p["restarts"] for p in lab_file(folder)["processes"] if p["service"] == options.kill)
    print(f"{scenario:30} accepted {answer['accepted']}, failed {answer['failed']}, checked "
          f"{len(claims) - len(unchecked)} of {len(claims)}, {options.kill} killed {restarts} times so far, sent in {sent_s:.0f} s",
          flush=True)
    return bool(unchecked) or (options.kill == WORKER and answer["failed"] > 0)


def kill(folder, service):
    pid = next(p["pid"] for p in lab_file(folder)["processes"] if p["service"] == service)
    if pid:
        os.kill(pid, signal.SIGKILL)


def record(door, claim):
    with urllib.request.urlopen(f"{door}claims/{claim}", timeout=10) as answer:
        return json.load(answer)


def lab_file(folder):
    with open(os.path.join(folder, "lab.json")) as file:
        return json.load(file)


def cli(folder, *arguments, codes=(0,)):
    done = subprocess.run([BINARY, "--data-dir", folder, *arguments], capture_output=True, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
