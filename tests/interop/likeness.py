#!/usr/bin/env python3
"""Compares the spans of the stand-ins with those of the services that they stand in for, and writes docs/likeness.md.

    tests/interop/likeness.py [check]

The same requests go to a lab of stand-ins and to one with Flask, Spring Boot and Express in their seats: a claim, a claim that
is refused, a path that does not exist, a space in baggage, a call that fails, and a claim while nothing is propagated. What
differs must stand in DIFFERENCES or BEHAVIOURS with its reason; exits with 1 if something differs that does not, or, with
`check`, if the page would change. It needs python3, node, java and mvn.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from originals import JAVA_CLAIMS, POLICIES, PYTHON_API, RUN, WITH_JAVA
from real_backend import OPENER, ROOT, cli, eventually, get, lab

PAGE = ROOT / "docs/likeness.md"
NAMES = {PYTHON_API: "Flask", JAVA_CLAIMS: "Spring Boot", POLICIES: "Express"}
CLAIM = {"policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 120000, "description": "hail"}
KINDS = ("SERVER", "CLIENT", "PRODUCER", "INTERNAL", "every span")

# What may differ, and why: a part of the difference as it is written, and the reason.
DIFFERENCES = [
    ("scope", "the stand-ins are Rust, and say so: evidence trusts the silence of no other scope"),
    ("resource telemetry.sdk.", "the SDK is another, and says so"),
    ("resource telemetry.distro", "the originals are instrumented by a distribution"),
    ("resource telemetry.auto.version", "opentelemetry-instrument of Python names its version"),
    ("resource process.", "detectors of the originals; no lesson looks at them"),
    ("resource host.", "detectors of the originals; no lesson looks at them"),
    ("resource os.", "detectors of the originals; no lesson looks at them"),
    ("resource service.instance.id", "the originals set one by default"),
    ("resource service.version", "of the application, which has none here"),
    ("attribute insurewatch.claim.id", "application code sets it in the stand-ins; of the originals `x-claim-id` is captured"),
    ("x-claim-id", "captured from the originals in place of an application's attribute"),
    ("x_claim_id", "captured from the originals in place of an application's attribute"),
    ("attribute tenant.id", "application code reads it in the stand-ins; the Java agent copies it, Flask and Express do neither"),
    ("attribute feature.flags", "application code reads it in the stand-ins"),
    ("attribute thread.", "the agent's; in the stand-ins a thread could be the answer"),
    ("PRODUCER, name", "the stand-in puts the message into an [outbox](glossary.md#outbox), which is `create`, and a relay sends it; the original sends it at once"),
    ("INTERNAL", "spans inside a service are the application's own: functions in the stand-ins, middleware in Express"),
    ("http.request.header.", "which headers an SDK can put on record is told in what-sdks-record.md"),
    ("messaging.header.", "the hand-written PRODUCER span of the original does not record them"),
    ("attribute network.", "each instrumentation chooses from the optional network attributes"),
    ("attribute client.address", "optional, and not set by each instrumentation"),
    ("attribute client.port", "optional, and not set by each instrumentation"),
    ("attribute server.", "optional on SERVER spans, and not set by each instrumentation"),
    ("attribute user_agent.", "optional, and not set by each instrumentation"),
    ("attribute http.user_agent", "Flask sets the old name too"),
    ("attribute http.flavor", "Flask sets the old name too"),
    ("attribute http.host", "Flask sets the old name too"),
    ("attribute url.", "each instrumentation chooses from path, query, scheme and full URL as its conventions allow"),
    ("attribute error.type", "set where an instrumentation calls the answer an error"),
    ("attribute db.", "SQL by JDBC in the original, in Express no database at all: better-sqlite3 would create no span either"),
    ("database spans", "the stand-ins keep claims and outbox in one file by statements of their own; the original has two files"),
    ("name of a span without a route", "Flask puts the raw path into it and Spring `/**`: the stand-ins keep names of low cardinality, as \
Express does"),
]

PLUS = "both read a plus; Rust's SDK sends it as it is, and Node, which receives it, reads a plus in either form"

# What services do, beside the spans of a request: what it is, and why the stand-in does otherwise, if it does.
BEHAVIOURS = {
    (PYTHON_API, "space"): ("a space in [baggage](glossary.md#baggage) is sent as", None),
    (JAVA_CLAIMS, "space"): ("a space in [baggage](glossary.md#baggage) is sent as", None),
    (PYTHON_API, "plus"): ("`+` in incoming baggage is sent on as", None),
    (JAVA_CLAIMS, "plus"): ("`+` in incoming baggage is sent on as", PLUS),
    (PYTHON_API, "encoded"): ("`%2B` in incoming baggage is sent on as", None),
    (JAVA_CLAIMS, "encoded"): ("`%2B` in incoming baggage is sent on as", PLUS),
    (PYTHON_API, "failed"): ("events on the span of a call that fails", None),
    (JAVA_CLAIMS, "failed"): ("events on the span of a call that fails", None),
    (PYTHON_API, "none"): (
        "answer to a claim with `OTEL_PROPAGATORS=none`",
        "the Python SDK 1.45 fails; the [scenario](glossary.md#scenario) `no-propagator` teaches what all other SDKs do, and its answer says what Flask does"),
}


def main():
    for what in ("flask", "express", "spring"):
        subprocess.run([RUN, what, "install"], check=True)
    seated = [option for service, command in WITH_JAVA["all-three"].items() for option in ("--seat", f"{service}={command}")]
    with tempfile.TemporaryDirectory() as folder:
        with lab(f"{folder}/stand-ins") as data_dir:
            stand_ins = observe(data_dir)
        with lab(f"{folder}/originals", *seated) as data_dir:
            originals = observe(data_dir)
    rows, unexplained = compare(stand_ins[:2], originals[:2])
    done, strange = compare_behaviour(stand_ins[2], originals[2])
    unexplained += strange
    page = write(rows, done)
    if "check" in sys.argv and PAGE.read_text() != page:
        print(f"{PAGE} would change: run this without `check`")
        return 1
    PAGE.write_text(page)
    for row in unexplained:
        print("not explained:", *row)
    print(f"{len(rows) + len(done) - len(unexplained)} passed, {len(unexplained)} failed")
    return 1 if unexplained else 0


def observe(data_dir):
    """Of each service and kind of span: names, scopes, attributes and resource attributes."""
    file = json.loads((Path(data_dir) / "lab.json").read_text())
    urls = {process["service"]: process["url"] for process in file["processes"]}
    # A cold JVM may be slower than the front door waits.
    claim = eventually(lambda: sent(data_dir), "a claim is accepted")
    post(f"{file['front_door']}claims", CLAIM | {"amount_cents": 0})
    for service in NAMES:
        post(f"{urls[service]}nowhere", None)
    _, report = cli(data_dir, "trace", claim)
    seen = {}
    for fragment in report["evidence"]["fragments"]:
        for span in fragment["nodes"]:
            note(seen, span["service"], span["kind"].upper(), span["name"], span["scope"], span["attributes"], span["resource"])
    statuses = {service: unrouted(file["traces"], service) for service in NAMES}
    return seen, statuses, behave(data_dir, file["front_door"], file["traces"], urls)


def behave(data_dir, front_door, traces, urls):
    """What BEHAVIOURS lists, as it was seen."""
    members = {"space": "%20", "plus": "+", "encoded": "%2B"}
    baggage = {"baggage": ",".join(f"{key}=a{sign}b" for key, sign in members.items())}
    _, answer = cli(data_dir, "claim", "--baggage", baggage["baggage"])
    claims = {PYTHON_API: answer["claims"][0]["claim_id"], JAVA_CLAIMS: f"CLM-{uuid.uuid4().hex}"}
    post(f"{urls[JAVA_CLAIMS]}api/claims", CLAIM, **baggage, **{"x-claim-id": claims[JAVA_CLAIMS]})
    done = {(service, key): sign_in_baggage(data_dir, claims[service], receiver, key)
            for service, receiver in ((PYTHON_API, JAVA_CLAIMS), (JAVA_CLAIMS, POLICIES)) for key in members}
    for service, called in ((PYTHON_API, "gateway"), (JAVA_CLAIMS, POLICIES)):
        done[service, "failed"] = eventually(lambda: failed(data_dir, front_door, traces, service, called),
                                             f"a call of {service} fails")
    cli(data_dir, "scenario", "set", PYTHON_API, "OTEL_PROPAGATORS=none")
    done[PYTHON_API, "none"] = str(post(f"{front_door}claims", CLAIM))
    return done


def sign_in_baggage(data_dir, claim, receiver, member):
    """What stood between `a` and `b` of this member, in what this service received of a claim."""
    def look():
        _, report = cli(data_dir, "trace", claim)
        spans = [span for fragment in report["evidence"]["fragments"] for span in fragment["nodes"]]
        received = [value for span in spans if span["service"] == receiver and span["kind"] == "server"
                    for key, value in span["attributes"].items() if key.endswith("request.header.baggage")]
        return re.findall(rf"{member}=a(.+?)b", str(received))
    return eventually(look, f"{receiver} has received baggage")[0]


def failed(data_dir, front_door, traces, service, called):
    """Kills a service, sends a claim, and returns the events of the call that failed, if one did."""
    processes = json.loads((Path(data_dir) / "lab.json").read_text())["processes"]
    pid = next(process["pid"] for process in processes if process["service"] == called)
    if pid is None or post(f"{front_door}claims", CLAIM) != 201:
        return None
    os.kill(pid, signal.SIGKILL)
    if post(f"{front_door}claims", CLAIM) == 201:
        return None
    time.sleep(1)
    query = f'{{ resource.service.name = "{service}" && kind = client && status = error }}'
    now = int(time.time())
    asked = urllib.parse.urlencode({"q": query, "start": now - 5, "end": now + 60, "limit": 20})
    for trace in json.loads(get(f"{traces}api/search?{asked}"))["traces"]:
        _, report = cli(data_dir, "trace", trace["traceID"])
        for fragment in report["evidence"]["fragments"]:
            for span in fragment["nodes"]:
                if span["service"] == service and span["kind"] == "client" and span["status"] != "unset":
                    return ", ".join(sorted({event["name"] for event in span["events"]})) or "none"
    return None


def sent(data_dir):
    code, answer = cli(data_dir, "claim", "--baggage", "tenant.id=acme", "--baggage", "feature.flags=new")
    return answer["claims"][0]["claim_id"] if code == 0 else None


def post(url, body, **headers):
    request = urllib.request.Request(url, headers={"content-type": "application/json"} | headers,
                                     data=None if body is None else json.dumps(body).encode())
    try:
        with OPENER.open(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code


def note(seen, service, kind, name, scope, attributes, resource):
    if service not in NAMES:
        return
    # Database calls are CLIENT spans of another sort.
    kind = "database spans" if any(key.startswith("db.") for key in attributes) else kind
    facts = seen.setdefault((service, kind), set())
    facts.add(("name", name))
    facts.add(("scope", scope))
    facts.update(("attribute", key) for key in attributes)
    seen.setdefault((service, "every span"), set()).update(("resource", key) for key in resource)


def unrouted(traces, service):
    """The name of the span that a request without a route leaves."""
    query = f'{{ resource.service.name = "{service}" && kind = server && span.http.response.status_code = 404 && name != "" }}'
    now = int(time.time())

    def look():
        found = json.loads(get(f"{traces}api/search?" + urllib.parse.urlencode(
            {"q": query, "start": now - 600, "end": now + 60, "limit": 5})))
        return [trace["spanSets"][0]["spans"][0]["name"] if trace["spanSets"][0]["spans"][0].get("name") else trace["rootTraceName"]
                for trace in found["traces"]]
    return sorted(set(eventually(look, f"{service} has answered 404")))


def compare(stand_ins, originals):
    rows, unexplained = [], []

    def row(service, what, stand_in, original):
        reason = next((reason for part, reason in DIFFERENCES if part in what), None)
        rows.append((service, what, stand_in, original, reason or "**not explained**"))
        if reason is None:
            unexplained.append((service, what, stand_in, original))

    for service, original_name in NAMES.items():
        for kind in (*KINDS, "database spans"):
            ours, theirs = stand_ins[0].get((service, kind), set()), originals[0].get((service, kind), set())
            if not ours and not theirs:
                continue
            if not ours or not theirs:
                row(service, f"{kind}", "yes" if ours else "none", "yes" if theirs else "none")
                continue
            for fact in ("name", "scope"):
                one, other = [sorted(value for what, value in facts if what == fact) for facts in (ours, theirs)]
                if one != other:
                    row(service, f"{kind}, {fact}", ", ".join(one), ", ".join(other))
            for what, value in sorted(facts_of(ours) ^ facts_of(theirs)):
                row(service, f"{kind}, {what} {value}", *(("yes", "no") if (what, value) in ours else ("no", "yes")))
        if stand_ins[1][service] != originals[1][service]:
            row(service, "name of a span without a route", ", ".join(stand_ins[1][service]), ", ".join(originals[1][service]))
    return rows, unexplained


def compare_behaviour(stand_ins, originals):
    rows, unexplained = [], []
    for (service, key), (what, why) in BEHAVIOURS.items():
        ours, theirs = stand_ins[service, key], originals[service, key]
        rows.append((service, what, ours, theirs, "the same" if ours == theirs else why or "**not explained**"))
        if ours != theirs and why is None:
            unexplained.append((service, what, ours, theirs))
    return rows, unexplained


def facts_of(facts):
    return {(what, value) for what, value in facts if what in ("attribute", "resource")}


def write(rows, behaviour):
    lines = ["# How like the originals the stand-ins are", "",
             "Written by `tests/interop/likeness.py`, which sends the same requests to the stand-ins and to the services that they",
             "stand in for (`originals/`), and compares the spans: names, scopes, attributes and resources. What is not listed is the",
             "same. It fails on a difference without a reason.", "",
             "## What they do", "", "| what | where | stand-in | original | why |", "|---|---|---|---|---|"]
    lines += [f"| {what} | {service} and {NAMES[service]} | {code(ours)} | {code(theirs)} | {why} |"
              for service, what, ours, theirs, why in behaviour] + [""]
    for service, original in NAMES.items():
        lines += [f"## {service} and {original}", "", f"| what | {service} | {original} | why |", "|---|---|---|---|"]
        grouped = {}
        for row in (row for row in rows if row[0] == service):
            _, what, ours, theirs, reason = row
            grouped.setdefault((ours, theirs, reason), []).append(what)
        for (ours, theirs, reason), whats in grouped.items():
            lines.append("| " + " | ".join((joined(whats), code(ours), code(theirs), reason)) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def joined(whats):
    kinds = {}
    for what in whats:
        kind, _, rest = what.partition(", ")
        kinds.setdefault(kind, []).append(rest)
    return "; ".join(f"{kind}: {', '.join(f'`{rest}`' for rest in rests)}" if rests != [""] else kind for kind, rests in kinds.items())


def code(text):
    return text if text in ("yes", "no", "none") else ", ".join(f"`{part}`" for part in text.split(", "))


if __name__ == "__main__":
    sys.exit(main())
