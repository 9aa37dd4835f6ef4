#!/usr/bin/env python3
"""Plays a learner's day with `docker compose` on the engine that `docker` reaches: a fresh clone of HEAD is built, started,
broken, fixed, crashed, stopped, started again and removed.

    tests/stack/compose_up.py [STEP …]

With names of steps (`originals`) only these are run. It is a separate project, on free ports, and is removed at the end. Images
must be present or available from a registry. One exception: if Grafana's is not available, one of the lab's services takes its
place, and the steps that query Grafana are reported as not run. Without an engine nothing is run, and the exit code is 0.

Crashes are real ones (SIGKILL from outside the container) where this user may send them to the container's process: root
beside a local engine. Elsewhere `docker kill` and `up` replace them, and the report says so.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/interop"))
from real_backend import clean_environment, eventually, get  # noqa: E402

ENV = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and line[0] != "#")
PROJECT = f"insurewatch-{os.getpid()}"
LAB_1 = "lab-1-b3-vs-w3c"
START_S = 180
# Panels that show one trace, which the learner chooses.
TRACE_IDS = {"${left}", "${right}"}
STUB = """
services:
  grafana:
    image: insurewatch:${INSUREWATCH_VERSION}
    pull_policy: never
    command: [serve, fraud-partner, --listen, "0.0.0.0:3000"]
    healthcheck:
      test: [CMD, insurewatch, healthcheck, "http://127.0.0.1:3000/healthz"]
