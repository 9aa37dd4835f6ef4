#!/usr/bin/env python3
"""Attacks every listener: foreign host names, idle connections, floods, a hung POST, logins without the token, a second lab.

    [INSUREWATCH=path/to/insurewatch] python3 tests/attack/listeners.py [attack…]

Prints a table with one row for each attack. Exit code 1 if any succeeded. It needs Python 3 on Linux and about three minutes.
"""

import concurrent.futures
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from http2 import Peer
from lab import INSUREWATCH, lab, row

TOKEN = "s3cret; ünï"


def ask(url, path="/", method="GET", body=None, headers=None, timeout=30):
    """Status, headers and body of one request over its own connection."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def connect(url, text=b""):
    place = urlsplit(url)
    peer = socket.create_connection((place.hostname, place.port), timeout=10)
    peer.sendall(text)
    return peer


def is_open(peer):
    peer.setblocking(False)
    try:
        return peer.recv(1 << 16) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def urls(running):
    file = running.file
    found = {process["service"]: process["url"] for process in file["processes"]}
    return found | {"OTLP over HTTP": file["otlp_http"], "OTLP over gRPC": file["otlp_grpc"], "Tempo's API": file["traces"]}


def rebinding():
    """Host: evil.example on every port."""
    with lab() as running:
        answers = {name: ask(url, "/healthz", headers={"Host": "evil.example"})[0] for name, url in urls(running).items()
                   if name != "OTLP over gRPC"}
        # gRPC wants HTTP/2; over HTTP/1.1 the same guard stands before it.
        answers["OTLP over gRPC"] = ask(urls(running)["OTLP over gRPC"], "/x", "POST", b"", {"Host": "evil.example"})[0]
    open_to_all = sorted(name for name, status in answers.items() if status not in (403, 421))
    return not open_to_all, f"{len(open_to_all)} of {len(answers)} answer: {', '.join(open_to_all) or 'none'}"


def idlers():
    """800 silent sockets, of which some send half a head, to three ports; then 20 seconds."""
    with lab() as running:
        targets = [urls(running)[name] for name in ("desk", "python-api", "Tempo's API")]
        peers = [connect(targets[number % 3], (b"", b"GET / HT")[number % 2]) for number in range(800)]
        health = [ask(target, "/healthz" if target != targets[2] else "/ready")[0] for target in targets]
        time.sleep(20)
        still = sum(is_open(peer) for peer in peers)
        accepted = running.cli("claim", codes=(0, 1))
    return still == 0 and health == [200] * 3, f"{still} of 800 open after 20 s; health meanwhile {health}; {outcome(accepted)}"


def outcome(claims):
    text = json.dumps(claims)
    return "a claim is accepted" if '"status": 201' in text else f"no claim is accepted: {text[:200]}"


def bulk():
    """60 requests for 1,000 claims each at 1,000 per second."""
    with lab() as running:
        desk, pid, most = running.file["desk"], running.pid("desk"), 0
        body = json.dumps({"count": 1000, "per_second": 1000}).encode()
        request = (b"POST /api/claims HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                   b"content-length: %d\r\n\r\n%s" % (len(body), body))
        peers = [connect(desk, request) for _ in range(60)]
        for _ in range(40):
            most = max(most, descriptors(pid))
            time.sleep(0.25)
        health = ask(desk, "/healthz")[0]
        for peer in peers:
            peer.close()
    return most < 1024 and health == 200, f"at most {most} descriptors in the desk; its health {health}"


def hung_post():
    """A POST to OTLP that stops half-way, and one to the desk; then SIGINT."""
    with lab() as running:
        file = running.file
        half = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/%s\r\ncontent-length: 99999\r\n\r\n{"
        peers = [connect(file["otlp_http"], half % (b"/v1/traces", b"x-protobuf")),
                 connect(file["desk"], half % (b"/api/claims", b"json"))]
        time.sleep(1)
        began = time.monotonic()
        running.up.send_signal(2)
        running.up.wait(120)
        took = time.monotonic() - began
        del peers
    return took < 8, f"the lab ended after {took:.1f} s"


def slow_body():
    """A POST whose body comes a byte per second, to the front door."""
    with lab() as running:
        peer = connect(running.file["front_door"], b"POST /claims HTTP/1.1\r\nhost: localhost\r\n"
                                                   b"content-type: application/json\r\ncontent-length: 5000\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 40:
            try:
                peer.sendall(b" ")
            except OSError:
                break
            time.sleep(1)
        took = time.monotonic() - began
    return took < 30, f"the connection was closed after {took:.0f} s" if took < 40 else "it was open after 40 s"


def without_window():
    """HTTP/2 without a window, asking each port for something: how long it is kept, though it answers pings."""
    with lab() as running:
        # What has a body: without one nothing waits for a window. An export without content is no JSON.
        requests = {"OTLP over HTTP": ("POST", "/v1/traces", "application/json"), "Tempo's API": ("GET", "/ready"),
                    "trace-store": ("GET", "/ready")}
        peers = {name: Peer(url, window=0) for name, url in urls(running).items() if name != "OTLP over gRPC"}
        for name, peer in peers.items():
            peer.request(1, *requests.get(name, ("GET", "/healthz")))
        began = time.monotonic()
        while any(peer.is_open for peer in peers.values()) and time.monotonic() - began < 90:
            for peer in peers.values():
                peer.pump()
            time.sleep(0.1)
        took, still = time.monotonic() - began, sorted(name for name, peer in peers.items() if peer.is_open)
    return not still, f"all closed after {took:.0f} s" if not still else f"open after 90 s: {', '.join(still)}"


def guesses():
    """A thousand wrong tokens from another address of this machine, then a change with the right one."""
    with lab("--desk-listen", "0.0.0.0:0", environment={"INSUREWATCH_DESK_TOKEN": "s3cret"}) as running:
        port, other = urlsplit(running.file["desk"]).port, other_address()
        if other is None:
            return True, "skipped: this machine has no address but loopback"
        desk, statuses, began = f"http://{other}:{port}/", [], time.monotonic()
        for number in range(1000):
            statuses.append(ask(desk, "/api/lab", headers={"Authorization": f"Bearer {number}"})[0])
        took = time.monotonic() - began
        bearer = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}
        change = ask(running.file["desk"], "/api/traffic", "POST", b'{"per_second": 0}', bearer)[0]
    compared = statuses.count(401)
    return compared <= 100 + 26 * took and change == 200, (f"{compared} of 1,000 were compared in {took:.1f} s, the others "
                                                           f"got {sorted(set(statuses) - {401})}; a change: {change}")


def other_address():
    """An address of this machine that is not loopback."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
    except OSError:
        return None


