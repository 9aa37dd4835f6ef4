#!/usr/bin/env python3
"""Tests the dashboards with a real Tempo: what every panel draws from its responses, with tests/dashboards.

    tests/interop/dashboards.py record    records Tempo's responses in five states, for the tests without Tempo
    tests/interop/dashboards.py live      the same tests on live responses; nothing is stored
    tests/interop/dashboards.py switch    switches a lab back and forth, and prints after how many seconds the home dashboard shows it
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from real_backend import ROOT, Backend, cli, eventually, lab

TESTS = ROOT / "tests/dashboards"
STATES = ["healthy", "lab-1-b3-vs-w3c", "gateway-rewrites-context", "mesh-span-not-exported", "baggage-leak"]
# At one per second. Labs that start side by side may refuse their first claims; the minute that is recorded is a later one.
WARM_CLAIMS, CLAIMS = 10, 65
LAB = "resource.deployment.environment.name"
PAGE = ROOT / "docs/panels.md"
# What the clock or the machine decides is no sign of a fault.
UNSTEADY = re.compile(r"^(CLM-|[0-9a-f]{8,}|00-|\d{4}-\d\d-\d\d|\d)|-[0-9a-f]{16}-")
# Two looks at a healthy chain differed in these, and why is not known: they are not judged.
UNJUDGED = {"Claims and complete claims", "Fragments by service and span", "Servers whose parent was not received",
            "Work without a tenant"}
# Why no panel shows a scenario: for each one that was seen in none.
UNSEEN = {}


def main():
    mode = sys.argv[1] if len(sys.argv) == 2 else ""
    if mode in ("faults", "switch"):
        return {"faults": faults, "switch": switch}[mode]()
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
    """Five labs that share one Tempo, distinguished by the attribute of the dashboards' variable."""
    with Backend(folder) as backend, ExitStack() as labs:
        for state in STATES:
            labs.enter_context(start(folder, backend, state, "--scenario", state, "--traffic", "1"))
        for state in STATES:
            eventually(lambda: claims(backend, state, time.time() - 600) >= WARM_CLAIMS, f"{WARM_CLAIMS} claims of {state} are counted")
        warm = time.time()
        for state in STATES:
            eventually(lambda: claims(backend, state, warm) >= CLAIMS, f"{CLAIMS} more claims of {state} are counted")
        for state in STATES:
            variables = json.dumps(a_claim(backend, state, time.time() - 30))
            subprocess.run(["node", "ask.js", backend.tempo_url, variables, "60", kept / f"{state}.json"], cwd=TESTS, check=True)


def start(folder, backend, name, *options):
    return lab(f"{folder}/{name}", "--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url, *options,
               OTEL_RESOURCE_ATTRIBUTES=f"service.namespace=insurewatch,deployment.environment.name={name}")


def claims(backend, name, since):
    query = f'{{ name = "PUT /api/claims/{{id}}/fraud-check" && kind = server && {LAB} = "{name}" }} | count_over_time()'
    found = json.loads(backend.ask("/api/metrics/query", q=query, start=int(since), end=int(time.time()) + 1))
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


ROUNDS, WINDOW_S = 2, 40


def switch():
    """When home can show that claims broke, and that they are fixed; the page adds the time until its next query."""
    all_seen = True
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, \
            start(folder, backend, "switch", "--traffic", "2") as at, \
            subprocess.Popen(["node", "watch.js", backend.tempo_url, "switch"], cwd=TESTS, text=True,
                             stdout=subprocess.PIPE) as watched:
        try:
            looks = map(json.loads, watched.stdout)
            next(look for look in looks if len(last_claims(look)) > 5 and not any(broken(look).values()))
            for scenario, signs in [("lab-1-b3-vs-w3c", broken), ("healthy", whole)] * ROUNDS:
                assert cli(at, "scenario", "use", scenario)[0] == 0, scenario
                seen = since_now(looks, signs)
                print(f"{signs.__name__}:", ", ".join(f"{sign} {after}" for sign, after in seen.items()))
                all_seen = all_seen and "not seen" not in seen.values()
        finally:
            watched.kill()
    return 0 if all_seen else 1


