#!/usr/bin/env python3
"""Starts the lab's container by hand as its manifest says: its arguments, variables, user, mounts and read-only root.

    tests/class/as_container.py

Takes the pod of the StatefulSet `lab` from deploy/kubernetes/base/lab.yaml and runs it in its own mount namespace, with a root
that contains only the program (and the libraries it is linked to), read-only, without capabilities or new privileges.
Collector and Tempo are real and run on this machine (see ../interop/real_backend.py); only their addresses are replaced.
Then it does what a learner does: claims, a broken scenario, `check`, the fix. At SIGTERM the lab must end with code 0. Needs root,
Linux, and PyYAML; $INSUREWATCH should be a release build.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from real_backend import INSUREWATCH, OPENER, ROOT, Backend, eventually  # noqa: E402

POD, NAME, TOKEN = "lab-7", "ada", "a-token-of-adas-alone"
CLONE_NEWNS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 0x20000, 24, 38
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)


def main():
    manifest = next(yaml.safe_load_all((ROOT / "deploy/kubernetes/base/lab.yaml").read_text()))
    pod = manifest["spec"]["template"]["spec"]
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend:
        command, environment = told(pod["containers"][0], backend)
        print(*[f"{name}={value}" for name, value in environment.items()], *command, sep="\n  ")
        root = Path(folder) / "root"
        log = Path(folder) / "lab.log"
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log.open("w"),
                                 stderr=subprocess.STDOUT, preexec_fn=lambda: become(root, pod))
        try:
            eventually(lambda: "\nready, in " in log.read_text() or child.poll() is not None, "the lab is ready", 30)
            print(log.read_text())
            assert child.poll() is None, "it runs"
            work(looked_at(child.pid, pod), backend)
        finally:
            child.send_signal(signal.SIGTERM)
            code = child.wait(60)
        assert code == 0, f"SIGTERM ended it with {code}: {log.read_text()[-500:]}"
        print("SIGTERM: ended with 0")


def told(container, backend):
    """The container's command line and variables, with the pod's name and this machine's backend in them."""
    environment = {"PATH": "/usr/local/bin"}
    for variable in container["env"]:
        value = POD if "valueFrom" in variable else variable["value"]
        environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], value)
    here = {"http://otel-collector:4318": backend.otlp, "http://tempo:3200": backend.tempo_url, ":7700": ":0"}
    def local(argument):
        for there, address in here.items():
            argument = argument.replace(there, address)
        return argument
    return ["/usr/local/bin/insurewatch", *map(local, container["args"])], environment


def become(root, pod):
    """In the child: what a container runtime does before it starts the program."""
    user = pod["securityContext"]["runAsUser"]
    call(LIBC.unshare(CLONE_NEWNS))
    mount(None, "/", MS_REC | MS_PRIVATE)
    root.mkdir()
    mount("tmpfs", root, 0, "tmpfs")
    for name in ["usr/local/bin", "data", "etc/insurewatch", "proc", "dev"]:
        (root / name).mkdir(parents=True)
    program = root / "usr/local/bin/insurewatch"
    libraries = re.findall(r"(/\S+\.so\S*) ", subprocess.run(["ldd", INSUREWATCH], capture_output=True, text=True).stdout)
    for source, target in [(INSUREWATCH, program), *((library, root / library[1:]) for library in libraries)]:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        mount(source, target, MS_BIND)
    (root / "etc/insurewatch/name").write_text(NAME)
    (root / "etc/insurewatch/token").write_text(TOKEN)
    (root / "dev/null").touch()
    mount("/dev/null", root / "dev/null", MS_BIND)
    mount("proc", root / "proc", MS_NOSUID, "proc")
    mount("tmpfs", root / "data", MS_NOSUID, "tmpfs", f"uid={user},gid={user},mode=0770,size=256m")
    mount(None, root, MS_REMOUNT | MS_RDONLY)
    os.chroot(root)
    os.chdir("/")
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    call(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def mount(source, target, flags, kind=None, options=None):
    encoded = [None if it is None else str(it).encode() for it in (source, target, kind)]
    call(LIBC.mount(*encoded, ctypes.c_ulong(flags), options.encode() if options else None))


def call(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def looked_at(pid, pod):
    """Compares every process of the lab, as the kernel reports it, with the manifest; returns the desk's URL."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    user = str(pod["securityContext"]["runAsUser"])
    for process in [str(pid), *children]:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        assert status["Uid"].split() == [user] * 4, f"{process} runs as {status['Uid']}"
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"{process} has capabilities"
        assert status["NoNewPrivs"].strip() == "1", f"{process} may gain privileges"
    mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
    options = next(mount[3] for mount in mounts if mount[1] == "/")
    assert options.startswith("ro"), f"the root is {options}"
    listening = {}
    for process in [str(pid), *children]:
        sockets = {os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()}
        for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address = ".".join(str(int(fields[1][at:at + 2], 16)) for at in (6, 4, 2, 0))
                listening.setdefault(address, []).append(int(fields[1].split(":")[1], 16))
    assert listening.keys() == {"0.0.0.0", "127.0.0.1"} and len(listening["0.0.0.0"]) == 1, listening
    print(f"{1 + len(children)} processes as {user}, no capabilities, no new privileges, root {options.split(',')[0]}; "
          f"beyond loopback listens one, on loopback {len(listening['127.0.0.1'])}")
    return f"http://127.0.0.1:{listening['0.0.0.0'][0]}/"


def work(desk, backend):
    """A learner with the token, and a client without it."""
    try:
        OPENER.open(f"{desk}api/lab", timeout=10)
        raise SystemExit("the desk answers without the token")
    except urllib.error.HTTPError as refused:
        assert refused.code == 401, refused
    probe = urllib.request.Request(f"{desk}healthz", headers={"host": "localhost"})
    assert OPENER.open(probe, timeout=10).status == 200, "a probe needs none"
    command = {**os.environ, "INSUREWATCH_LAB": desk, "INSUREWATCH_DESK_TOKEN": TOKEN}
    for arguments, expected in [(["claim"], 0), (["check"], 0), (["scenario", "use", "lab-1-b3-vs-w3c"], 0),
                                (["check"], 1), (["scenario", "reset"], 0), (["check"], 0)]:
        ran = subprocess.run([INSUREWATCH, *arguments], env=command, capture_output=True, text=True, timeout=60)
        assert ran.returncode == expected, f"{arguments} ended with {ran.returncode}: {ran.stdout}{ran.stderr}"
        print(f"insurewatch {' '.join(arguments)}: {expected}")
    query = f'{{ resource.deployment.environment.name = "{NAME}" && name = "POST /claims" }}'
    def found():
        return json.loads(backend.ask("/api/search", q=query, limit=20, start=int(time.time()) - 300,
                                      end=int(time.time()))).get("traces")
    print(f"{len(eventually(found, 'the lab is in Tempo by its name'))} claims in Tempo are named {NAME}")


if __name__ == "__main__":
    main()
