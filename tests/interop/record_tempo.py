#!/usr/bin/env python3
"""Records what a real Tempo answers about our own spans, for tests that have no Tempo.

    tests/interop/record_tempo.py

Writes crates/trace-store/tests/data/tempo: the spans of one Lab 1 claim as they were exported (*.otlp.pb), and every
request with Tempo's answer. Without Tempo and Collector (see real_backend.py) nothing is run, and the exit code is 0.
"""

import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from real_backend import OPENER, ROOT, Backend, cli, eventually, get, lab

DATA = ROOT / "crates/trace-store/tests/data/tempo"
PROTOBUF, JSON = "application/protobuf", "application/json"


def main():
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, \
            lab(f"{folder}/lab", "--scenario", "lab-1-b3-vs-w3c") as at:
        shutil.rmtree(DATA, ignore_errors=True)
        DATA.mkdir(parents=True)
        claim_id = cli(at, "claim")[1]["claims"][0]["claim_id"]
        evidence = cli(at, "trace", claim_id)[1]["evidence"]
        trace_ids = [fragment["trace_id"] for fragment in evidence["fragments"]]
        embedded = json.loads((Path(at) / "lab.json").read_text())["traces"]
        for number, trace_id in enumerate(trace_ids):
            spans = get(f"{embedded}api/traces/{trace_id}", Accept=PROTOBUF)
            (DATA / f"{number}.otlp.pb").write_bytes(spans)
            post(f"{backend.otlp}/v1/traces", spans)
        starts = [int(span["start_unix_nano"]) // 10**9 for it in evidence["fragments"] for span in it["nodes"]]
        requests = list(questions(claim_id, trace_ids, min(starts) - 60, max(starts) + 60))
        wanted = sum("insurewatch.claim.id" in span["attributes"] for it in evidence["fragments"] for span in it["nodes"])

        def searchable():
            found = json.loads(get(backend.tempo_url + requests[0][0])).get("traces", [])
            return sum(trace["spanSets"][0]["matched"] for trace in found) == wanted

        eventually(searchable, f"a search finds all {wanted} spans of the claim")
        recorded = [record(backend.tempo_url, number, *request) for number, request in enumerate(requests)]
        (DATA / "exchanges.json").write_text(json.dumps(recorded, indent=1) + "\n")
    print(f"{len(recorded)} answers were recorded in {DATA.relative_to(ROOT)}")


def questions(claim_id, trace_ids, start, end):
    """The requests of the lab's client, and of a learner's curl or Grafana."""
    def search(query, **more):
        return "/api/search?" + urllib.parse.urlencode({"q": query, "start": start, "end": end, **more})
    yield search(f'{{ span.insurewatch.claim.id = "{claim_id}" }}', limit=200, spss=100), JSON
    yield search(f'{{ span.insurewatch.claim.id = "{claim_id}" && resource.service.name = "java-claims" }}', spss=100), JSON
    yield search('{ name = "GET /policies/:id" }', spss=100), JSON
    yield search('{ span.insurewatch.claim.id = "CLM-nobody" }'), JSON
    yield search(f'{{ span.insurewatch.claim.id = "{claim_id}" }}', start=end - 169 * 3600), JSON
    for trace_id in [*trace_ids, "00000000000000000000000000000001", "nonsense"]:
        for path in ["/api/v2/traces/", "/api/traces/"]:
            for accept in [PROTOBUF, JSON]:
                yield path + trace_id, accept


def record(base, number, path, accept):
    try:
        answer = OPENER.open(urllib.request.Request(base + path, headers={"Accept": accept}), timeout=30)
    except urllib.error.HTTPError as refused:
        answer = refused
    body, content_type = answer.read(), answer.headers.get("content-type", "")
    file = f"{number:02}.{'pb' if PROTOBUF in content_type else 'json' if JSON in content_type else 'txt'}"
    (DATA / file).write_bytes(body)
    return {"path": path, "accept": accept, "status": answer.status, "content_type": content_type, "file": file}


def post(url, body):
    request = urllib.request.Request(url, body, {"content-type": "application/x-protobuf"})
    OPENER.open(request, timeout=30).read()


if __name__ == "__main__":
    sys.exit(main())