def since_now(looks, signs):
    """After how long each sign is first visible."""
    begun, seen = time.time(), {}
    for look in looks:
        after = look["at"] - begun
        for sign, so in signs(look).items():
            if seen.get(sign, "not seen") == "not seen":
                seen[sign] = f"{after:.1f} s" if so and after > 0 else "not seen"
        if after > WINDOW_S:
            return seen
    raise SystemExit("watch.js ended")


def columns(look, title):
    def cells(field):
        return [cell["text" if field["type"] == "string" else "value"] for cell in field["cells"]]
    panel = next(it for it in look["panels"] if it["panel"] == title)
    return {field["name"]: cells(field) for field in panel["fields"]}


def bars(look, service):
    """How much work of a service is in python-api's trace, and how much is not."""
    drawn = columns(look, "In whose trace is each service's work?")
    services = drawn.pop("resource.service.name\\rootServiceName", [])
    if service not in services:
        return 0, 0
    work = {name: values[services.index(service)] for name, values in drawn.items()}
    unified = work.pop("in python-api's trace", 0)
    return unified, sum(work.values())


def last_claims(look):
    panel = next(it for it in look["panels"] if it["panel"] == "The last claims")
    return [cell["text"] for field in panel["fields"] if field["name"] == "Traces" for cell in field["cells"]]


def newest_bar(look):
    """The series of the newest bar over time."""
    bars, times = {}, []
    for field in next(it for it in look["panels"] if it["panel"] == "When it broke, and when it was fixed")["fields"]:
        values = [cell["value"] for cell in field["cells"]]
        if field["type"] == "time":
            times = values
        else:
            for time_, value in zip(times, values):
                if value:
                    bars.setdefault(time_, set()).add(field["name"])
    return bars[max(bars)] if bars else set()


def broken(look):
    return {"bars": bars(look, "java-claims")[1] > 0, "over time": newest_bar(look) - {"in python-api's trace"} != set(),
            "last claims": any(text != "● unified" for text in last_claims(look)[:3])}


def whole(look):
    # The newest claim is in one trace as long as its second has not arrived.
    return {"bars": bars(look, "java-claims")[0] > 0, "bars, all blue": bars(look, "java-claims")[1] == 0,
            "over time": newest_bar(look) == {"in python-api's trace"},
            "last claims": last_claims(look)[:3] == ["● unified"] * 3}


LABS, SETTLE_S, WATCH_S, LATE_S = 4, 8, 10, 4


def faults():
    """Some labs share the scenarios among them, and each looks at its healthy chain before and after."""
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, ExitStack() as labs:
        named = {f"faults-{number}": None for number in range(LABS)}
        for name in named:
            named[name] = labs.enter_context(start(folder, backend, name, "--traffic", "2"))
        scenarios = [it for it in cli(named["faults-0"], "scenario", "list")[1] if it["id"] != "healthy"]

        def share(number):
            name, at = f"faults-{number}", named[f"faults-{number}"]
            ids = ["healthy", *(it["id"] for it in scenarios[number::LABS]), "healthy"]
            return [(id, watch(at, backend, name, id)) for id in ids]
        with ThreadPoolExecutor(LABS) as threads:
            looks = [look for shared in threads.map(share, range(LABS)) for look in shared]
    healthy = [look for id, look in looks if id == "healthy"]
    # A panel must differ from every look at a healthy chain: what two of those differ in shows nothing.
    seen = {id: [panel for panel in look if all(panel in changed(other, look) for other in healthy)] for id, look in looks}
    seen = {it["id"]: seen[it["id"]] for it in scenarios}
    for scenario, panels in seen.items():
        print(scenario, *panels, sep="\n    ")
    print("looks at the healthy chain differ in", {panel for other in healthy[1:] for panel in changed(healthy[0], other)} or "nothing")
    unknown = [id for id, panels in seen.items() if not panels and id not in UNSEEN]
    known = [id for id in UNSEEN if seen[id]]
    print(f"PROBLEM seen in no panel, and it is not known why: {unknown}" if unknown else "", f"PROBLEM seen all the same: {known}" if known else "")
    if unknown or known:
        return 1
    PAGE.write_text(page(scenarios, seen))
    return 0


