#!/usr/bin/env python3
"""Runs every TraceQL query of every dashboard and of the README against a real Tempo, in four states of the chain.

    tests/interop/dashboard_queries.py

Prints each query with its answers. Exits with 1 if Tempo refuses a query, if the fragmentation panel does not show who
begins traces, or if a panel has data in other states than it should. Without Tempo and Collector (see real_backend.py)
nothing is run, and the exit code is 0.
"""

import json
import re
import sys
import tempfile
import time
import urllib.error

from real_backend import ROOT, Backend, cli, eventually, lab

LAB_1, REWRITTEN, MESH = "lab-1-b3-vs-w3c", "gateway-rewrites-context", "mesh-span-not-exported"
STATES = ["healthy", LAB_1, REWRITTEN, MESH]
ROOTS = "Root spans by service"
EXPECTED_ROOTS = {"healthy": {"python-api"}, LAB_1: {"python-api", "java-claims"}, REWRITTEN: {"python-api"},
                  MESH: {"python-api"}}
# Panels that are empty in a healthy chain, and the states in which they are not.
TELLING = {
    "Roots that are no claim at the front door": {LAB_1},
    "Fragments by service and name": {LAB_1},
    "Servers whose parent never came": {REWRITTEN, MESH},
    "Traces whose root never came": {REWRITTEN},
    "Newest broken claims": {LAB_1, REWRITTEN, MESH},
    "Errors by service": set(),
}
CLAIMS = 12


def main():
    queries = list(extract())
    problems = []
    answers = {state: observe(state, queries, problems) for state in STATES}
    filled = {}
    for where, _, query in queries:
        seen = {state: answers[state][where, query] for state in STATES}
        print(f"{where}\n  {query}", *(f"\n    {state}: {told(answer)}" for state, answer in seen.items()), sep="")
        panel = where.partition(" / ")[2]
        if panel == ROOTS and {state: set(answer) for state, answer in seen.items()} != EXPECTED_ROOTS:
            problems.append(f"{where} does not show who begins traces")
        filled[panel] = filled.get(panel, set()) | {state for state, answer in seen.items() if answer}
    for panel, states in TELLING.items():
        if panel in filled and filled[panel] != states:
            problems.append(f"{panel} has data in {sorted(filled[panel])}, not in {sorted(states)}")
    missing = (TELLING.keys() | {ROOTS}) - filled.keys()
    problems.extend(f"no panel is called {panel}" for panel in missing)
    for text in problems:
        print(f"PROBLEM {text}")
    print(f"{len(queries)} queries were run in {len(STATES)} states")
    return 1 if problems else 0


def observe(state, queries, problems):
    """Every answer of a Tempo of its own: no window to get wrong."""
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, \
            lab(f"{folder}/lab", "--scenario", state, "--otlp-endpoint", backend.otlp,
                "--tempo", backend.tempo_url) as at:
        began = int(time.time()) - 1
        claims = cli(at, "claim", "--count", str(CLAIMS), "--rate", "4")[1]["claims"]
        claim = cli(at, "trace", claims[-1]["claim_id"])[1]["evidence"]
        variables = {"claim": claim["claim_id"], "left": claim["fragments"][0]["trace_id"],
                     "right": claim["fragments"][-1]["trace_id"]}
        settle(backend, began)
        return {(where, query): ask(backend, began, kind, fill(query, variables), problems)
                for where, kind, query in queries}


def extract():
    """Panel, kind and text of every query; the service graph asks Prometheus, not Tempo."""
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] != "tempo" or target["queryType"] != "traceql":
                    continue
                query = target["query"]
                kind = "metrics" if "metricsQueryType" in target else "search" if "{ " in query else "trace"
                yield f"{dashboard['title']} / {panel['title']}", (kind, target), query


    for query in re.findall(r"^- \[.+\]\[explore-\w+\] `(.+)`$", (ROOT / "README.md").read_text(), re.M):
        kind = "metrics" if re.search(r"\| (rate|count_over_time)\(", query) else "search"
        yield "README / Explore", (kind, {"limit": 20, "spss": 3}), query.replace("CLM-…", "${claim}")


def fill(query, variables):
    return re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], query)


def settle(backend, began):
    """Waits until the last claims are in reach of metrics, too."""
    wanted = 'name = "PUT /api/claims/{id}/fraud-check" && kind = server'
    def counted():
        answer = metrics(backend, began, f"{{ {wanted} }} | count_over_time() by (name)")
        return sum(answer.values()) >= CLAIMS
    eventually(counted, f"{CLAIMS} claims are counted")


def ask(backend, began, kind, query, problems):
    kind, target = kind
    try:
        if kind == "metrics":
            return metrics(backend, began, query)
        if kind == "search":
            found = json.loads(backend.ask("/api/search", q=query, start=began, end=int(time.time()) + 60,
                                           limit=target["limit"], spss=target["spss"]))
            return found.get("traces", [])
        return json.loads(backend.ask(f"/api/v2/traces/{query}"))
    except urllib.error.HTTPError as refused:
        problems.append(f"Tempo refuses {query}: {refused.read().decode()}")
        return None


def metrics(backend, began, query):
    """The sum of every series, by its labels."""
    found = json.loads(backend.ask("/api/metrics/query_range", q=query, start=began, end=int(time.time()), step="5s"))
    series = {}
    for one in found.get("series", []):
        labels = ", ".join(str(next(iter(label["value"].values()))) for label in one["labels"])
        series[labels] = round(sum(sample.get("value", 0) for sample in one["samples"]), 3)
    return series


def told(answer):
    if isinstance(answer, dict) and "trace" in answer:
        batches = answer["trace"].get("resourceSpans", [])
        services = {next(a["value"]["stringValue"] for a in b["resource"]["attributes"] if a["key"] == "service.name")
                    for b in batches}
        return f"a trace of {', '.join(sorted(services))}"
    if isinstance(answer, list):
        spans = sum(int(trace["spanSets"][0]["matched"]) for trace in answer)
        roots = sorted({f"{trace['rootServiceName']} {trace.get('rootTraceName', '')}".strip() for trace in answer})
        return f"{len(answer)} traces, {spans} spans; roots: {', '.join(roots) or 'none'}"
    return ", ".join(f"{labels}: {value}" for labels, value in sorted(answer.items())) if answer else "no data"


if __name__ == "__main__":
    sys.exit(main())
