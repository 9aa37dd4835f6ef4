// What Grafana's Tempo data source asks Tempo, and which frames it makes of the answers.
//
// The data source is a plugin that no registry has, so its behaviour is written down here, from version 13.1.5 of
// github.com/grafana/grafana-tempo-datasource (src/datasource.ts: query; pkg/tempo/search.go, traceql_query.go, trace.go,
// traceql/metrics.go: requests and frames), without streaming.

import { interpolated } from "./grafana.js";

const METRICS = /\|\s*(rate|count_over_time|avg_over_time|max_over_time|min_over_time|sum_over_time|quantile_over_time|histogram_over_time|compare)\s*\(/;
const TRACE_ID = /^[0-9A-Fa-f]*$/;
const TABLE = { preferredVisualisationType: "table" };

/** What is asked for each target of a panel: `{ refId, kind, path }`; a trace without an id is `{ refId, error }`. */
export function requests(panel, range, variables) {
  const targets = (panel.targets ?? []).filter((target) => target.queryType === "traceql");
  if (targets.length === 0) return [];
  // One look at the first target decides for all of them.
  const first = interpolated(targets[0].query, variables);
  if (TRACE_ID.test(first.trim())) {
    return targets.map(({ refId, query }) => {
      const id = interpolated(query, variables).trim();
      return id === "" ? { refId, error: "trace id is required" } : { refId, kind: "trace", path: `/api/v2/traces/${id}` };
    });
  }
  const { start, end } = within(panel, range);
  if (METRICS.test(first)) {
    return targets.map((target) => {
      const instant = target.metricsQueryType === "instant";
      const path = instant ? "/api/metrics/query" : "/api/metrics/query_range";
      const step = target.step ? { step: target.step } : {};
      const q = interpolated(target.query, variables);
      return { refId: target.refId, kind: instant ? "instant" : "range", path: `${path}?${search({ q, start, end, ...step })}` };
    });
  }
  // Searches: the text of the first is run for every target (grafana/grafana#93453).
  return targets.map(({ refId, limit, spss, tableType }) => {
    const asked = { q: first, start, end, ...(limit > 0 && { limit }), ...(spss > 0 && { spss }) };
    return { refId, kind: tableType ?? "traces", path: `/api/search?${search(asked)}` };
  });
}

function search(parameters) {
  return new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)])).toString();
}

/** A panel's own range ends with the dashboard's. */
function within(panel, { start, end }) {
  const own = /^(\d+)([smh])$/.exec(panel.timeFrom ?? "");
  return own ? { start: end - own[1] * { s: 1, m: 60, h: 3600 }[own[2]], end } : { start, end };
}

/** The frames of one answer, in Grafana's plain form. Examples (exemplars) are left out: they are no series. */
export function frames({ kind, refId }, answer) {
  switch (kind) {
    case "instant": return (answer.series ?? []).map(instantFrame);
    case "range": return (answer.series ?? []).map(rangeFrame);
    case "spans": return [spansFrame(newestFirst(answer.traces))];
    case "traces": return [tracesFrame(newestFirst(answer.traces))];
    case "trace": return traceFrames(answer.trace, refId);
    default: throw new Error(`no such kind: ${kind}`);
  }
}

// === metrics ===

function instantFrame({ labels, value = 0 }) {
  const name = seriesName(labels);
  return {
    name, refId: name, meta: TABLE,
    fields: [
      { name: "time", type: "time", config: {}, values: [0] },
      { name: "value", type: "number", labels: labelValues(labels), config: named(name), values: [value] },
    ],
  };
}

function rangeFrame({ labels, samples = [] }) {
  const name = seriesName(labels);
  return {
    name, refId: name, meta: { preferredVisualisationType: "graph", type: "timeseries-multi" },
    fields: [
      { name: "time", type: "time", config: {}, values: samples.map((sample) => Number(sample.timestampMs)) },
      { ...(name && { name }), type: "number", labels: labelValues(labels), config: named(name), values: samples.map((sample) => sample.value ?? 0) },
    ],
  };
}

function labelValues(labels = []) {
  return Object.fromEntries(labels.map(({ key, value }) => [key, quoted(value)]));
}

/** One label: its value alone. Several: all, in alphabetical order, texts in quotes. */
function seriesName(labels = []) {
  if (labels.length === 1) return bare(labels[0].value);
  if (labels.length === 0) return "";
  return `{${labels.map(({ key, value }) => `${key}=${quoted(value)}`).sort().join(", ")}}`;
}

/** The Go side leaves an empty name out. */
function named(name) {
  return name === "" ? {} : { displayName: name };
}

const bare = (value) => String(value?.stringValue ?? value?.intValue ?? value?.doubleValue ?? value?.boolValue ?? "");
const quoted = (value) => (value?.stringValue === undefined ? bare(value) : `"${value.stringValue}"`);

// === searches ===

const millis = (nanos) => Number(BigInt(nanos) / 1000000n);
const newestFirst = (traces = []) =>
  [...traces].sort((one, other) => Number(BigInt(other.startTimeUnixNano) - BigInt(one.startTimeUnixNano)));
