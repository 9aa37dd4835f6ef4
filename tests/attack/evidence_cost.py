#!/usr/bin/env python3
"""Measures what a claim costs each process of the lab under load: milliseconds of CPU, and memory.

    tests/attack/evidence_cost.py [SECONDS [CLAIMS_PER_SECOND]]

By default 30 s at 50 claims per second. It only prints measurements. Use a release build: INSUREWATCH names it.
"""

import json
import sys
import time
import urllib.request

from lab import cpu_s, lab, resident_kib

WARM_UP_S = 5


def main():
    seconds, rate = float((sys.argv[1:] or ["30"])[0]), (sys.argv[2:] or ["50"])[0]
    with lab("--traffic", rate) as it:
        pids = {process["service"]: process["pid"] for process in it.file["processes"]}

        def ask(path):
            with urllib.request.urlopen(it.file["desk"] + path, timeout=10) as answer:
                return json.load(answer)

        def look():
            return ask("api/traffic")["accepted"], {name: cpu_s(pid) for name, pid in pids.items()}

        time.sleep(WARM_UP_S)
        sent_before, before = look()
        time.sleep(seconds)
        sent, after = look()
        claims, board = sent - sent_before, ask("api/scoreboard")
        memory = {name: resident_kib(pid) // 1024 for name, pid in pids.items()}
    print(f"{claims} claims in {seconds:.0f} s; decided of the last 500 or fewer: {board['claims']}, complete {board['whole']}")
    for name in pids:
        print(f"{name:20} {(after[name] - before[name]) / max(claims, 1) * 1000:5.2f} ms per claim, {memory[name]} MiB")


if __name__ == "__main__":
    main()