def watch(at, backend, name, scenario):
    """What every panel draws for some seconds in a scenario."""
    assert cli(at, "scenario", "use", scenario)[0] == 0, scenario
    # What was open at the switch is neither this nor that, and what is open now is incomplete.
    time.sleep(SETTLE_S)
    since = time.time()
    time.sleep(WATCH_S + LATE_S)
    variables = json.dumps(a_claim(backend, name, since))
    until = str(int(time.time()) - LATE_S)
    ran = subprocess.run(["node", "ask.js", backend.tempo_url, variables, str(WATCH_S), "", until], cwd=TESTS, check=True,
                         text=True, stdout=subprocess.PIPE)
    return {(it["dashboard"], it["panel"]): signs(it) for it in json.loads(ran.stdout)
            if it["dashboard"] != "The class" and it["panel"] not in UNJUDGED}


def signs(panel):
    """By series or column: its average, or the texts in it, without values that always change."""
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
            signs[f"rows of {field['name']}"] = float(len(cells))
    return {name: sign for name, sign in signs.items() if sign != 0.0}


def changed(healthy, now):
    """The panels that differ from those of a healthy chain."""
    def differ(one, other):
        if isinstance(one, float) and isinstance(other, float):
            return not 0.6 < other / one < 1.6
        return one != other
    def panel_differs(one, other):
        return one.keys() != other.keys() or any(differ(one[name], other[name]) for name in one)
    return [panel for panel in healthy if panel_differs(healthy[panel], now[panel])]


def page(scenarios, seen):
    def told(panels, home):
        boards = {}
        for board, panel in panels:
            if (board == "Fragmented or unified?") == home:
                boards.setdefault(board, []).append(panel)
        return "<br>".join(("" if home else f"*{board}*: ") + "; ".join(panels) for board, panels in boards.items()) or "–"
    rows = [f"| `{it['id']}` | {told(seen[it['id']], True)} | {told(seen[it['id']], False)} |" for it in scenarios]
    unseen = [f"- `{id}`: {UNSEEN[id]}" for id, panels in seen.items() if not panels]
    blank = [f"- `{id}`" for id, panels in seen.items() if panels and told(panels, True) == "–"]
    return "\n".join([
        "# Which panel shows which scenario", "",
        "The names of the [scenarios](glossary.md#scenario) give the answers away: read this after a [drill](glossary.md#drill),",
        "not before.", "",
        "Each scenario was active in a running lab with two claims per second. Every panel was drawn from the responses of a real",
        "Tempo, and compared with the same panel of the healthy chain. The table names a panel if it differs: another series,",
        "another word, or a number that is more than 1.6 times or less than 0.6 times as large. *The class* and panels that need",
        "Prometheus are left out. Four panels of *Propagation health* are left out because they varied even for a healthy chain:",
        "; ".join(f"*{panel}*" for panel in sorted(UNJUDGED)) + ".", "",
        "`tests/interop/dashboards.py faults`, which needs Tempo and the Collector, writes this page.", "",
        "| scenario | home | other dashboards |", "|---|---|---|", *rows, "",
        "## Not on home", "", *(blank or ["Every scenario that any panel shows is visible on the home dashboard."]), "",
        "The home dashboard shows traces, roots and missing parents, but not what is in a trace.", "",
        "## In no panel", "", *(unseen or ["Every scenario is visible in at least one panel."]), ""])


if __name__ == "__main__":
    sys.exit(main())