"""


class NotRun(Exception):
    """Why a step could not be run here; not a failure."""


class Story:
    def __init__(self, folder, variables):
        self.folder, self.variables, self.files = folder, variables, ["compose.yaml"]
        self.claim = None

    # Commands

    def compose(self, *arguments, expect=0, **variables):
        files = [word for file in self.files for word in ("--file", file)]
        ran = run(["docker", "compose", "--project-name", PROJECT, *files, *arguments], cwd=self.folder,
                  env=self.variables | variables)
        if expect is not None and ran.returncode != expect:
            raise SystemExit(f"docker compose {' '.join(arguments)} ended with {ran.returncode}, not {expect}:\n"
                             f"{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}")
        return ran

    def insurewatch(self, *arguments, expect=0):
        return self.compose("exec", "-T", "desk", "insurewatch", *arguments, expect=expect).stdout

    def start(self, *profiles, **variables):
        words = [word for profile in profiles for word in ("--profile", profile)]
        self.compose(*words, "up", "--detach", "--wait", "--wait-timeout", str(START_S), **variables)

    def containers(self):
        ids = self.compose("ps", "--all", "--quiet").stdout.split()
        found = json.loads(run(["docker", "inspect", *ids]).stdout) if ids else []
        return {it["Config"]["Labels"]["com.docker.compose.service"]: it for it in found}

    def await_healthy(self, service, since):
        """`since` is when the container started before; it must have started again."""
        def again():
            state = self.containers()[service]["State"]
            return state["StartedAt"] != since and state["Status"] == "running" and state["Health"]["Status"] == "healthy"
        eventually(again, f"{service} is healthy again")

    # Steps, in the order in which they are run

    def pull(self):
        """`pull` takes what registries have, and does not ask them for what is built here"""
        ours = [name for name, it in self.services().items() if "insurewatch" in it["image"]]
        self.compose("pull", *ours)
        if self.compose("pull", expect=None).returncode:
            raise NotRun("ours are left out; no registry answers for the others")

    def build(self):
        """`build` builds from nothing but the clone"""
        self.compose("build")

    def up(self):
        """`up --wait` ends with everything healthy"""
        self.start()
        for name, it in self.containers().items():
            assert it["State"]["Health"]["Status"] == "healthy", name

    def few_rights(self):
        """No program of the stack runs as root, and none can create an unlimited number of processes"""
        for name, it in self.containers().items():
            uid = Path(f"/proc/{it['State']['Pid']}/status")
            if not uid.exists():
                raise NotRun("the containers' processes are not on this machine")
            assert re.search(r"^Uid:\t(\d+)", uid.read_text(), re.M)[1] != "0", f"{name} runs as root"
            assert it["HostConfig"]["PidsLimit"], f"{name} has no limit of processes"

    def claims(self):
        """Claims are accepted, `check` is healthy, and `trace` draws in Unicode"""
        sent = json.loads(self.insurewatch("claim", "--json"))
        self.claim = sent["claims"][0]["claim_id"]
        self.insurewatch("check")
        drawn = self.insurewatch("trace", "--last")
        assert "├" in drawn and "1 trace" in drawn, drawn

    def data_sources(self):
        """Grafana: the data source of Tempo is healthy"""
        self.needs_grafana()
        assert self.grafana("/api/datasources/uid/tempo/health")["status"] == "OK"

    def dashboards(self):
        """Grafana: every dashboard is there"""
        self.needs_grafana()
        there = {it["uid"] for it in self.grafana("/api/search?type=dash-db")}
        missing = {it["uid"] for it in self.provisioned()} - there
        assert not missing, f"not there: {missing}"

    def panels(self):
        """Grafana: every TraceQL query of every panel is answered through its data source proxy"""
        self.needs_grafana()
        for dashboard in self.provisioned():
            for panel in dashboard["panels"]:
                for target in panel.get("targets", []):
                    if target.get("queryType") == "traceql" and target["query"] not in TRACE_IDS:
                        self.ask_tempo(dashboard, target)

    def host_name(self):
        """Grafana: a foreign host name is redirected, not served"""
        self.needs_grafana()
        asked = run(["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-H", "Host: rebound.example",
                     self.grafana_url + "/api/search"])
        assert asked.stdout.startswith("30"), asked.stdout

    def lab_1(self):
        """Lab 1: broken, fixed, proven"""
        self.insurewatch("scenario", "use", LAB_1)
        self.insurewatch("check", expect=1)
        logged = self.compose("logs", "--no-log-prefix", "otel-collector").stdout
        assert "http.request.header.b3" in logged, "the Collector's log shows what was sent"
        self.insurewatch("scenario", "set", "java-claims", "OTEL_PROPAGATORS=b3,tracecontext,baggage")
        self.insurewatch("check", LAB_1)
        self.insurewatch("scenario", "reset")
        self.insurewatch("check")

    def crash(self):
        """Every service is killed, one after the other, and comes back; then `check` is healthy"""
        gentle = False
        for name, it in self.containers().items():
            try:
                os.kill(it["State"]["Pid"], 9)
            except (PermissionError, ProcessLookupError):
                gentle = True
                run(["docker", "kill", it["Id"]])
                self.start()
            self.await_healthy(name, it["State"]["StartedAt"])
        self.insurewatch("check")
        return "`docker kill` and `up`: the processes are out of reach" if gentle else None

    def restart(self):
        """Every service is restarted by `restart`; then `check` is healthy"""
        for name, it in self.containers().items():
            self.compose("restart", name)
            self.await_healthy(name, it["State"]["StartedAt"])
        self.insurewatch("check")

    def down_and_up(self):
        """After `down` and `up` the claims are still there, and a lab can begin in a fault"""
        self.compose("down")
        assert not self.containers()
        self.start(SCENARIO=LAB_1)
        kept = json.loads(get(f"http://127.0.0.1:{self.variables['PYTHON_API_PORT']}/claims/{self.claim}"))
        assert self.claim in json.dumps(kept), kept
        self.insurewatch("check", expect=1)

    def edited(self):
        """An edited Collector file is in use after `restart otel-collector`"""
        file = self.folder / "grafana/otel-collector.yaml"
        text = file.read_text()
        file.write_text(text.replace("verbosity: detailed", "verbosity: basic"))
        since = self.containers()["otel-collector"]["State"]["StartedAt"]
        self.compose("restart", "otel-collector")
        self.await_healthy("otel-collector", since)
        self.insurewatch("claim")
        since = self.containers()["otel-collector"]["State"]["StartedAt"]
        logged = self.compose("logs", "--since", since, "otel-collector").stdout
        assert "ResourceSpans #0" not in logged, "it is still detailed"
        file.write_text(text)

    def cannot_start(self):
        """`up --wait` fails and names Collector and Tempo when they cannot start"""
        for name, file in [("otel-collector", "grafana/otel-collector.yaml"), ("tempo", "grafana/tempo.yaml")]:
            path = self.folder / file
            text = path.read_text()
            path.write_text("nonsense: true\n" + text)
            self.compose("rm", "--stop", "--force", name)
            failed = self.compose("up", "--detach", "--wait", "--wait-timeout", str(START_S), name, expect=1)
            assert f"{name}-1" in failed.stderr, failed.stderr
            assert "nonsense" in self.compose("logs", name).stdout, "the reason is in its log"
            path.write_text(text)
            self.compose("rm", "--stop", "--force", name)
        self.start()

    def unreadable(self):
        """Files that only their owner may read (a clone with umask 077): `up --wait` fails and names who cannot read"""
        path = self.folder / "grafana/tempo.yaml"
        mode = path.stat().st_mode
        path.chmod(0o600)
        self.compose("rm", "--stop", "--force", "tempo")
        failed = self.compose("up", "--detach", "--wait", "--wait-timeout", str(START_S), "tempo", expect=1)
        assert "tempo-1" in failed.stderr, failed.stderr
        assert "permission denied" in self.compose("logs", "tempo").stdout
        path.chmod(mode)
        self.compose("rm", "--stop", "--force", "tempo")
        self.start()

    def metrics_and_logs(self):
        """With metrics and logs everything is healthy, and `docker compose logs` still shows the services' lines"""
        self.needs_images("prom/prometheus:v{PROMETHEUS_VERSION}", "grafana/loki:{LOKI_VERSION}")
        self.files.append("compose.logs.yaml")
        self.start("metrics", TEMPO_PROCESSORS="[service-graphs,span-metrics]")
        self.insurewatch("claim")
        def logged():
            return '"service":"gateway"' in self.compose("logs", "--no-log-prefix", "gateway").stdout
        eventually(logged, "docker compose logs shows the gateway's lines")

    def originals(self):
        """With real services in three seats: healthy, Lab 1 by a variable, fixed"""
        self.needs_images("python:{PYTHON_VERSION}-slim", "node:{NODE_VERSION}-slim",
                          "maven:{MAVEN_VERSION}-eclipse-temurin-17", "eclipse-temurin:{JAVA_VERSION}-jre")
        self.files.append("compose.originals.yaml")
        self.compose("build", "python-api", "java-claims", "node-policy-store")
        self.start()
        self.few_rights()
        def checked():
            return self.compose("exec", "-T", "desk", "insurewatch", "check", expect=None).returncode == 0
        eventually(checked, "a JVM that has just started is fast enough for its callers")
        self.start(PYTHON_API_PROPAGATORS="b3")
        self.insurewatch("claim")
        first = json.loads(self.insurewatch("diagnose", "--json", expect=1))["first"]
        assert (first["place"], first["step"]) == ("python-api -> java-claims", "extract"), first
        self.insurewatch("check", expect=1)
        self.start(PYTHON_API_PROPAGATORS="b3", JAVA_CLAIMS_PROPAGATORS="tracecontext,baggage,b3")
        eventually(checked, "the trace is complete again")

    def down_with_volumes(self):
        """`--profile '*' down --volumes` leaves no container, no volume and no network"""
        self.compose("--profile", "*", "down", "--volumes")
        for kind in ["container", "volume", "network"]:
            listed = run(["docker", kind, "ls", "--quiet", *(["--all"] if kind == "container" else []),
                          "--filter", f"label=com.docker.compose.project={PROJECT}"]).stdout
            assert not listed.strip(), f"{kind}s are left: {listed}"

    # What steps need

    def services(self):
        return json.loads(self.compose("config", "--format", "json").stdout)["services"]

    def needs_images(self, *names):
        for image in (name.format(**ENV) for name in names):
            if not is_to_be_had(image):
                raise NotRun(f"{image} is not to be had")

    def needs_grafana(self):
        if "stub.yaml" in self.files:
            raise NotRun("Grafana's image is not to be had; a service of ours stands in its place")

    @property
    def grafana_url(self):
        return f"http://127.0.0.1:{self.variables['GRAFANA_PORT']}"

    def grafana(self, path):
        return json.loads(get(self.grafana_url + path))

    def provisioned(self):
        return [json.loads(path.read_text()) for path in sorted((self.folder / "grafana/dashboards").glob("*.json"))]

    def ask_tempo(self, dashboard, target):
        def value(variable):
            return self.claim if variable[1] == "claim" else ".*"
        query = re.sub(r"\$\{(\w+)(?::\w+)?\}|\$__all", value, target["query"])
        now = int(time.time())
        metrics = "metricsQueryType" in target
        parameters = {"q": query, "start": now - 900, "end": now} | ({"step": "30s"} if metrics else {"limit": 20})
        path = "metrics/query_range" if metrics else "search"
        url = f"/api/datasources/proxy/uid/tempo/api/{path}?{urllib.parse.urlencode(parameters)}"
        answer = self.grafana(url)
        assert "series" in answer or "traces" in answer or metrics, f"{dashboard['title']}: {query}: {answer}"


