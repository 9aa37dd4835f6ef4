#!/usr/bin/env python3
"""Proves every scenario against a real Tempo and a real Collector, with the configuration of compose.

    tests/interop/real_observations.py

Runs the test `every_scenario_is_seen_broken_and_healed`, with labs that send to that Collector and read from that Tempo: each
observation that an answer lists is seen while the scenario is broken, log lines too, none of it is seen once it is fixed, and
every answer to a drill is weighed as docs/answers.md says. Without Tempo and Collector (see real_backend.py) nothing is run,
and the exit code is 0.
"""

import os
import subprocess
import sys
import tempfile

from real_backend import ROOT, Backend

TEST = "scenarios::every_scenario_is_seen_broken_and_healed"


def main():
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend:
        command = ["cargo", "test", "--locked", "--workspace", "--test", "e2e", "--", "--exact", TEST]
        environment = {**os.environ, "INSUREWATCH_TEST_BACKEND": f"{backend.otlp} {backend.tempo_url}"}
        return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
