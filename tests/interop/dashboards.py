#!/usr/bin/env python3
"""The dashboards against a real Tempo: what every panel draws of its answers, by way of tests/dashboards.

    tests/interop/dashboards.py record    records Tempo's answers in five states, for the tests that have no Tempo
    tests/interop/dashboards.py live      the same tests on answers of this minute; nothing is kept
    tests/interop/dashboards.py faults    runs every scenario and writes docs/panels.md: which panel shows it

Needs node, and `npm ci` in tests/dashboards. Without Tempo and Collector (see real_backend.py) nothing is run, and the
exit code is 0.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from real_backend import ROOT, Backend, cli, eventually, lab

TESTS = ROOT / "tests/dashboards"
STATES = ["healthy", "lab-1-b3-vs-w3c", "gateway-rewrites-context", "mesh-span-not-exported", "baggage-leak"]
# At one per second: the minute that is recorded begins after all labs have started.
CLAIMS = 80
LAB = "resource.deployment.environment.name"
PAGE = ROOT / "docs/panels.md"
# What the clock or the machine decides is no sign of a fault.
UNSTEADY = re.compile(r"^(CLM-|[0-9a-f]{8,}|00-|\d{4}-\d\d-\d\d|\d)|-[0-9a-f]{16}-")
# Why no panel shows a scenario.
UNSEEN = {
    "tracestate-dropped": "Only a claim that comes with a `tracestate` can lose it, and the lab's own traffic has none. "
                          "`insurewatch check` sends one that has. With such a claim, *Headers at each hop* shows it.",
    "conflicting-headers": "The extra header is the caller's: the trace is joined as before in the lab's own traffic.",
}


def main():
    mode = sys.argv[1] if len(sys.argv) == 2 else ""
    if mode == "faults":
        return faults()
    if mode not in ("record", "live"):
        print(__doc__)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        kept = TESTS / "recorded" if mode == "record" else Path(folder) / "answers"
        kept.mkdir(exist_ok=True)
        record(Path(folder), kept)
        return subprocess.run(["node", "--test", "panels.test.js"], cwd=TESTS,
                              env=os.environ | {"RECORDED": str(kept)}).returncode


def record(folder, kept):
    """Five labs that share one Tempo, told apart by the attribute that the dashboards' variable asks for."""
    with Backend(folder) as backend, ExitStack() as labs:
        for state in STATES:
            labs.enter_context(start(folder, backend, state, "--scenario", state, "--traffic", "1"))
        for state in STATES:
            eventually(lambda: claims(backend, state) >= CLAIMS, f"{CLAIMS} claims of {state} are counted")
        for state in STATES:
            variables = json.dumps(a_claim(backend, state, time.time() - 30))
            subprocess.run(["node", "ask.js", backend.tempo_url, variables, "60", kept / f"{state}.json"], cwd=TESTS, check=True)


def start(folder, backend, name, *options):
    return lab(f"{folder}/{name}", "--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url, *options,
               OTEL_RESOURCE_ATTRIBUTES=f"service.namespace=insurewatch,deployment.environment.name={name}")


def claims(backend, name):
    query = f'{{ name = "PUT /api/claims/{{id}}/fraud-check" && kind = server && {LAB} = "{name}" }} | count_over_time()'
    now = int(time.time())
    found = json.loads(backend.ask("/api/metrics/query", q=query, start=now - 600, end=now))
    return sum(series.get("value", 0) for series in found.get("series", []))


