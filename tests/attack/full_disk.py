#!/usr/bin/env python3
"""Fills the disk of a lab, and frees it again. Then claims must be accepted as before, and no accepted claim may be lost.

The data directory is a separate file system (tmpfs, 24 MiB), so this runs as root; if it may not mount, it says so and
stops. Exit code 1 if claims stay refused, healthz stays silent, or a claim is lost.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import lab as labs

CLAIM = {"policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 20_000,
         "description": "hail " * 350}
DEADLINE_S = 30


def main():
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "insurewatch-attack", folder],
                                 capture_output=True, text=True)
        if mounted.returncode:
            print(f"skipped: full_disk.py: a file system cannot be mounted here: {mounted.stderr.strip()}")
            return 0
        try:
            return attack(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def attack(folder):
    tempfile.tempdir = folder
    try:
        with labs.lab() as lab:
            health = next(p["url"] for p in lab.file["processes"] if p["service"] == "java-claims") + "healthz"
            door = lab.file["front_door"] + "claims"
            before = [post(door) for _ in range(20)]
            print(f"before: {statuses(before)}, healthz {ask(health)[0]}")
            fill(os.path.join(folder, "filler"))
            full = [post(door) for _ in range(60)]
            status, body = ask(health)
            print(f"disk full: {statuses(full)}, healthz {status} {body.get('troubles', 'says nothing of it')}")
            os.remove(os.path.join(folder, "filler"))
            freed = time.monotonic()
            while (again := post(door))[0] != 201 and time.monotonic() - freed < DEADLINE_S:
                time.sleep(0.1)
            took = time.monotonic() - freed
            after = [post(door) for _ in range(50)]
            healthy = eventually(lambda: ask(health)[0] == 200)
            print(f"freed: first claim {again[0]} after {took:.1f} s, then {statuses(after)}, healthz {ask(health)[0]}")
            accepted = [claim for status, claim in before + full + [again] + after if status == 201]
            checked = eventually(lambda: all("fraud_check" in ask(f"{door}/{claim}")[1] for claim in accepted))
            lost = sum(ask(f"{door}/{claim}")[0] != 200 for claim in accepted)
            print(f"accepted {len(accepted)}, lost {lost}, all checked for fraud: {checked}")
            refused = any(status != 201 for status, _ in full)
            if not refused:
                print("the disk did not fill up: nothing was tried")
            silent = status == 200 and refused
            good = refused and not silent and healthy and checked and not lost and all(s == 201 for s, _ in after)
            labs.row(good, "the disk fills up and is freed", f"healthz {status} while full; {again[0]} {took:.1f} s after; "
                     f"{len(accepted)} accepted, {lost} lost, all checked: {checked}", "503 while full, then 201; 0 lost")
            return 0 if good else 1
    finally:
        tempfile.tempdir = None


def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        # What is smaller than a block still finds room.
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass


def post(door):
    request = urllib.request.Request(door, json.dumps(CLAIM).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, answer.headers["x-claim-id"]
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError as error:
        return str(error), None


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=15) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def statuses(answers):
    seen = [status for status, _ in answers]
    return ", ".join(f"{seen.count(status)} times {status}" for status in sorted(set(seen), key=str))


def eventually(holds):
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


if __name__ == "__main__":
    sys.exit(main())
