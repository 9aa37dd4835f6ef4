#!/usr/bin/env python3
"""Puts real services into the seats of the chain, breaks and fixes them by their own OTEL_PROPAGATORS, and holds the lab to it:
what is healthy must be called healthy, and each break must be named at its hop and step, by `check` and by `diagnose`.

    tests/interop/originals.py [--java] [--real] [CONFIGURATION …]

Without names: every configuration with Python and Node; with --java also those with Spring Boot, which needs java and mvn.
With --real the spans go through a real Collector and Tempo (see real_backend.py). Prints one line per case; exits with 1 if
one is not as it must be. $INSUREWATCH names the program.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack

from real_backend import ROOT, Backend, cli, eventually, lab

RUN = ROOT / "originals/run"
PYTHON_API, JAVA_CLAIMS, POLICIES = "python-api", "java-claims", "node-policy-store"
W3C = "tracecontext,baggage"
BOTH = "tracecontext,baggage,b3"
DOOR, STORE = f"{PYTHON_API} -> {JAVA_CLAIMS}", f"{JAVA_CLAIMS} -> {POLICIES}"


def run(what, **variables):
    return " ".join([*(f"{name}={value}" for name, value in variables.items()), "exec", str(RUN), what])


# Who fills which seat.
CONFIGURATIONS = {
    "flask-requests": {PYTHON_API: run("flask", CLIENT="requests")},
    "flask-httpx": {PYTHON_API: run("flask", CLIENT="httpx")},
    "express-front-door-axios": {PYTHON_API: run("express-front-door", CLIENT="axios")},
    "express-front-door-undici": {PYTHON_API: run("express-front-door", CLIENT="undici")},
    "express-front-door-env-only": {PYTHON_API: run("express-front-door", TELEMETRY="env")},
    "express": {POLICIES: run("express")},
    "express-env-only": {POLICIES: run("express", TELEMETRY="env")},
    "flask-and-express": {PYTHON_API: run("flask"), POLICIES: run("express")},
}
WITH_JAVA = {
    "spring-jdk": {JAVA_CLAIMS: run("spring", CLIENT="jdk")},
    "spring-url-connection": {JAVA_CLAIMS: run("spring", CLIENT="url-connection")},
    "all-three": {PYTHON_API: run("flask"), JAVA_CLAIMS: run("spring"), POLICIES: run("express")},
}

HEALTHY = ("healthy", None, None)


def broken(place, step):
    return ("broken", place, step)


def cases(seats):
    """Name, propagators of those that are not at W3C, and what the lab must say: outcome, and place and step of the first
    finding."""
    yield "healthy", {}, HEALTHY
    if PYTHON_API in seats or JAVA_CLAIMS in seats:
        yield "lab 1: sender b3", {PYTHON_API: "b3"}, broken(DOOR, "extract")
        yield "fix at the receiver", {PYTHON_API: "b3", JAVA_CLAIMS: BOTH}, HEALTHY
        yield "both headers sent", {PYTHON_API: BOTH}, HEALTHY
        yield "fix at the sender", {}, HEALTHY
        yield "sender b3multi", {PYTHON_API: "b3multi"}, broken(DOOR, "extract")
        yield "sender jaeger", {PYTHON_API: "jaeger"}, broken(DOOR, "extract")
    if JAVA_CLAIMS in seats:
        yield "receiver none", {JAVA_CLAIMS: "none"}, broken(DOOR, "extract")
        yield "receiver b3", {JAVA_CLAIMS: "b3"}, broken(DOOR, "extract")
    if POLICIES in seats:
        # Without headers on record the hop is known, by time and target, and the step is not.
        step = None if "TELEMETRY=env" in seats[POLICIES] else "extract"
        yield "policies b3", {POLICIES: "b3"}, broken(STORE, step)
        yield "policies none", {POLICIES: "none"}, broken(STORE, step)
        yield "policies fixed by both", {POLICIES: BOTH}, HEALTHY
    if PYTHON_API in seats:
        # Flask answers 500 to everything then; Express sends nothing.
        flask = "flask" in seats[PYTHON_API]
        yield "sender none", {PYTHON_API: "none"}, ("no claim", None, None) if flask else broken(DOOR, "inject")
        yield "healthy again", {}, HEALTHY
    if JAVA_CLAIMS in seats and PYTHON_API not in seats:
        # The old client in the lab's own front door sends its own b3 header; the last propagator that finds one wins.
        yield "conflicting headers", {PYTHON_API: ("CLAIMS_CLIENT", "with-legacy-b3"), JAVA_CLAIMS: BOTH}, broken(DOOR, "extract")


def main():
    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    known = CONFIGURATIONS | WITH_JAVA
    chosen = {name: known[name] for name in names} or (known if "--java" in sys.argv else CONFIGURATIONS)
    for what in sorted({command.split()[-1] for seats in chosen.values() for command in seats.values()}):
        subprocess.run([RUN, what, "install"], check=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        options = []
        if "--real" in sys.argv:
            backend = stack.enter_context(Backend(folder))
            options = ["--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url]
        right = [go_through(name, seats, f"{folder}/{name}", options) for name, seats in chosen.items()]
    passed = sum(map(sum, right))
    failed = sum(map(len, right)) - passed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def go_through(name, seats, data_dir, options):
    seated = [option for service, command in seats.items() for option in ("--seat", f"{service}={command}")]
    results, active = [], {}
    with lab(data_dir, *options, *seated):
        for case, wanted, expected in cases(seats):
            switch(data_dir, active, wanted)
            seen = what_is_said(data_dir)
            right = all(it == expected for it in seen)
            results.append(right)
            print(f"{'ok   ' if right else 'WRONG'} {name:28} {case:24} {describe(expected)}"
                  f"{'' if right else ' but seen: ' + '; '.join(map(describe, seen))}", flush=True)
    return results


def switch(data_dir, active, wanted):
    """Sets what differs from what is active, service by service."""
    for service in (PYTHON_API, JAVA_CLAIMS, POLICIES):
        key, value = wanted.get(service) if isinstance(wanted.get(service), tuple) else \
            ("OTEL_PROPAGATORS", wanted.get(service, W3C))
        if active.get(service, ("OTEL_PROPAGATORS", W3C)) != (key, value):
            cli(data_dir, "scenario", "set", service, f"{key}={value}")
            active[service] = (key, value)
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