def a_claim(backend, name, since):
    """A claim that is old enough to be complete, and the traces on both sides of *One claim*."""
    def search(query, limit):
        found = json.loads(backend.ask("/api/search", q=query, start=int(since), end=int(time.time()) + 5, limit=limit, spss=1))
        return sorted(found.get("traces", []), key=lambda trace: int(trace["startTimeUnixNano"]))
    found = search(f'{{ span.insurewatch.claim.id != nil && {LAB} = "{name}" }} | select(span.insurewatch.claim.id)', 60)
    if not found:
        return {"lab": name, "claim": "none", "left": "", "right": ""}
    attributes = found[len(found) // 2]["spanSets"][0]["spans"][0]["attributes"]
    claim = next(it["value"]["stringValue"] for it in attributes if it["key"] == "insurewatch.claim.id")
    traces = [trace["traceID"] for trace in search(f'{{ span.insurewatch.claim.id = "{claim}" }}', 20)]
    return {"lab": name, "claim": claim, "left": traces[0], "right": traces[-1]}


SETTLE_S, WATCH_S = 4, 15


def faults():
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, \
            start(folder, backend, "faults", "--traffic", "3") as at:
        scenarios = cli(at, "scenario", "list")[1]
        healthy = watch(at, backend, "healthy")
        again = watch(at, backend, "healthy")
        seen = {it["id"]: changed(healthy, watch(at, backend, it["id"]))
                for it in scenarios if it["id"] != "healthy"}
    noise = changed(healthy, again)
    for scenario, panels in seen.items():
        print(scenario, *panels, sep="\n    ")
    problems = [f"two looks at a healthy chain differ: {noise}"] if noise else []
    problems += [f"{id} is seen in no panel, and it is not known why" for id, panels in seen.items()
                 if not panels and id not in UNSEEN]
    for problem in problems:
        print(f"PROBLEM {problem}")
    if not problems:
        PAGE.write_text(page(scenarios, seen))
    return 1 if problems else 0


def watch(at, backend, scenario):
    """What every panel draws of some seconds in a scenario."""
    assert cli(at, "scenario", "use", scenario)[0] == 0, scenario
    # What was under way at the switch is neither this nor that.
    time.sleep(SETTLE_S)
    since = time.time()
    time.sleep(WATCH_S)
    variables = json.dumps(a_claim(backend, "faults", since))
    ran = subprocess.run(["node", "ask.js", backend.tempo_url, variables, str(WATCH_S)], cwd=TESTS, check=True, text=True,
                         stdout=subprocess.PIPE)
    return {(it["dashboard"], it["panel"]): signs(it) for it in json.loads(ran.stdout)}


def signs(panel):
    """By series or column: how much it says on average, or the texts in it, without what changes by itself."""
    signs = {}
    for field in panel["fields"]:
        cells = field["cells"]
        if field["type"] == "number":
            numbers = [cell["value"] for cell in cells if cell["value"] is not None]
            quick = panel.get("unit") == "s" or field["name"] in ("Duration", "duration")
            signs[field["name"]] = "some" if quick else statistics.fmean(numbers) if numbers else 0.0
            if len({cell["text"] for cell in cells}) == 1 and not UNSTEADY.match(cells[0]["text"]):
                signs[field["name"]] = cells[0]["text"]
        elif field["type"] == "string" and cells:
            signs[field["name"]] = frozenset(cell["text"] for cell in cells if not UNSTEADY.search(cell["text"]))
    return {name: sign for name, sign in signs.items() if sign != 0.0}


def changed(healthy, now):
    """The panels that say something else than in a healthy chain."""
    def differ(one, other):
        if isinstance(one, float) and isinstance(other, float):
            return not 0.6 < other / one < 1.6
        return one != other
    def panel_differs(one, other):
        return one.keys() != other.keys() or any(differ(one[name], other[name]) for name in one)
    return [panel for panel in healthy if panel_differs(healthy[panel], now[panel])]


def page(scenarios, seen):
    def told(panels, home):
        chosen = [f"*{panel}*" if home else f"*{board}*: {panel}" for board, panel in panels
                  if (board == "Fragmented or unified?") == home and board != "The class"]
        return "; ".join(chosen) or "–"
    rows = []
    for it in scenarios:
        if it["id"] != "healthy":
            panels = seen[it["id"]]
            rows.append(f"| `{it['id']}` | {told(panels, True)} | {told(panels, False)} |")
    unseen = [f"- `{id}`: {UNSEEN[id]}" for id, panels in seen.items() if not panels]
    blank = [f"- `{id}`" for id, panels in seen.items() if panels and told(panels, True) == "–"]
    return "\n".join([
        "# Which panel shows which scenario", "",
        "Each scenario was switched on in a running lab with three claims per second, and every panel was drawn of what a real",
        "Tempo then answered, and compared with the same panel of the healthy chain. A panel is named if it differs: another",
        "series, another word, or a number that is more than half as much again or less. *The class* and panels that need",
        "Prometheus are left out. Names of scenarios are spoilers: read this after a drill, not before.", "",
        "This page is written by `tests/interop/dashboards.py faults`, which needs Tempo and the Collector.", "",
        "| scenario | home | other dashboards |", "|---|---|---|", *rows, "",
        "## Not on home", "", *(blank or ["Every scenario that is seen at all is seen on home."]), "",
        "These leave every claim in one trace with its root: propagation of the context works, and something else is wrong.", "",
        "## In no panel", "", *(unseen or ["Every scenario is seen in some panel."]), ""])


if __name__ == "__main__":
    sys.exit(main())