def without_token():
    """300 logins and 300 POSTs to /healthz without the token, then a change with it."""
    with lab(environment={"INSUREWATCH_DESK_TOKEN": "s3cret"}) as running:
        desk = running.file["desk"]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: ask(desk, "/login", "POST", b"token=x"), range(300)))
            list(pool.map(lambda _: ask(desk, "/healthz", "POST"), range(300)))
        bearer = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}
        change = ask(desk, "/api/traffic", "POST", b'{"per_second": 0}', bearer)[0]
    return change == 200, f"a change with the token: {change}"


def odd_token():
    """A token with `;` and letters beyond ASCII: a lab with it, and a browser that logs in."""
    with lab(environment={"INSUREWATCH_DESK_TOKEN": TOKEN}) as running:
        desk = running.file["desk"]
        status, headers, _ = ask(desk, "/login", "POST", urlencode({"token": TOKEN}))
        cookie = (headers.get("set-cookie") or "").partition("; Path")[0]
        page = ask(desk, "/api/lab", headers={"Cookie": cookie})[0]
    return (status, page) == (303, 200), f"login {status}, and with its cookie {page}"


def second_lab():
    """Two `up` in one folder at once, and one beside a desk with a token."""
    with tempfile.TemporaryDirectory() as folder:
        start = lambda **environment: subprocess.Popen(
            [INSUREWATCH, "--data-dir", folder, "up", "--port-base", "0"], env=dict(os.environ, **environment),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        ups = [start(INSUREWATCH_DESK_TOKEN="s3cret"), start(INSUREWATCH_DESK_TOKEN="s3cret")]
        time.sleep(6)
        both = sum(up.poll() is None for up in ups)
        third = start()
        time.sleep(4)
        beside = third.poll() is None
        for up in [*ups, third]:
            if up.poll() is None:
                up.send_signal(2)
        for up in [*ups, third]:
            up.communicate(timeout=60)
    return both == 1 and not beside, f"{both} of two run; another beside a desk with a token runs: {beside}"


def two_labs():
    """Two labs at once in two folders, both on the usual ports, four times."""
    shared, unready = 0, 0
    for _ in range(4):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            ups = [subprocess.Popen([INSUREWATCH, "--data-dir", folder, "up", "--port-base", "23700"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for folder in (one, other)]
            for up in ups:
                for line in up.stdout:
                    if line.startswith("ready"):
                        break
            files = [json.loads((Path(folder) / "lab.json").read_text())
                     if (Path(folder) / "lab.json").exists() else None for folder in (one, other)]
            if None in files:
                unready += 1
            else:
                shared += len(ports(files[0]) & ports(files[1]))
            for up in ups:
                up.send_signal(2)
            for up in ups:
                up.communicate(timeout=60)
    return not shared and not unready, f"{shared} ports were chosen twice, {unready} of 4 times a lab did not come up"


def ports(file):
    addresses = [process["url"] for process in file["processes"]] + [file["otlp_grpc"], file["otlp_http"]]
    return {urlsplit(address).port for address in addresses}


def other_folder():
    """A command for a folder without a lab, while another lab has the usual port."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as usual:
            # What listens on 7700 would be asked; nobody needs to, to see that it is tried.
            done = subprocess.run([INSUREWATCH, "--data-dir", folder, "scenario", "status"], capture_output=True, text=True)
            del usual
    asks_usual_port = "127.0.0.1:7700" in done.stderr or done.returncode == 0
    return not asks_usual_port, f"exit {done.returncode}: {done.stderr.strip()}"


def long_header():
    """Requests with 100 and 380 KB of baggage through the gateway: how much its log grows."""
    with lab() as running:
        log = running.folder / "logs/gateway.jsonl"
        before, statuses = log.stat().st_size, []
        for length in (100_000, 380_000):
            try:
                statuses.append(ask(urls(running)["gateway"], "/api/claims/x", headers={"baggage": "a=" + "x" * length})[0])
            except OSError as error:  # the answer is lost when the connection is closed before all was sent
                statuses.append(type(error).__name__)
        time.sleep(1)
        grown = log.stat().st_size - before
    return grown < 10_000, f"answers {statuses}; the gateway's log grew by {grown} bytes"


def blind_request():
    """Spans to a host of the attacker's choice."""
    with lab() as running:
        done = subprocess.run([INSUREWATCH, "--data-dir", str(running.folder), "scenario", "set", "python-api",
                               "OTEL_EXPORTER_OTLP_ENDPOINT=http://169.254.169.254"], capture_output=True, text=True)
    return done.returncode == 2, f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[:150]}"


def full_disk():
    """Nothing can be written to the folder while a service is started again; then it can."""
    with lab() as running:
        path = running.folder / "lab.json"
        text = path.read_text()
        before = running.pid("fraud-partner")
        # As on a full disk the file cannot be replaced: a folder with something in it is in its place.
        path.unlink()
        (path / "full").mkdir(parents=True)
        os.kill(before, 9)
        time.sleep(3)
        shutil.rmtree(path)
        path.write_text(text)
        time.sleep(3)
        after = running.pid("fraud-partner")
        alive = after is not None and Path(f"/proc/{after}").exists()
    return after != before and alive, f"lab.json names {'the new' if after != before else 'the dead'} process"


def locked():
    """Requests for settings and a diagnosis while LOCK_REVEAL is set."""
    with lab(environment={"INSUREWATCH_LOCK_REVEAL": "true"}) as running:
        running.cli("scenario", "use", "lab-1-b3-vs-w3c")
        settings = running.cli("scenario", "status")["settings"]
        diagnosis = ask(running.file["desk"], "/api/diagnoses", "POST")[0]
    return not settings and diagnosis == 403, f"settings {settings}, diagnosis {diagnosis}"


BOUNDS = {
    rebinding: "none answers",
    idlers: "0 open, all healthy, a claim accepted",
    bulk: "below 1,024 descriptors",
    hung_post: "8 s",
    slow_body: "30 s",
    without_window: "60 s",
    without_token: "200",
    guesses: "25 per second beyond loopback; the owner is never refused",
    odd_token: "303, 200",
    second_lab: "one, and none",
    two_labs: "each its own ports",
    other_folder: "another lab is not asked",
    long_header: "10,000 bytes",
    blind_request: "exit 2",
    full_disk: "the new process",
    locked: "none, 403",
}
ATTACKS = list(BOUNDS)


def main():
    chosen = [attack for attack in ATTACKS if attack.__name__ in sys.argv[1:] or len(sys.argv) == 1]
    failed = False
    for attack in chosen:
        try:
            holds, seen = attack()
        except (Exception, SystemExit) as error:  # the lab does not start, for example
            holds, seen = False, f"{type(error).__name__}: {str(error).strip()}"
        failed |= not holds
        row(holds, (attack.__doc__ or "").strip().rstrip("."), seen, BOUNDS[attack])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
