#!/usr/bin/env python3
"""Measures the peak of resident memory, in MiB, of the built-in trace store and the desk under hostile clients.

    tests/attack/store_memory.py [ATTACK…]

The store may take twice its bound of 64 MiB, plus 64 MiB. Each attack has its own lab; together they take five minutes.
Exit code 1 if a limit was exceeded, or if clients that do not read block others permanently.
"""

import concurrent.futures
import gzip
import json
import socket
import struct
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from http2 import Peer
from lab import lab, resident_kib, row

LIMIT_MIB = {"trace-store": 2 * 64 + 64, "desk": 256}
MESSAGES = 4 << 20
KEPT_LINKS = 30_000
SENDERS = 40
MANY_SENDERS = 380
STREAMS = 150
READERS = 60
HELD_OPEN_S = 4
# A peer that takes nothing of its answer for 20 s is let go; 60 of them may have their turns one after the other.
LET_GO_S = 90


# === OTLP, as bytes: it is its length that matters ===

def field(tag, content):
    length, head = len(content), bytes([tag << 3 | 2])
    while length > 127:
        head, length = head + bytes([length & 127 | 128]), length >> 7
    return head + bytes([length]) + content


def span(trace, fields=b""):
    ids = field(1, trace.to_bytes(16, "big")) + field(2, b"\1" * 8)
    times = b"".join(bytes([tag << 3 | 1]) + struct.pack("<Q", time.time_ns()) for tag in (7, 8))
    return field(2, ids + field(5, b"attack") + times + fields)


def text(key, value):
    return field(9, field(1, key.encode()) + field(2, field(1, value.encode())))


def link(trace=7):
    return field(13, field(1, trace.to_bytes(16, "big")) + field(2, b"\2" * 8))


def request(spans):
    return field(1, field(2, spans))


# === clients ===

