#!/usr/bin/env python3
"""Hides a claim behind 300 traces that carry its id: the lab must say that it cannot tell, and why.

    tests/attack/fake_traces.py

Exit code 1 if it says anything else.
"""

import sys
import time

from lab import lab, row
from store_memory import field, post, request, span, text

FAKES = 300


def main():
    with lab() as it:
        claim = it.cli("claim")["claims"][0]["claim_id"]
        time.sleep(2)
        before = it.cli("diagnose", claim, codes=(0, 1, 2))
        # The newest traces are the ones that a search finds.
        spans = b"".join(span(trace, text("insurewatch.claim.id", claim)) for trace in range(1, FAKES + 1))
        status = post(it.file, request(spans))
        after = it.cli("diagnose", claim, codes=(0, 1, 2))
    reasons = "; ".join(after.get("undecided", [])[:1])
    holds = (before["outcome"], after["outcome"]) == ("healthy", "cannot-tell")
    row(holds, f"a claim hidden behind {FAKES} traces with its id, in one request",
        f"OTLP {status}; {before['outcome']} before, {after['outcome']} after: {after['sentence']} {reasons[:200]}",
        "cannot tell, and why")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
