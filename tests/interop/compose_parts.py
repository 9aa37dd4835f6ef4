#!/usr/bin/env python3
"""Runs the services as in compose.yaml, without Docker: same commands, same variables, NATS and a real Collector.

    tests/interop/compose_parts.py

It replaces what a container provides: the name of a service becomes loopback and a free port, a volume becomes a
folder. Then it sends a claim, `check` must find the chain healthy, and after the settings of SCENARIO=lab-1-b3-vs-w3c
broken. $INSUREWATCH must be built with `--features insurewatch/nats`; $NATS (default: `nats-server` on PATH), $TEMPO and
$OTELCOL (see real_backend.py) name the rest. Without one of them nothing is run, and the exit code is 0.
"""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import yaml

from real_backend import INSUREWATCH, ROOT, Backend, Process, answers, cli_at, clean_environment, free_ports, program

ENV = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and line[0] != "#")


def main():
    nats = program("NATS", "nats-server")
    if not nats:
        print("Nothing was run: no nats-server on PATH. $NATS may name it.")
        return 0
    outcomes = [run(nats, scenario) for scenario in ["healthy", "lab-1-b3-vs-w3c"]]
    return 0 if outcomes == ["healthy", "broken"] else 1


def run(nats, scenario):
    """The outcome of `check` in a stack that starts in a scenario."""
    text = re.sub(r"\$\{(\w+)\}", lambda it: {**ENV, "SCENARIO": scenario}[it[1]], (ROOT / "compose.yaml").read_text())
    services = yaml.safe_load(text)["services"]
    ours = {name: service for name, service in services.items() if service["image"].startswith("insurewatch:")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backend = stack.enter_context(Backend(folder))
        at = dict(zip([*ours, "nats", "nats-health"], map(str, free_ports(len(ours) + 2))))
        urls = {"otel-collector:4318": backend.otlp.partition("//")[2], "tempo:3200": backend.tempo_url.partition("//")[2],
                "nats:4222": f"127.0.0.1:{at['nats']}"}
        urls |= {f"{name}:{service['command'][-1].rpartition(':')[2]}": f"127.0.0.1:{at[name]}"
                 for name, service in ours.items()}
        stack.enter_context(Process([nats, "--jetstream", "--store_dir", str(folder / "nats"), "--addr", "127.0.0.1",
                                     "--port", at["nats"], "--http_port", at["nats-health"]],
                                    folder / "nats.log", os.environ, answers(f"http://127.0.0.1:{at['nats-health']}/healthz")))
        for name in in_order(ours):
            environment = clean_environment() | {"NO_PROXY": "127.0.0.1"}
            for variable, value in ours[name]["environment"].items():
                value = str(value)
                for inside, outside in urls.items():
                    value = value.replace(f"//{inside}", f"//{outside}")
                for mount in ours[name]["volumes"]:
                    volume, target = mount.split(":")[:2]
                    (folder / volume).mkdir(exist_ok=True)
                    value = value.replace(f"{target}/", f"{folder / volume}/")
                environment[variable] = value
            command = [INSUREWATCH, *ours[name]["command"][:-1], f"127.0.0.1:{at[name]}"]
            asked = ours[name]["healthcheck"]["test"][-1].rpartition(":")[2].partition("/")[2]
            health = [INSUREWATCH, "healthcheck", f"http://127.0.0.1:{at[name]}/{asked}"]
            stack.enter_context(Process(command, folder / f"{name}.log", environment,
                                        lambda _, health=health: subprocess.run(health, capture_output=True).returncode == 0))
        desk = f"http://127.0.0.1:{at['desk']}"
        code, check = cli_at(["--lab", desk], "check")
        print(f"{scenario}: {len(ours)} services, {nats.rpartition('/')[2]}; check ends with {code}, {check['outcome']}: "
              f"{check['sentence']}", flush=True)
        return check["outcome"]


def in_order(services):
    """Services in the order in which compose starts them: dependencies first."""
    ordered = []
    def add(name):
        for needed in services[name].get("depends_on", {}):
            if needed in services:
                add(needed)
        if name not in ordered:
            ordered.append(name)
    for name in services:
        add(name)
    return ordered


if __name__ == "__main__":
    sys.exit(main())