STEPS = [Story.pull, Story.build, Story.up, Story.few_rights, Story.claims, Story.data_sources, Story.dashboards,
         Story.panels, Story.host_name, Story.lab_1, Story.crash, Story.restart, Story.down_and_up, Story.edited,
         Story.cannot_start, Story.unreadable, Story.metrics_and_logs, Story.originals, Story.down_with_volumes]


def main():
    engine = run(["docker", "version", "--format", "{{.Server.Version}}"])
    if engine.returncode:
        print("Nothing was run: `docker` reaches no engine.")
        return 0
    store = run(["docker", "info", "--format", "{{.DriverStatus}}"]).stdout
    print(f"Engine {engine.stdout.strip()}, {'containerd' if 'containerd.snapshotter' in store else 'classic'} image store, "
          f"{run(['docker', 'compose', 'version']).stdout.strip()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        # Whatever the caller's umask: containers that are not the caller must be able to read the files.
        os.umask(0o022)
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        ports = [name for name in ENV if name.endswith("_PORT")]
        variables = clean_environment() | dict(zip(ports, map(str, lasting_ports(len(ports)))))
        story = Story(clone, {name: value for name, value in variables.items() if name not in ENV or name in ports})
        if not is_to_be_had("grafana/grafana:{GRAFANA_VERSION}".format(**ENV)):
            (clone / "stub.yaml").write_text(STUB)
            story.files.append("stub.yaml")
        try:
            return tell(story)
        finally:
            story.compose("--profile", "*", "down", "--volumes", "--timeout", "3", expect=None)


def tell(story):
    not_run = 0
    steps = [step for step in STEPS if len(sys.argv) == 1 or step.__name__ in sys.argv]
    for step in steps:
        began = time.monotonic()
        try:
            remark = step(story)
        except NotRun as reason:
            not_run += 1
            print(f"not run         {step.__doc__}: {reason}", flush=True)
            continue
        except (AssertionError, SystemExit, OSError, urllib.error.URLError) as problem:
            print(f"FAILED          {step.__doc__}: {problem}\n{story.compose('ps', '--all', expect=None).stdout}\n"
                  f"{story.compose('logs', '--tail', '5', expect=None).stdout[-6000:]}", flush=True)
            return 1
        print(f"ok    {time.monotonic() - began:6.1f} s  {step.__doc__}{f' ({remark})' if remark else ''}", flush=True)
    print(f"{len(steps) - not_run} steps passed, {not_run} were not run")
    return 0


def lasting_ports(count):
    """Free ports below those that the system hands out: between `down` and `up` no other program gets them by chance."""
    ports = []
    for port in random.sample(range(20000, 30000), 1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                ports.append(port)
        if len(ports) == count:
            return ports
    raise SystemExit("no free ports between 20000 and 30000")


def is_to_be_had(image):
    return not (run(["docker", "image", "inspect", image]).returncode and run(["docker", "pull", image]).returncode)


def run(command, **options):
    return subprocess.run(command, **({"capture_output": True, "text": True} | options))


if __name__ == "__main__":
    sys.exit(main())
