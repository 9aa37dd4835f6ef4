#!/usr/bin/env python3
"""Checks that the trace store returns everything that the Python OpenTelemetry SDK exports.

    pip install -r requirements.txt
    python3 python_sdk.py GRPC_URL HTTP_URL QUERY_URL

Works against the embedded store (`cargo run -p trace-store --example receiver` prints the three URLs) and against a
Tempo. Prints one line per transport and compression; exits with 1 if any of them differs from what was sent.
"""

import sys
import time
import urllib.error
import urllib.request

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status as SpanStatus, TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

DEADLINE_SECONDS = 15
LINKED = SpanContext(0x5B8EFFF798038103D269B633813FC60C, 0xEEE19B7EC3C1B174, True, TraceFlags(1))


def export(exporter):
    """Exports a parent and its child; returns the contexts of both, in that order."""
    provider = TracerProvider(resource=Resource({"service.name": "python-sdk", "lab": "insurewatch"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("interop", "1.2.3")
    parent = tracer.start_span("POST /claims", kind=SpanKind.SERVER)
    child = tracer.start_span(
        "POST /api/claims",
        context=set_span_in_context(parent),
        kind=SpanKind.CLIENT,
        attributes={"insurewatch.claim.id": "c-1", "size": 2**53 + 1, "headers": ["one", "two"], "ok": True},
        links=[Link(LINKED, {"why": "test"})],
    )
    child.add_event("asked", {"attempt": 1})
    child.set_status(StatusCode.ERROR, "refused")
    child.end()
    parent.end()
    flushed = provider.force_flush()
    provider.shutdown()
    if not flushed:
        raise AssertionError("the exporter could not deliver")
    return parent.get_span_context(), child.get_span_context()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def trace_of(response):
    """Field 1 of tempopb.TraceByIDResponse, whose shape is that of OTLP's TracesData."""
    at, trace = 0, b""
    while at < len(response):
        tag, at = varint(response, at)
        value, at = varint(response, at)
        if tag & 7 == 2:
            if tag >> 3 == 1:
                trace += response[at : at + value]
            at += value
    return TracesData.FromString(trace)


def read_back(query_url, trace_id, span_count):
    """Queries until the spans are there; a Tempo returns them a moment after it accepted them."""
    request = urllib.request.Request(
        f"{query_url}/api/v2/traces/{trace_id:032x}", headers={"Accept": "application/protobuf"}
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
                trace = trace_of(response.read())
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            trace = TracesData()
        found = sum(len(scope.spans) for resource in trace.resource_spans for scope in resource.scope_spans)
        if found >= span_count:
            return trace
        if time.monotonic() > deadline:
            raise AssertionError(f"{found} of {span_count} spans after {DEADLINE_SECONDS} s")
        time.sleep(0.1)


def plain(value):
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    return [plain(item) for item in content.values] if kind == "array_value" else content


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


def equal(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def check(exporter, query_url):
    parent, child = export(exporter)
    trace = read_back(query_url, parent.trace_id, 2)
    spans = {}
    for resource in trace.resource_spans:
        found = attributes(resource.resource.attributes)
        equal("resource", (found.get("service.name"), found.get("lab")), ("python-sdk", "insurewatch"))
        for scope in resource.scope_spans:
            equal("scope", (scope.scope.name, scope.scope.version), ("interop", "1.2.3"))
            spans.update({int.from_bytes(span.span_id, "big"): span for span in scope.spans})
    equal("span ids", set(spans), {parent.span_id, child.span_id})

    found = spans[parent.span_id]
    equal("parent's name and kind", (found.name, found.kind), ("POST /claims", Span.SPAN_KIND_SERVER))
    equal("parent's parent", found.parent_span_id, b"")

    found = spans[child.span_id]
    equal("child's name and kind", (found.name, found.kind), ("POST /api/claims", Span.SPAN_KIND_CLIENT))
    equal("child's parent", int.from_bytes(found.parent_span_id, "big"), parent.span_id)
    equal(
        "child's attributes",
        attributes(found.attributes),
        {"insurewatch.claim.id": "c-1", "size": 2**53 + 1, "headers": ["one", "two"], "ok": True},
    )
    links = [(link.trace_id.hex(), link.span_id.hex(), attributes(link.attributes)) for link in found.links]
    equal("links", links, [(f"{LINKED.trace_id:032x}", f"{LINKED.span_id:016x}", {"why": "test"})])
    events = [(event.name, attributes(event.attributes)) for event in found.events]
    equal("events", events, [("asked", {"attempt": 1})])
    equal("status", (found.status.code, found.status.message), (SpanStatus.STATUS_CODE_ERROR, "refused"))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    grpc_url, http_url, query_url = (url.rstrip("/") for url in sys.argv[1:])
    traces_url = f"{http_url}/v1/traces"
    rows = [
        ("grpc", "plain", lambda: GrpcExporter(grpc_url, insecure=True, compression=grpc.Compression.NoCompression)),
        ("grpc", "gzip", lambda: GrpcExporter(grpc_url, insecure=True, compression=grpc.Compression.Gzip)),
        ("grpc", "deflate", lambda: GrpcExporter(grpc_url, insecure=True, compression=grpc.Compression.Deflate)),
        ("http/protobuf", "plain", lambda: HttpExporter(traces_url, compression=Compression.NoCompression)),
        ("http/protobuf", "gzip", lambda: HttpExporter(traces_url, compression=Compression.Gzip)),
        ("http/protobuf", "deflate", lambda: HttpExporter(traces_url, compression=Compression.Deflate)),
    ]
    failures = 0
    for transport, compression, exporter in rows:
        try:
            check(exporter(), query_url)
            verdict = "ok"
        except Exception as error:  # One row must not hide the others.
            failures += 1
            verdict = f"FAILED {type(error).__name__}: {error}"
        print(f"{transport:14} {compression:8} {verdict}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
