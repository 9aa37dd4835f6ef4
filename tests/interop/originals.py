#!/usr/bin/env python3
"""Puts real services into the seats of the chain, breaks and fixes them by their own OTEL_PROPAGATORS, and holds the lab to it:
what is healthy must be called healthy, and each break must be named at its hop and step, by `check` and by `diagnose`.

    tests/interop/originals.py [--real] [CONFIGURATION | python-and-node | java …]

Without names: every configuration with Python and Node. Those with Spring Boot need java and mvn. With --real the spans go
through a real Collector and Tempo (see real_backend.py). Prints one line per case; exits with 1 if one is not as it must be.
$INSUREWATCH names the program.
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from real_backend import ROOT, Backend, cli, eventually, lab

RUN = ROOT / "originals/run"
# How many labs at once: most of their time is waiting, for spans that do not come and for services that start.
SIDE_BY_SIDE = 4
PYTHON_API, JAVA_CLAIMS, POLICIES = "python-api", "java-claims", "node-policy-store"
W3C = "tracecontext,baggage"
W3C_THEN_B3, B3_THEN_W3C = "tracecontext,baggage,b3", "b3,tracecontext,baggage"
DEFAULTS = {"OTEL_PROPAGATORS": W3C, "CLAIMS_CLIENT": "traced"}
LEGACY = {"CLAIMS_CLIENT": "with-legacy-b3"}
DOOR, STORE = f"{PYTHON_API} -> {JAVA_CLAIMS}", f"{JAVA_CLAIMS} -> {POLICIES}"


def run(what, **variables):
    return " ".join([*(f"{name}={value}" for name, value in variables.items()), "exec", str(RUN), what])


# Who fills which seat. With `-zipkin` an old tracing library is still in the sender's call: it
# sends B3 headers with ids that it makes up.
CONFIGURATIONS = {
    "flask-requests": {PYTHON_API: run("flask", CLIENT="requests")},
    "flask-httpx": {PYTHON_API: run("flask", CLIENT="httpx")},
    "flask-zipkin": {PYTHON_API: run("flask", CLIENT="requests-zipkin")},
    "express-front-door-axios": {PYTHON_API: run("express-front-door", CLIENT="axios")},
    "express-front-door-undici": {PYTHON_API: run("express-front-door", CLIENT="undici")},
    "express-front-door-zipkin": {PYTHON_API: run("express-front-door", CLIENT="axios-zipkin")},
    "express-front-door-env-only": {PYTHON_API: run("express-front-door", TELEMETRY="env")},
    "express": {POLICIES: run("express")},
    "express-env-only": {POLICIES: run("express", TELEMETRY="env")},
    "flask-and-express": {PYTHON_API: run("flask"), POLICIES: run("express")},
}
WITH_JAVA = {
    "spring-jdk": {JAVA_CLAIMS: run("spring", CLIENT="jdk")},
    "spring-url-connection": {JAVA_CLAIMS: run("spring", CLIENT="url-connection")},
    "spring-zipkin": {JAVA_CLAIMS: run("spring", CLIENT="jdk-zipkin")},
    "flask-zipkin-and-spring": {PYTHON_API: run("flask", CLIENT="requests-zipkin"), JAVA_CLAIMS: run("spring")},
    "spring-zipkin-and-express": {JAVA_CLAIMS: run("spring", CLIENT="jdk-zipkin"), POLICIES: run("express")},
    "spring-zipkin-and-express-env-only": {
        JAVA_CLAIMS: run("spring", CLIENT="jdk-zipkin"), POLICIES: run("express", TELEMETRY="env")},
    "all-three": {PYTHON_API: run("flask"), JAVA_CLAIMS: run("spring"), POLICIES: run("express")},
}

GROUPS = {"python-and-node": CONFIGURATIONS, "java": WITH_JAVA}

HEALTHY = ("healthy", None, None)


def broken(place, step):
    return ("broken", place, step)


def cases(seats):
    """Name, settings of those that are not at their defaults (a text is of OTEL_PROPAGATORS), and what the lab must say: outcome,
    and place and step of the first finding."""
    if any("zipkin" in command for command in seats.values()):
        asked, hop = (POLICIES, STORE) if "zipkin" in seats.get(JAVA_CLAIMS, "") else (JAVA_CLAIMS, DOOR)
        # Of two headers that disagree, the last propagator that finds one wins.
        yield "conflict: W3C read alone", {}, HEALTHY
        yield "conflict: B3 read last", {asked: W3C_THEN_B3}, broken(hop, step_at(seats, asked))
        yield "conflict: fix, W3C read last", {asked: B3_THEN_W3C}, HEALTHY
        return
    yield "healthy", {}, HEALTHY
    if PYTHON_API in seats or JAVA_CLAIMS in seats:
        yield "lab 1: sender b3", {PYTHON_API: "b3"}, broken(DOOR, "extract")
        yield "lab 1: fix, sender", {PYTHON_API: W3C_THEN_B3}, HEALTHY
        yield "sender b3multi", {PYTHON_API: "b3multi"}, broken(DOOR, "extract")
        yield "sender jaeger", {PYTHON_API: "jaeger"}, broken(DOOR, "extract")
    if POLICIES in seats:
        yield from receiver(seats, POLICIES, STORE)
    if PYTHON_API in seats:
        # Flask answers 500 to everything then; Express sends nothing.
        flask = "flask" in seats[PYTHON_API]
        yield "sender none", {PYTHON_API: "none"}, ("no claim", None, None) if flask else broken(DOOR, "inject")
    if JAVA_CLAIMS in seats:
        yield from receiver(seats, JAVA_CLAIMS, DOOR)
    if PYTHON_API in seats or JAVA_CLAIMS in seats:
        yield "lab 1: fix, receiver", {PYTHON_API: "b3", JAVA_CLAIMS: W3C_THEN_B3}, HEALTHY
    if JAVA_CLAIMS in seats and PYTHON_API not in seats:
        # The old client in the lab's own front door sends its own b3 header.
        yield "conflict: B3 read last", {PYTHON_API: LEGACY, JAVA_CLAIMS: W3C_THEN_B3}, broken(DOOR, "extract")
        yield "conflict: fix, W3C read last", {PYTHON_API: LEGACY, JAVA_CLAIMS: B3_THEN_W3C}, HEALTHY
    yield "healthy again", {}, HEALTHY


def receiver(seats, service, hop):
    for other in ("b3", "b3multi", "jaeger", "none"):
        yield f"{service} {other}", {service: other}, broken(hop, step_at(seats, service))
    yield f"{service} {W3C_THEN_B3}", {service: W3C_THEN_B3}, HEALTHY


def step_at(seats, receiver):
    """Without headers on record the hop is known, by time and target, and the step is not."""
    return None if "TELEMETRY=env" in seats.get(receiver, "") else "extract"


def main():
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or ["python-and-node"]
    chosen = {}
    for name in names:
        chosen |= GROUPS.get(name) or {name: (CONFIGURATIONS | WITH_JAVA)[name]}
    for what in sorted({command.split()[-1] for seats in chosen.values() for command in seats.values()}):
        subprocess.run([RUN, what, "install"], check=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        options, side_by_side = [], SIDE_BY_SIDE
        if "--real" in sys.argv:
            backend = stack.enter_context(Backend(folder))
            # Labs that share a backend could take each other's spans for their own where a claim's id is not on record.
            options, side_by_side = ["--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url], 1
        with ThreadPoolExecutor(side_by_side) as pool:
            right = list(pool.map(lambda it: go_through(it[0], it[1], f"{folder}/{it[0]}", options), chosen.items()))
    passed = sum(map(sum, right))
    failed = sum(map(len, right)) - passed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def go_through(name, seats, data_dir, options):
    seated = [option for service, command in seats.items() for option in ("--seat", f"{service}={command}")]
    results, active = [], {}
    with lab(data_dir, *options, *seated):
        for case, wanted, expected in cases(seats):
            began = time.monotonic()
            switch(data_dir, active, wanted)
            seen = what_is_said(data_dir)
            right = all(it == expected for it in seen)
            results.append(right)
            print(f"{'ok   ' if right else 'WRONG'} {time.monotonic() - began:5.1f} s  {name:27} {case:43} {describe(expected)}"
                  f"{'' if right else ' but seen: ' + '; '.join(map(describe, seen))}", flush=True)
    return results


def switch(data_dir, active, wanted):
    """Sets what differs from what is active, service by service."""
    for service in (PYTHON_API, JAVA_CLAIMS, POLICIES):
        asked = wanted.get(service, {})
        asked = DEFAULTS | (asked if isinstance(asked, dict) else {"OTEL_PROPAGATORS": asked})
        for key, value in asked.items():
            if active.get((service, key), DEFAULTS[key]) != value:
                cli(data_dir, "scenario", "set", service, f"{key}={value}")
                active[service, key] = value

    # An application server may take longer to start than one command waits.
    def started():
        return not any(service["starting"] for service in cli(data_dir, "scenario", "status")[1]["services"])
    eventually(started, "every service runs with its new settings")
    # A cold JVM may take longer over its first claims than the front door waits; Flask with `none` never answers one.
    for _ in range(5):
        if cli(data_dir, "claim")[0] == 0:
            break


def what_is_said(data_dir):
    """By check, and by diagnose."""
    if cli(data_dir, "claim")[0] != 0:
        return [("no claim", None, None)]
    check_code, check = cli(data_dir, "check")
    diagnose_code, diagnosis = cli(data_dir, "diagnose")
    if check_code != {"healthy": 0, "not-a-propagation-break": 0, "broken": 1, "leaking": 1, "cannot-tell": 2}[check["outcome"]]:
        return [("exit code", check_code, check["outcome"])]
    first = diagnosis["first"] or {}
    place, step = first.get("place"), first.get("step")
    # check names no step: its outcome must be that of diagnose.
    return [(check["outcome"], place, step), (diagnosis["outcome"], place, step)]


def describe(said):
    outcome, place, step = said
    return outcome if place is None else f"{outcome} at {place}, {f'step {step}' if step else 'no step'}"


if __name__ == "__main__":
    sys.exit(main())