def post(lab_file, body):
    """The status that the store answers."""
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    asked = urllib.request.Request(lab_file["otlp_http"].rstrip("/") + "/v1/traces", gzip.compress(body), headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def connect(url):
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    return connection


def get(url, timeout=60):
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, len(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, len(error.read())


def statuses(answers):
    return "answers " + ", ".join(sorted({str(status) for status in answers}))


# === attacks ===

def empty_links(it):
    """8 requests of some KB, each with 4,194,304 empty links once decompressed"""
    return statuses(post(it.file, request(span(trace, bytes([13 << 3 | 2, 0]) * MESSAGES))) for trace in range(1, 9))


def empty_spans(it):
    """4 requests of some KB, each with 4,194,304 empty spans once decompressed"""
    return statuses(post(it.file, request(bytes([2 << 3 | 2, 0]) * MESSAGES)) for _ in range(4))


def kept_links(it):
    """100 requests, each with a span of 30,000 links, all within bounds"""
    return statuses(post(it.file, request(span(trace, bytes([13 << 3 | 2, 0]) * KEPT_LINKS))) for trace in range(1, 101))


def spans_of_their_own_traces(it):
    """24 requests at once, each with 30,000 spans, each in a separate trace"""
    def one(number):
        first = 1 + number * 30_000
        return post(it.file, request(b"".join(
            field(2, field(1, trace.to_bytes(16, "big")) + field(2, b"\1" * 8)) for trace in range(first, first + 30_000))))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return statuses(pool.map(one, range(24)))


def stalled_senders(it):
    """40 clients that send 8 MB each but for the last byte"""
    return stall(it, SENDERS, 8_000_000, 8_000_000 - 1)


def many_stalled_senders(it):
    """380 clients that send 2 MB of 8 MB each"""
    return stall(it, MANY_SENDERS, 8_000_000, 2_000_000)


def stall(it, clients, length, sent):
    sending = []
    head = (f"POST /v1/traces HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-protobuf\r\n"
            f"content-length: {length}\r\n\r\n").encode()
    for _ in range(clients):
        connection = connect(it.file["otlp_http"])
        connection.setblocking(False)
        sending.append([connection, memoryview(head + bytes(sent))])
    deadline, refused = time.monotonic() + 14, 0
    while time.monotonic() < deadline and sending:
        for client in list(sending):
            try:
                client[1] = client[1][client[0].send(client[1][:1 << 20]):]
            except BlockingIOError:
                pass
            except OSError:
                refused += 1
                sending.remove(client)
        time.sleep(0.002)
    for connection, _ in sending:
        connection.close()
    return f"{refused} disconnected meanwhile"


def stalled_streams(it):
    """60 connections of HTTP/2 with up to 150 requests each that send 31 KiB and no end"""
    peers = [(Peer(it.file["otlp_grpc"]), {}) for _ in range(READERS)]
    deadline, opened = time.monotonic() + 9, 0
    while time.monotonic() < deadline:
        for peer, left in peers:
            peer.pump()
            if len(left) < min(STREAMS, peer.streams) and peer.is_open:
                stream = 1 + 2 * len(left)
                peer.request(stream, "POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                             "application/grpc", ends=False)
                left[stream], opened = 31 << 10, opened + 1
            for stream in left:
                if left[stream] and not peer.unsent:
                    left[stream] -= peer.data(stream, bytes(min(left[stream], 1 << 14)))
        time.sleep(0.001)
    sent = sum((31 << 10) - rest for _, left in peers for rest in left.values())
    return f"{opened} requests, {sent >> 20} MiB sent"


def readers_who_do_not_read(it):
    """60 clients that ask for a large trace in JSON and do not read it"""
    large_trace(it)
    url = urlsplit(it.file["traces"])
    waiting = []
    for _ in range(READERS):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((url.hostname, url.port))
        connection.sendall(b"GET /api/v2/traces/9 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        waiting.append(connection)
    return one_more_reader(it, lambda: None)


def readers_without_window(it):
    """20 clients of HTTP/2 that ask for a large trace and grant no window for it, but answer every ping"""
    large_trace(it)
    peers = [Peer(it.file["traces"], window=0) for _ in range(20)]
    for peer in peers:
        peer.request(1, "GET", "/api/v2/traces/9")

    def pump():
        for peer in peers:
            peer.pump()
    seen = one_more_reader(it, pump)
    return f"{seen}; {sum(peer.is_open for peer in peers)} of {len(peers)} still connected"


def large_trace(it):
    attributes = b"".join(text(f"key.{n}", "value") for n in range(60))
    for part in range(6):
        spans = b"".join(field(2, field(1, (9).to_bytes(16, "big")) + field(2, (part * 1000 + n + 1).to_bytes(8, "big"))
                               + attributes) for n in range(300))
        post(it.file, request(spans))


def one_more_reader(it, meanwhile):
    """What one more reader of the large trace gets, until it gets it; `meanwhile` is done again and again."""
    until = time.monotonic() + HELD_OPEN_S
    while time.monotonic() < until:
        meanwhile()
        time.sleep(0.1)
    trace = it.file["traces"].rstrip("/") + "/api/v2/traces/9"
    began, first = time.monotonic(), get(trace)
    while (later := get(trace))[0] != 200 and time.monotonic() < began + LET_GO_S:
        meanwhile()
        time.sleep(1)
    waited = round(time.monotonic() - began)
    meanwhile()
    if later[0] != 200:
        raise Broken(f"they hold the store: one more reader gets {later} after {waited} s")
    return f"one more reader: {first}, after {waited} s {later}"


def a_claim_of_links(it):
    """A claim with 30 spans of 20,000 links, opened in the desk"""
    claim = "insurewatch.claim.id"
    answers = statuses(post(it.file, request(span(trace, text(claim, "CLM-attack") + link() * 20_000)))
                       for trace in range(1, 31))
    desk = it.file["desk"].rstrip("/")
    page, report = get(desk + "/claims/CLM-attack"), get(desk + "/api/claims/CLM-attack")
    return f"OTLP {answers}, page {page}, report {report}"


ATTACKS = [empty_links, empty_spans, kept_links, spans_of_their_own_traces, stalled_senders, many_stalled_senders,
           stalled_streams, readers_who_do_not_read, readers_without_window, a_claim_of_links]


class Broken(Exception):
    pass


def main():
    names = sys.argv[1:]
    passed = True
    for attack in ATTACKS:
        if names and attack.__name__ not in names:
            continue
        with lab() as it:
            try:
                holds, seen = True, attack(it)
            except Broken as broken:
                holds, seen = False, broken
            peaks = {name: resident_kib(it.pid(name), "VmHWM") // 1024 for name in LIMIT_MIB}
            alive = get(it.file["traces"].rstrip("/") + "/ready")[0] == 200
        holds &= alive and all(peaks[name] <= limit for name, limit in LIMIT_MIB.items())
        passed &= row(holds, attack.__doc__, f"{seen}; peak MiB {json.dumps(peaks)}{'' if alive else ', not ready'}",
                      json.dumps(LIMIT_MIB))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
