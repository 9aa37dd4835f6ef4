"""A real Tempo, a real Collector before it, and labs: shared by the scripts in this folder.

$TEMPO (default: `tempo` on PATH), $OTELCOL (default: `otelcol-contrib` or `otelcol` on PATH) and $INSUREWATCH (default:
target/debug/insurewatch) name the programs. Tempo and Collector get the files that compose mounts. Everything listens on
loopback, on free ports, and keeps its files in a temporary folder.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSUREWATCH = os.environ.get("INSUREWATCH", str(ROOT / "target/debug/insurewatch"))
READY_DEADLINE_S = 90
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def programs():
    """Tempo and Collector; if one of them is missing, says so and ends the script."""
    tempo, otelcol = program("TEMPO", "tempo"), program("OTELCOL", "otelcol-contrib", "otelcol")
    missing = [name for name, found in [("Tempo", tempo), ("Collector", otelcol)] if not found]
    if missing:
        print(f"Nothing was run: no {' and no '.join(missing)} on PATH. $TEMPO and $OTELCOL may name them.")
        sys.exit(0)
    return tempo, otelcol


def program(variable, *names):
    return os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)


class Process:
    """A program that can be stopped and started again."""

    def __init__(self, command, log, environment, ready):
        self.command, self.log, self.environment, self.ready = command, Path(log), environment, ready

    def __enter__(self):
        with open(self.log, "a") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, env=self.environment)
        eventually(self.is_ready, f"{self.command[0]} is ready")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.command} ended: {self.log.read_text()[-2000:]}")
        return self.ready(self)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Backend:
    """Tempo and a Collector before it; further configuration files are merged over the Collector's."""

    def __init__(self, folder, *collector_files):
        tempo, otelcol = programs()
        tempo_http, tempo_grpc, tempo_otlp, otlp_grpc, otlp_http, health, metrics = free_ports(7)
        folder = Path(folder)
        (folder / "queue").mkdir()
        environment = {
            **os.environ, "NO_PROXY": "127.0.0.1",
            "TEMPO_LISTEN_ADDRESS": "127.0.0.1", "TEMPO_HTTP_PORT": str(tempo_http),
            "TEMPO_GRPC_PORT": str(tempo_grpc), "TEMPO_OTLP_ADDRESS": f"127.0.0.1:{tempo_otlp}",
            "TEMPO_DATA": str(folder / "tempo"), "TEMPO_OTLP_ENDPOINT": f"127.0.0.1:{tempo_otlp}",
            "QUEUE_DIRECTORY": str(folder / "queue"), "OTLP_GRPC_ADDRESS": f"127.0.0.1:{otlp_grpc}",
            "OTLP_HTTP_ADDRESS": f"127.0.0.1:{otlp_http}", "HEALTH_ADDRESS": f"127.0.0.1:{health}",
            "METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(metrics),
        }
        self.otlp, self.tempo_url = f"http://127.0.0.1:{otlp_http}", f"http://127.0.0.1:{tempo_http}"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        config = [f"--config={file}" for file in (ROOT / "grafana/otel-collector.yaml", *collector_files)]
        subprocess.run([otelcol, "validate", *config], env=environment, check=True)
        self.tempo = Process([tempo, f"-config.file={ROOT}/grafana/tempo.yaml", "-config.expand-env=true"],
                             folder / "tempo.log", environment, answers(f"{self.tempo_url}/ready"))
        self.collector = Process([otelcol, *config], folder / "collector.log", environment,
                                 answers(f"http://127.0.0.1:{health}/"))

    def __enter__(self):
        self.tempo.__enter__()
        self.collector.__enter__()
        return self

    def __exit__(self, *_):
        self.collector.__exit__()
        self.tempo.__exit__()

    def ask(self, path, **parameters):
        return get(f"{self.tempo_url}{path}?{urllib.parse.urlencode(parameters)}")

    def counters(self):
        """The Collector's own, by name, summed over their labels."""
        counters = {}
        for line in get(self.metrics_url).decode().splitlines():
            if not line.startswith("#"):
                name, value = line.partition("{")[0].split(" ")[0], line.rpartition(" ")[2]
                counters[name] = counters.get(name, 0) + float(value)
        return counters


@contextmanager
def lab(data_dir, *options, **environment):
    """A running lab; its data directory is how commands find it."""
    Path(data_dir).mkdir()
    log = Path(data_dir) / "up.log"
    command = [INSUREWATCH, "--data-dir", data_dir, "up", "--port-base", "0", *options]
    with Process(command, log, clean_environment() | environment, lambda it: "\nready, in " in it.log.read_text()):
        yield data_dir


def cli(data_dir, *arguments):
    return cli_at(["--data-dir", data_dir], *arguments)


def cli_at(lab, *arguments):
    """Exit code and JSON of a command; `None` if it printed none."""
    ran = subprocess.run([INSUREWATCH, *lab, *arguments, "--json"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=clean_environment())
    if ran.returncode == 1 and not ran.stdout:
        return 1, None
    try:
        return ran.returncode, json.loads(ran.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"{arguments} answered {ran.stdout!r}, {ran.stderr!r}") from None


def clean_environment():
    """The environment, without settings of the caller that would change what is tested."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "INSUREWATCH_"))}


def get(url, **headers):
    with OPENER.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read()


def answers(url):
    def look(_):
        try:
            return bool(get(url)) or True
        except (urllib.error.URLError, OSError):
            return False
    return look


def eventually(look, reason, deadline_s=READY_DEADLINE_S):
    deadline = time.monotonic() + deadline_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {deadline_s} s until {reason}")
        time.sleep(0.1)
    return found


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports
