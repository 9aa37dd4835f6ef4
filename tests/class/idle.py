#!/usr/bin/env python3
"""Measures what an idle lab costs: CPU, wake-ups and private memory of each of its processes.

    tests/class/idle.py [--seconds N] [--scenario ID] PROGRAM...

Starts one lab per PROGRAM (a path to `insurewatch`, or NAME=PATH), waits until its first claim is settled, and watches
all labs during the same seconds (default 60), so that programs are compared in one run. It only prints measurements. Linux only:
it reads /proc. Private memory is what becomes free when the process ends (`Private_*` of smaps_rollup).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from real_backend import Process, clean_environment, eventually  # noqa: E402

# The observer looks at the first claim until all its spans are there, and threads of the start end after 10 s.
SETTLE_S = 15


def main():
    parser = argparse.ArgumentParser(description="What a lab costs that nobody uses.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--scenario", default="healthy")
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    options = parser.parse_args()
    programs = dict(named(text) for text in options.programs)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as labs:
        pids = {name: labs.enter_context(running(program, Path(folder, name), options.scenario))
                for name, program in programs.items()}
        time.sleep(SETTLE_S)
        before, began = {name: usage(lab) for name, lab in pids.items()}, time.monotonic()
        time.sleep(options.seconds)
        after, took = {name: usage(lab) for name, lab in pids.items()}, time.monotonic() - began
        for name in programs:
            show(name, before[name], after[name], took)


def named(text):
    name, separator, path = text.partition("=")
    return (name, path) if separator else (Path(text).name, text)


def running(program, data, scenario):
    """A lab; entering gives the process id of each of its programs."""
    data.mkdir()
    command = [program, "--data-dir", str(data), "up", "--port-base", "0", "--scenario", scenario]
    return Lab(command, data / "up.log", clean_environment(), lambda it: "the first claim" in it.log.read_text())


class Lab(Process):
    def __enter__(self):
        super().__enter__()
        lab = json.loads((self.log.parent / "lab.json").read_text())
        return {"up": self.process.pid} | {process["service"]: process["pid"] for process in lab["processes"]}


def usage(pids):
    return {name: (cpu_s(pid), wakeups(pid), private_kib(pid)) for name, pid in pids.items()}


def threads(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            yield (task / "schedstat").read_text(), (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            pass  # It ended meanwhile.


def cpu_s(pid):
    return sum(int(schedule.split()[0]) for schedule, _ in threads(pid)) / 1e9


def wakeups(pid):
    """How often its threads went to sleep."""
    return sum(value(status, "voluntary_ctxt_switches") for _, status in threads(pid))


def private_kib(pid):
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return value(rollup, "Private_Clean") + value(rollup, "Private_Dirty")


def value(text, key):
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{key}:"))


def show(name, before, after, took):
    rows = [(program, (cpu - before[program][0]) / took, (woken - before[program][1]) / took, kib / 1024)
            for program, (cpu, woken, kib) in after.items()]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3))))
    print(f"{name}, {took:.0f} s\n  {'process':<20}{'CPU, % of a core':>18}{'wake-ups per s':>16}{'private MiB':>13}")
    for program, core, woken, mib in rows:
        print(f"  {program:<20}{core * 100:>18.3f}{woken:>16.1f}{mib:>13.2f}")


if __name__ == "__main__":
    main()
