#!/usr/bin/env python3
"""Stops the Collector, and then Tempo, for a minute while claims are sent, and counts what happened to every span.

    tests/interop/outages.py [--away SECONDS] [--rate CLAIMS_PER_SECOND]

- Collector stopped, span queues that are large enough: no claim fails and no span is lost.
- Collector stopped, span queues of the usual 2,048: no claim fails, and every span that is lost was counted as dropped.
- Tempo stopped, and the Collector restarted meanwhile: no claim fails and no span is lost.

Exit code 1 if this is not so. Without Tempo and Collector (see real_backend.py) nothing is run, and the exit code is 0.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from real_backend import Backend, cli, eventually, get, lab

LARGE, USUAL = 131072, 2048


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--away", type=float, default=60)
    options.add_argument("--rate", type=float, default=50)
    options = options.parse_args()
    fine = [
        outage(options, "Collector away, large span queues", LARGE, collector_away, may_drop=False),
        outage(options, "Collector away, usual span queues", USUAL, collector_away, may_drop=True),
        outage(options, "Tempo away, Collector restarted", LARGE, tempo_away, may_drop=False),
    ]
    return 0 if all(fine) else 1


def collector_away(backend, seconds):
    backend.collector.__exit__()
    time.sleep(seconds)
    backend.collector.__enter__()


def tempo_away(backend, seconds):
    backend.tempo.__exit__()
    time.sleep(seconds / 2)
    backend.collector.__exit__()
    backend.collector.__enter__()
    time.sleep(seconds / 2)
    backend.tempo.__enter__()


def outage(options, title, queue_size, take_away, may_drop):
    count = int(options.rate * (options.away + 20))
    with tempfile.TemporaryDirectory() as folder, Backend(folder) as backend, ThreadPoolExecutor(1) as beside, \
            lab(f"{folder}/lab", "--otlp-endpoint", backend.otlp, "--tempo", backend.tempo_url,
                OTEL_BSP_MAX_QUEUE_SIZE=str(queue_size)) as at:
        began = int(time.time()) - 60
        claim_id = cli(at, "claim")[1]["claims"][0]["claim_id"]
        fragments = cli(at, "trace", claim_id)[1]["evidence"]["fragments"]
        # Beside those that stream: this one, and the one with which the lab begins.
        made = sum(len(fragment["nodes"]) for fragment in fragments) * (count + 2)
        claims = beside.submit(cli, at, "claim", "--count", str(count), "--rate", str(options.rate))
        time.sleep(5)
        take_away(backend, options.away)
        answer = claims.result()[1]
        spans = eventually(lambda: settled(at, made), f"{made} spans were exported or dropped", deadline_s=300)
        arrived = 0

        def all_arrived():
            nonlocal arrived
            arrived = stored(backend, began)
            return arrived >= spans["exported"]

        try:
            eventually(all_arrived, "what the services exported is in Tempo", deadline_s=120)
        except SystemExit:
            pass
    accounted = answer["failed"] == 0 and arrived == spans["exported"] and spans["failed"] == 0
    fine = accounted and (spans["dropped"] > 0 if may_drop else spans["dropped"] == 0)
    print(f"{'fine ' if fine else 'WRONG'} {title}: {answer['accepted']} claims accepted, {answer['failed']} failed; "
          f"spans exported {spans['exported']}, dropped {spans['dropped']}, failed {spans['failed']}; "
          f"in Tempo {arrived}", flush=True)
    return fine


def settled(data_dir, made):
    """The services' own counts, once every created span is exported or lost."""
    file = json.loads((Path(data_dir) / "lab.json").read_text())
    health = [json.loads(get(f"{it['url']}healthz")) for it in file["processes"]
              if it["service"] not in ("desk", "trace-store")]
    spans = [it["spans"] for it in health if it.get("spans")]
    counts = {name: sum(it[name] for it in spans) for name in ["exported", "dropped", "failed"]}
    return counts if sum(counts.values()) >= made else None


def stored(backend, began):
    found = json.loads(backend.ask("/api/metrics/query_range", q="{ } | count_over_time()", start=began,
                                   end=int(time.time()), step="10s"))
    return int(sum(sample.get("value", 0) for series in found.get("series", []) for sample in series["samples"]))


if __name__ == "__main__":
    sys.exit(main())