const hidden = { custom: { hideFrom: { viz: true } } };
const column = (name, type, shown, values, config = {}) =>
  ({ name, type, config: { ...(shown && { displayNameFromDS: shown }), ...config }, values });
/** Milliseconds, and the nanoseconds beyond them, by which spans of one millisecond are told apart. */
const instants = (name, shown, nanos) =>
  ({ ...column(name, "time", shown, nanos.map(millis)), nanos: nanos.map((one) => Number(BigInt(one) % 1000000n)) });

function tracesFrame(traces) {
  return {
    name: "Traces", meta: TABLE,
    fields: [
      column("traceID", "string", "Trace ID", traces.map((one) => one.traceID), { links: [{ title: "Trace: ${__value.raw}", url: "", internal: {} }] }),
      instants("startTime", "Start time", traces.map((one) => one.startTimeUnixNano)),
      column("traceService", "string", "Service", traces.map((one) => one.rootServiceName ?? "")),
      column("traceName", "string", "Name", traces.map((one) => one.rootTraceName ?? "")),
      column("traceDuration", "number", "Duration", traces.map((one) => (one.durationMs >= 1 ? one.durationMs : null)), { unit: "ms", noValue: "<1 ms" }),
      column("nested", "nestedFrames", "", traces.map((one) => [spansFrame([one], false)])),
    ],
  };
}

function spansFrame(traces, whole = true) {
  const sets = traces.flatMap((trace) => (trace.spanSets ?? []).map((set) => ({ trace, set })));
  const rows = sets.flatMap(({ trace, set }) => (set.spans ?? []).map((span) => ({ trace, span, attributes: [...(set.attributes ?? []), ...(span.attributes ?? [])] })));
  const types = new Map(rows.flatMap(({ attributes }) => attributes.map(({ key, value }) => [key, typeOf(value)])));
  const named = rows.some(({ span }) => span.name);
  const ofTrace = whole
    ? [
        column("traceService", "string", "Trace Service", rows.map(({ trace }) => trace.rootServiceName ?? "")),
        column("traceName", "string", "Trace Name", rows.map(({ trace }) => trace.rootTraceName ?? "")),
      ]
    : [];
  return {
    name: "Spans", meta: TABLE,
    fields: [
      column("traceIdHidden", "string", "", rows.map(({ trace }) => trace.traceID), hidden),
      ...ofTrace,
      column("spanID", "string", "Span ID", rows.map(({ span }) => span.spanID), { unit: "string", links: [{ title: "Span: ${__value.raw}", url: "", internal: {} }] }),
      instants("time", "Start time", rows.map(({ span }) => span.startTimeUnixNano)),
      column("name", "string", "Name", rows.map(({ span }) => span.name ?? ""), { custom: { hideFrom: { viz: !named } } }),
      ...[...types.keys()].sort().map((key) => column(key, types.get(key), key, rows.map(({ attributes }) => attribute(attributes, key)))),
      column("duration", "number", "Duration", rows.map(({ span }) => Number(span.durationNanos ?? 0)), { unit: "ns" }),
    ],
  };
}

function typeOf(value) {
  if (value.intValue !== undefined || value.doubleValue !== undefined) return "number";
  return value.boolValue === undefined ? "string" : "boolean";
}

function attribute(attributes, key) {
  const value = attributes.findLast((one) => one.key === key)?.value;
  if (value === undefined) return null;
  return typeOf(value) === "number" ? Number(bare(value)) : (value.stringValue ?? value.boolValue ?? null);
}

// === a trace ===

const hex = (base64 = "") => Buffer.from(base64, "base64").toString("hex");

/** The trace, and the nodes and edges of its graph, which the data source adds if its `nodeGraph` is on. */
function traceFrames(trace, refId) {
  const spans = (trace?.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) => {
    const service = resource.attributes.find(({ key }) => key === "service.name")?.value.stringValue;
    return scopeSpans.flatMap((scope) => scope.spans.map((span) => ({
      traceID: hex(span.traceId), spanID: hex(span.spanId), parentSpanID: hex(span.parentSpanId),
      operationName: span.name, serviceName: service, kind: span.kind.replace("SPAN_KIND_", "").toLowerCase(),
    })));
  });
  const fields = ["traceID", "spanID", "parentSpanID", "operationName", "serviceName", "kind"].map((name) => column(name, "string", "", spans.map((span) => span[name])));
  const ids = new Set(spans.map((span) => span.spanID));
  const edges = spans.filter((span) => ids.has(span.parentSpanID));
  const graph = (name, columns) => ({ name, refId, meta: { preferredVisualisationType: "nodeGraph" }, fields: columns });
  return [
    { name: "Trace", refId, meta: { preferredVisualisationType: "trace" }, fields },
    graph("nodes", [
      column("id", "string", "", spans.map((span) => span.spanID)),
      column("title", "string", "", spans.map((span) => span.serviceName)),
      column("subtitle", "string", "", spans.map((span) => span.operationName)),
    ]),
    graph("edges", [
      column("id", "string", "", edges.map((span) => `${span.parentSpanID}--${span.spanID}`)),
      column("target", "string", "", edges.map((span) => span.spanID)),
      column("source", "string", "", edges.map((span) => span.parentSpanID)),
    ]),
  ];
}
