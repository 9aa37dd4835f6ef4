"""A lab to attack: shared by the scripts in this folder.

$INSUREWATCH (default: target/debug/insurewatch) names the binary. A lab listens on free ports of loopback, keeps its
files in a temporary folder, and is stopped when the script ends.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSUREWATCH = os.environ.get("INSUREWATCH", str(ROOT / "target/debug/insurewatch"))


@contextmanager
def lab(*arguments, environment=None, prepare=lambda folder: None):
    """A lab that is ready: `insurewatch up` with these additional arguments, in a folder that `prepare` may have filled."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        up = subprocess.Popen([INSUREWATCH, "--data-dir", folder, "up", "--port-base", "0", *arguments],
                              env=dict(os.environ, **(environment or {})), stdout=subprocess.PIPE, text=True)
        try:
            printed = []
            for line in up.stdout:
                printed.append(line)
                if line.startswith("ready"):
                    break
            else:
                raise SystemExit("the lab did not become ready:\n" + "".join(printed))
            threading.Thread(target=up.stdout.read, daemon=True).start()
            yield Lab(Path(folder), up)
        finally:
            if up.poll() is None:
                up.send_signal(signal.SIGINT)
                up.wait(60)


class Lab:
    def __init__(self, folder, up):
        self.folder, self.up = folder, up

    @property
    def file(self):
        """What lab.json says: addresses and processes."""
        return json.loads((self.folder / "lab.json").read_text())

    def pid(self, service):
        return next(process["pid"] for process in self.file["processes"] if process["service"] == service)

    def cli(self, *arguments, codes=(0,)):
        """What a command prints with --json."""
        done = subprocess.run([INSUREWATCH, "--data-dir", str(self.folder), *arguments, "--json"],
                              capture_output=True, text=True, timeout=120)
        if done.returncode not in codes:
            raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)


def row(holds, attack, seen, bound):
    """Prints a row of the table that `run` prints; a cell has no line breaks."""
    cells = [str(cell).replace("\n", " ").replace("|", "/") for cell in (attack, seen, bound)]
    print(f"| {'holds' if holds else '**BROKEN**'} | {' | '.join(cells)} |", flush=True)
    return holds


def resident_kib(pid, field="VmRSS"):
    """Resident memory of a process; VmHWM is its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def cpu_s(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
