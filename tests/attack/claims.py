#!/usr/bin/env python3
"""Sends claims that must not be accepted, and looks for one that must not be found.

A negative amount sent to java-claims without the front door; a claim as a list of its fields; another person's claim by a
guessed idempotency key. Exit code 1 if one of them works.
"""

import json
import sys
import urllib.error
import urllib.request
import uuid

from lab import lab, row

CLAIM = {"policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 20_000,
         "description": "hail"}


def main():
    with lab() as running:
        door = running.file["front_door"] + "claims"
        inside = next(p["url"] for p in running.file["processes"] if p["service"] == "java-claims") + "api/claims"
        negative = send(inside, {**CLAIM, "amount_cents": -1_000_000}, {"x-claim-id": f"CLM-{'0' * 31}1"})
        array = send(door, list(CLAIM.values()), {})
        mine = send(door, CLAIM, {"idempotency-key": "order-1"})
        again = send(door, CLAIM, {"idempotency-key": "order-1"})
        guess = f"CLM-{uuid.uuid5(uuid.NAMESPACE_OID, 'order-1').hex}"
        read = send(f"{door}/{guess}", None, {})
    results = [
        row(negative[0] == 422, "a negative amount, sent to java-claims", negative[0], 422),
        row(array[0] == 422, "a claim as a JSON array", array[0], 422),
        row(mine == again and mine[0] == 201, "the same idempotency key twice", f"{mine[0]} and {again[0]}", "one claim"),
        row(read[0] == 404 and mine[1] != guess, "somebody's claim by a guessed key", read[0], 404),
    ]
    return 0 if all(results) else 1


def send(url, body, headers):
    """Status and claim id of the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, answer.headers["x-claim-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-claim-id"]


if __name__ == "__main__":
    sys.exit(main())
