#!/usr/bin/env python3
"""Runs the lab against a real Tempo and a real Collector, with the configuration of compose, beside an embedded lab.

    tests/interop/real_stack.py [SCENARIO ...]

For every scenario both labs must agree: the verdict of `check` and its exit code, the outcome of `diagnose` and all of
its findings, and the traces that `trace` shows of one claim. Prints one line per scenario; exits with 1 if a line
differs. Without Tempo and Collector (see real_backend.py) nothing is run, and the exit code is 0.
"""

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from real_backend import Backend, cli, lab

# Here the root comes up to a minute late: what `diagnose` sees of it is told by the clock, not by the backend.
TOLD_BY_THE_CLOCK = ["late-root"]


def main():
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, \
            lab(f"{folder}/real", "--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url) as real, \
            lab(f"{folder}/embedded") as embedded, ThreadPoolExecutor(2) as both:
        scenarios = sys.argv[1:] or [scenario["id"] for scenario in cli(embedded, "scenario", "list")[1]]
        agreeing = [agree(it, *both.map(lambda at, it=it: seen(at, it), [embedded, real])) for it in scenarios]
    print(f"{sum(agreeing)} of {len(agreeing)} scenarios agree")
    return 0 if all(agreeing) else 1


def seen(data_dir, scenario):
    """What the commands say about a scenario, without values that differ from claim to claim."""
    code, status = cli(data_dir, "scenario", "use", scenario)
    assert code == 0, f"{scenario}: {status}"
    check_code, check = cli(data_dir, "check", scenario)
    diagnose_code, diagnosis = cli(data_dir, "diagnose")
    _, report = cli(data_dir, "trace", diagnosis["claim_id"])
    fragments = report["evidence"]["fragments"] if report else []
    shape = [sorted([span["service"], span["name"], span["kind"], span["place"]] for span in fragment["nodes"])
             for fragment in fragments]
    verdicts = {
        "check": [check_code, check["outcome"]],
        "diagnose": [diagnose_code, diagnosis["outcome"]],
        "findings": findings(diagnosis),
        "traces": sorted(shape),
    }
    if scenario in TOLD_BY_THE_CLOCK:
        del verdicts["diagnose"], verdicts["traces"]
    return verdicts


def findings(diagnosis):
    parts = diagnosis["hops"] + diagnosis["inside"]
    return [[part["finding"]["place"], part["finding"]["step"]] for part in parts if part["finding"]]


def agree(scenario, embedded, real):
    differing = [part for part in embedded if embedded[part] != real[part]]
    place, step = (embedded["findings"] or [["nothing", "no step"]])[0]
    traces = embedded.get("traces", [])
    told = f"{embedded['check'][1]}; {place}, {step or 'no step'}; {sum(map(len, traces))} spans in {len(traces)} traces"
    print(f"{'differ' if differing else 'agree '}  {scenario}: {told}", flush=True)
    for part in differing:
        print(f"  {part}\n    embedded {json.dumps(embedded[part])}\n    real     {json.dumps(real[part])}", flush=True)
    return not differing


if __name__ == "__main__":
    sys.exit(main())
