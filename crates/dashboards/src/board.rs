//! The dashboards.

use serde_json::{Value, json};

use crate::link::ONE_CLAIM;
use crate::page;
use crate::panel::{Ask, FRAGMENTED, NO_ROOT, NONE, Panel, UNIFIED, link, over_time, put, table, tempo, text};
use crate::query as ask;

/// What the desk tags its annotations with, and dashboards show.
pub const ANNOTATION_TAG: &str = "insurewatch";
/// The uid of the first dashboard.
const HOME: &str = "iw-home";

/// Which panels a dashboard has, and what may be chosen on it.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The file's stem.
    pub name: &'static str,
    uid: &'static str,
    title: &'static str,
    about: &'static str,
    variables: Vec<Value>,
    /// From when to show, and how often to ask again.
    from: &'static str,
    refresh: &'static str,
    panels: Vec<Panel>,
}

/// Every dashboard.
#[must_use]
pub fn all() -> Vec<Dashboard> {
    vec![home(), one_claim(), propagation(), the_chain(), service_graph(), the_class()]
}

fn home() -> Dashboard {
    let lines = format!(
        "A healthy claim is **one trace**, through every service.\n\n\
         1. **Break it** at the desk, or with `docker compose exec desk insurewatch scenario use lab-1-b3-vs-w3c`.\n\
         2. **See it** here within 5 seconds: work changes from blue (in python-api's trace) to orange or grey (in another).\n\
         3. **Find where:** click a claim below. Ask for every hop: injected? survived transit? extracted? used?\n\
         4. **Fix it** with `scenario set SERVICE KEY=VALUE`, see the bars turn blue, and let `insurewatch check` confirm it.\n\n\
         One trace may still be wrong: [Propagation health](/d/{PROPAGATION}) has what this page cannot show. \
         `docker compose port desk 7700` prints where the desk is."
    );
    Dashboard {
        name: "home",
        uid: HOME,
        title: "Fragmented or unified?",
        about: "Whether each claim is one trace, since when, and links to the traces.",
        variables: vec![lab()],
        from: "now-15m",
        refresh: "2s",
        panels: vec![
            Panel::new(
                "barchart",
                "In whose trace is each service's work?",
                "Requests and messages received in the last 30 seconds, by the service whose span is the root of their trace.",
                "every bar is blue, python-api: all work belongs to the trace that received the claim.",
                "no claim was sent, or no span arrived. Send claims at the desk; then read `docker compose logs otel-collector`.",
            )
            .size(14, 9)
            .ask(&[Ask::Instant(ask::WORK_BY_ROOT)])
            .last("30s")
            .transform("reduce", json!({ "mode": "seriesToRows", "reducers": ["lastNotNull"], "labelsToFields": true }))
            .transform(
                "groupingToMatrix",
                json!({ "columnField": "rootServiceName", "rowField": "resource.service.name", "valueField": "Last *", "emptyValue": "zero" }),
            )
            .transform("renameByRegex", json!({ "regex": "^\"(.+)\"$", "renamePattern": "in $1's trace" }))
            .transform("renameByRegex", json!({ "regex": "^\"\"$", "renamePattern": format!("in a trace with {NO_ROOT}") }))
            .defaults(json!({
                "unit": "short",
                "color": { "mode": "fixed", "fixedColor": FRAGMENTED },
                "custom": { "fillOpacity": 90, "lineWidth": 0, "axisPlacement": "auto" },
                "mappings": [text("^\"(.*)\"$", "$1", None)],
            }))
            .colour("/^in python-api's trace$/", UNIFIED)
            .colour(&format!("/{NO_ROOT}/"), NONE)
            .options(json!({
                "orientation": "horizontal", "stacking": "percent", "showValue": "auto", "barWidth": 0.8, "groupWidth": 0.9,
                "xField": "resource.service.name\\rootServiceName", "fullHighlight": false, "barRadius": 0, "xTickLabelRotation": 0,
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
                "tooltip": { "mode": "multi", "sort": "none" },
            })),
            Panel::new(
                "text",
                "What to do",
                "Where to start.",
                "it always looks the same.",
                "it asks for none.",
            )
            .size(10, 9)
            .options(json!({ "mode": "markdown", "content": lines })),
            over_time(
                "When it broke, and when it was fixed",
                "short",
                "The same work over time, for all services together: in whose trace it is. A line marks changed settings. A dot is an example: click it for its trace.",
                "blue only. Another colour starts when a context was lost, and ends when the fix took effect; old traces stay broken.",
                "no claim was sent in this time; choose a longer range, or send claims.",
            )
            .size(24, 7)
            .ask(&[Ask::Range(ask::WORK_BY_ROOT_ALONE, None)])
            .transform("renameByRegex", json!({ "regex": "^(?!time$)(.*[^\"])$", "renamePattern": "in $1's trace" }))
            .transform("renameByRegex", json!({ "regex": "^(Field \\d+ )?\"\"$", "renamePattern": format!("in a trace with {NO_ROOT}") }))
            .defaults(json!({
                "unit": "short", "min": 0, "noValue": "none",
                "color": { "mode": "fixed", "fixedColor": FRAGMENTED },
                "custom": {
                    "drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0, "showPoints": "never", "barAlignment": 0,
                    "stacking": { "mode": "normal", "group": "A" },
                },
            }))
            .colour("/^in python-api's trace$/", UNIFIED)
            .colour(&format!("/{NO_ROOT}/"), NONE),
            table(
                "The last claims",
                "One row per claim. *Traces* counts the traces with its spans; *Hanging* counts spans whose parent was not received, and spans below such a span. Click a claim for its traces side by side.",
                "every claim says `● unified`, and *Hanging* is 0. A claim of the last second may still be incomplete.",
                "no claim was sent in this time, or none was traced: an exporter cannot reach its endpoint, or a sampler drops the spans.",
            )
            .size(24, 8)
            .ask(&[Ask::Spans(ask::PIECES, 60, 20)])
            .transform("sortBy", json!({ "fields": {}, "sort": [{ "field": "Start time", "desc": true }] }))
            .transform(
                "groupBy",
                json!({ "fields": {
                    "insurewatch.claim.id": { "operation": "groupby", "aggregations": [] },
                    "Start time": { "operation": "aggregate", "aggregations": ["max"] },
                    "traceIdHidden": { "operation": "aggregate", "aggregations": ["distinctCount", "first", "last"] },
                    "Span ID": { "operation": "aggregate", "aggregations": ["count"] },
                } }),
            )
            .transform("limit", json!({ "limitField": "8" }))
            .calculate("Hanging", ["Span ID (count)", "-", "traceIdHidden (distinctCount)"], false)
            .transform(
                "organize",
                json!({
                    "excludeByName": { "Span ID (count)": true },
                    "renameByName": {
                        "insurewatch.claim.id": "Claim", "traceIdHidden (distinctCount)": "Traces", "Start time (max)": "Newest span",
                    },
                    "indexByName": {
                        "Start time (max)": 0, "insurewatch.claim.id": 1, "traceIdHidden (distinctCount)": 2, "Hanging": 3,
                    },
                }),
            )
            .fields("byName", "Claim", &[("links", link("Show its traces side by side", &to_one_claim()))])
            .fields("byName", "Traces", &[
                ("mappings", json!([traces()])),
                ("custom.cellOptions", json!({ "type": "color-text" })),
            ])
            .fields("byName", "Hanging", &[
                ("unit", "suffix:spans".into()),
                ("mappings", json!([
                    { "type": "value", "options": { "0": { "text": "nothing", "color": UNIFIED } } },
                    { "type": "range", "options": { "from": 1, "to": null, "result": { "color": FRAGMENTED } } },
                ])),
                ("custom.cellOptions", json!({ "type": "color-text" })),
            ])
            .fields("byRegexp", "/^traceIdHidden/", &[("custom.hideFrom", json!({ "viz": true, "legend": true, "tooltip": true }))]),
        ],
    }
}

/// A search names the service of a root; where there is none, Tempo says so in its own words.
fn no_root() -> Value {
    text("^(|<root span not yet received>)$", NO_ROOT, Some(NONE))
}

/// In how many traces a claim is; a claim has no more than nine places to break.
fn traces() -> Value {
    let mut options = json!({ "1": { "text": "● unified", "color": UNIFIED } });
    (2..10).for_each(|count: u32| {
        put(&mut options, &count.to_string(), json!({ "text": format!("◐ in {count} traces"), "color": FRAGMENTED }));
    });
    json!({ "type": "value", "options": options })
}

/// *One claim*, from a row with the claim's newest and oldest trace.
fn to_one_claim() -> String {
    let trace = |which: &str| format!("${{__data.fields[\"traceIdHidden ({which})\"]}}");
    format!("/d/{ONE_CLAIM}?var-claim=${{__value.raw}}&var-left={}&var-right={}", trace("last"), trace("first"))
}

fn one_claim() -> Dashboard {
    let show = |side: &str, left: &str, right: &str| {
        json!({
            "title": format!("Show on the {side}"),
            "url": format!("/d/{ONE_CLAIM}?var-claim=${{claim}}&var-left={left}&var-right={right}&${{__url_time_range}}"),
            "targetBlank": false,
        })
    };
    let choose = json!([show("left", "${__value.raw}", "${right}"), show("right", "${left}", "${__value.raw}")]);
    let pick = "no trace is chosen on this side, or it was deleted: click a trace id above.";
    let graph = |title, variable| {
        Panel::new(
            "nodeGraph",
            title,
            "The spans of this trace, and which service called which.",
            "one tree from `POST /claims` of python-api, through every service.",
            pick,
        )
        .size(12, 9)
        .ask(&[Ask::Trace(variable)])
    };
    let spans = |title, variable| {
        Panel::new(
            "traces",
            title,
            "The same trace on its own clock. A unified claim shows the same trace on both sides.",
            "every service, and one root: `POST /claims` of python-api.",
            pick,
        )
        .size(12, 14)
        .ask(&[Ask::Trace(variable)])
    };
    Dashboard {
        name: "one-claim",
        uid: ONE_CLAIM,
        title: "One claim",
        about: "All traces of one claim side by side, and the headers at each of its hops.",
        variables: vec![textbox("claim", "Claim id"), textbox("left", "Trace on the left"), textbox("right", "Trace on the right")],
        from: "now-1h",
        refresh: "",
        panels: vec![
            table(
                "The traces of this claim",
                "Every trace with a span of the claim, found by the claim id that the application itself passes on. Click a trace id to show it on the left or on the right.",
                "one row.",
                "no span of this claim arrived in this time. Check the claim id and the range.",
            )
            .size(24, 5)
            .ask(&[Ask::Traces(ask::TRACES_OF_CLAIM)])
            .fields("byName", "Trace ID", &[("links", choose)])
            .fields("byName", "Service", &[("mappings", json!([no_root()]))]),
            graph("Left: who called whom", "left"),
            graph("Right: who called whom", "right"),
            spans("Left: spans", "left"),
            spans("Right: spans", "right"),
            table(
                "Headers at each hop",
                "What each sender (client, producer) sent and each receiver (server, consumer) received, in order. No header at the sender: not injected. At the sender only: lost in transit. At both, and the receiver is in another trace: not extracted, or not used.",
                "at every hop both sides show the same traceparent, and the trace that it names is the receiver's.",
                "no span of this claim arrived in this time. Check the claim id and the range.",
            )
            .size(24, 11)
            .ask(&[Ask::Spans(ask::HEADERS_OF_CLAIM, 50, 50)])
            .transform("sortBy", json!({ "fields": {}, "sort": [{ "field": "Start time", "desc": false }] }))
            .transform(
                "organize",
                json!({
                    "excludeByName": { "Span ID": true, "Trace Service": true, "Trace Name": true, "insurewatch.claim.id": true },
                    "renameByName": { "service.name": "Service", "Name": "Span", "kind": "Kind", "traceIdHidden": "In trace" },
                    "indexByName": { "Start time": 0, "service.name": 1, "Name": 2, "kind": 3, "traceIdHidden": 4 },
                }),
            )
            .transform("renameByRegex", json!({ "regex": "^http\\.request\\.header\\.(.*)$", "renamePattern": "$1" }))
            .transform("renameByRegex", json!({ "regex": "^messaging\\.header\\.(.*)$", "renamePattern": "$1 (message)" }))
            .fields("byName", "In trace", &[
                ("custom.hideFrom", json!({ "viz": false })),
                ("mappings", json!([text("^(.{8}).*$", "$1…", None)])),
                ("custom.width", json!(110)),
            ]),
        ],
    }
}

const PROPAGATION: &str = "iw-propagation";

fn propagation() -> Dashboard {
    let cut_off = "nothing is cut off. While claims are sent, a healthy chain looks like this.";
    let minute = Some("1m");
    Dashboard {
        name: "propagation-health",
        uid: PROPAGATION,
        title: "Propagation health",
        about: "Whether context and baggage reach every service: roots, complete claims, spans without their parent.",
        variables: vec![lab()],
        from: "now-15m",
        refresh: "5s",
        panels: vec![
            over_time(
                "Root spans by service",
                "reqps",
                "Traces that start at each service, per second.",
                "python-api only. Another service starts its own traces: its caller's context did not reach it.",
                "no trace started in this time. Send claims at the desk.",
            )
            .ask(&[Ask::Range(ask::ROOTS, None)])
            .service_colours(),
            Panel::new(
                "stat",
                "Complete claims, last minute",
                "Of the traces that start with POST /claims, the share that reaches the policy store, the worker, and java-claims again.",
                "100 %. A control that exports late or samples out lowers it too; claims of the last second are still incomplete.",
                "`no claims yet`: send claims at the desk.",
            )
            .size(6, 8)
            .ask(&[Ask::Instant(ask::CLAIMS), Ask::Instant(ask::COMPLETE_CLAIMS)])
            .last("1m")
            .transform("renameByRegex", json!({ "regex": "^python-api$", "renamePattern": "claims" }))
            .transform("renameByRegex", json!({ "regex": "^/claims$", "renamePattern": "complete" }))
            .transform("reduce", json!({ "mode": "seriesToRows", "reducers": ["lastNotNull"] }))
            .transform("transpose", json!({ "firstFieldName": "", "restFieldsName": "" }))
            // Where no claim is complete there is no such series: its sum over nothing is 0.
            .transform(
                "calculateField",
                json!({ "mode": "reduceRow", "alias": "of them complete", "replaceFields": false, "reduce": { "reducer": "sum", "include": ["complete"] } }),
            )
            .calculate("share", ["of them complete", "/", "claims"], true)
            .defaults(json!({
                "unit": "percentunit", "min": 0, "max": 1, "decimals": 0, "noValue": "no claims yet",
                "color": { "mode": "thresholds" },
                "thresholds": { "mode": "absolute", "steps": [{ "value": null, "color": FRAGMENTED }, { "value": 0.95, "color": UNIFIED }] },
            }))
            .options(json!({
                "reduceOptions": { "values": false, "calcs": ["lastNotNull"], "fields": "" },
                "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
                "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
            })),
            over_time(
                "Claims and complete claims",
                "short",
                "The two numbers behind the share, per minute.",
                "both lines are the same.",
                "no claim was sent in this time. Send claims at the desk.",
            )
            .size(6, 8)
            .ask(&[Ask::Range(ask::CLAIMS, minute), Ask::Range(ask::COMPLETE_CLAIMS, minute)])
            .transform("renameByRegex", json!({ "regex": "^python-api$", "renamePattern": "claims" }))
            .transform("renameByRegex", json!({ "regex": "^/claims$", "renamePattern": "complete claims" }))
            .colour("/^claims$/", NONE)
            .colour("/^complete claims$/", UNIFIED),
            over_time(
                "Fragments by service and span",
                "short",
                "Traces that do not start at the front door. The span shows which work was cut off: a `POST /api/claims` lost its caller, a `write_audit` its task, a `process claims` its message.",
                "no data.",
                cut_off,
            )
            .ask(&[Ask::Range(ask::FRAGMENTS, Some("30s"))])
            .legend("name", "resource.service.name", "$2, $1")
            .service_colours(),
            over_time(
                "Servers whose parent was not received",
                "short",
                "Requests whose parent, or a span above it, was not received, although their trace may have a root. Something between the services continued the trace and exported nothing, or an exporter cannot reach its endpoint.",
                "no data, except for claims of the last second.",
                cut_off,
            )
            .ask(&[Ask::Range(ask::ORPHANS, Some("30s"))])
            .legend("name", "resource.service.name", "$2, $1")
            .service_colours(),
            table(
                "Newest broken claims",
                "Spans of a claim that start a new trace, or whose parent was not received. Click the claim id for all of its traces.",
                "no rows.",
                cut_off,
            )
            .size(12, 9)
            .ask(&[Ask::Spans(ask::BROKEN_CLAIMS, 20, 20)])
            .transform("sortBy", json!({ "fields": {}, "sort": [{ "field": "Start time", "desc": true }] }))
            .transform(
                "groupBy",
                json!({ "fields": {
                    "insurewatch.claim.id": { "operation": "groupby", "aggregations": [] },
                    "service.name": { "operation": "aggregate", "aggregations": ["uniqueValues"] },
                    "Name": { "operation": "aggregate", "aggregations": ["uniqueValues"] },
                    "traceIdHidden": { "operation": "aggregate", "aggregations": ["first", "last"] },
                } }),
            )
            .transform(
                "organize",
                json!({ "renameByName": {
                    "insurewatch.claim.id": "Claim", "service.name (uniqueValues)": "Services", "Name (uniqueValues)": "Spans",
                } }),
            )
            .fields("byName", "Claim", &[("links", link("All traces of this claim", &to_one_claim()))])
            .fields("byRegexp", "/^traceIdHidden/", &[("custom.hideFrom", json!({ "viz": true, "legend": true, "tooltip": true }))]),
            table(
                "Traces whose root was not received",
                "Traces of which only the middle arrived: a span names a parent that was not received, and no span is a root.",
                "no rows, except for claims of the last second.",
                cut_off,
            )
            .size(12, 9)
            .ask(&[Ask::Traces(ask::ROOTLESS)])
            .fields("byName", "Service", &[("mappings", json!([no_root()]))]),
            over_time(
                "Work without a tenant",
                "short",
                "Requests and messages whose receiver read no `tenant.id` from baggage. Baggage was not sent, not read, or lost with the context. A claim that is sent without baggage shows here too.",
                "no data.",
                "every service knows the tenant.",
            )
            .ask(&[Ask::Range(ask::WITHOUT_TENANT, Some("30s"))])
            .service_colours(),
            table(
                "Baggage that leaves the company",
                "Baggage that claims-worker sent to fraud-partner, a third party.",
                "no rows: the worker sends it the trace context, but no baggage.",
                "nothing leaks.",
            )
            .ask(&[Ask::Spans(ask::BAGGAGE_OUT, 10, 1)])
            .transform(
                "organize",
                json!({
                    "excludeByName": {
                        "traceIdHidden": true, "Trace Service": true, "Trace Name": true, "Span ID": true, "kind": true,
                        "deployment.environment.name": true, "Duration": true,
                    },
                    "indexByName": { "Start time": 0, "service.name": 1, "Name": 2, "http.request.header.baggage": 3 },
                    "renameByName": { "service.name": "Service", "Name": "Span", "http.request.header.baggage": "baggage" },
                }),
            ),
            Panel::new("text", "Ask for yourself", "Saved queries, each a link to Explore.", "it always looks the same.", "it asks for none.")
                .size(24, 6)
                .options(json!({ "mode": "markdown", "content": page::saved_queries("") })),
        ],
    }
}

fn the_chain() -> Dashboard {
    let silent = "no request arrived in this time. Send claims at the desk.";
    let method = ["resource.service.name", "span.http.request.method"];
    Dashboard {
        name: "the-chain",
        uid: "iw-chain",
        title: "The chain",
        about: "Metrics of requests. They hardly change when a trace breaks.",
        variables: vec![lab()],
        from: "now-15m",
        refresh: "5s",
        panels: vec![
            over_time(
                "Rate by service",
                "reqps",
                "Requests and messages received, per second.",
                "all move together; java-claims has twice as many, because the worker reports back to it. A service that is missing while claims are accepted exports nothing.",
                silent,
            )
            .size(8, 8)
            .ask(&[Ask::Range(ask::RECEIVED, None)])
            .service_colours(),
            over_time(
                "Errors by service",
                "reqps",
                "Spans with an error, per second.",
                "no data. A broken trace is not an error: most scenarios cause none, so they are hard to notice.",
                "no span has an error.",
            )
            .size(8, 8)
            .ask(&[Ask::Range(ask::ERRORS, None)])
            .service_colours(),
            over_time(
                "Duration by service, 95th percentile",
                "s",
                "How long requests take at their receiver.",
                "milliseconds. It does not change when a trace breaks.",
                silent,
            )
            .size(8, 8)
            .ask(&[Ask::Range(ask::DURATION, None)])
            .legend("p", "resource.service.name", "$2")
            .service_colours(),
            over_time(
                "Calls and messages by sender",
                "reqps",
                "Calls over HTTP and messages that leave each service, per second.",
                "every line at the rate of claims. A line that is missing while claims are accepted belongs to a client that creates no spans.",
                silent,
            )
            .ask(&[Ask::Range(ask::CALLS, None), Ask::Range(ask::MESSAGES, None)])
            .legend(method[0], method[1], "$1, $2")
            .legend("resource.service.name", "span.messaging.destination.name", "$1, message to $2")
            .service_colours(),
            over_time(
                "Duration by call, 95th percentile",
                "s",
                "How long calls take, seen by the caller.",
                "milliseconds, and never shorter than the same request at its receiver.",
                silent,
            )
            .ask(&[Ask::Range(ask::CALL_DURATION, None)])
            .transform("renameByRegex", json!({
                "regex": "^\\{p=.*, resource\\.service\\.name=\"(.*?)\", span\\.http\\.request\\.method=\"(.*?)\"\\}$",
                "renamePattern": "$1, $2",
            }))
            .service_colours(),
        ],
    }
}

fn service_graph() -> Dashboard {
    let mut panel = Panel::new(
        "nodeGraph",
        "Service graph",
        "Which service calls which, from pairs of client and server spans, over the complete range and all labs.",
        "one chain. A lost context removes an edge.",
        "this needs Prometheus: `TEMPO_PROCESSORS='[service-graphs,span-metrics]' docker compose --profile metrics up --detach`.",
    )
    .size(24, 16);
    put(&mut panel.json, "datasource", tempo());
    put(
        &mut panel.json,
        "targets",
        json!([{ "refId": "A", "datasource": tempo(), "queryType": "serviceMap", "query": "" }]),
    );
    Dashboard {
        name: "service-graph",
        uid: "iw-service-graph",
        title: "Service graph (profile metrics)",
        about: "The metrics that Tempo derives from spans. Only with the profile metrics.",
        variables: vec![],
        from: "now-15m",
        refresh: "",
        panels: vec![panel],
    }
}

fn the_class() -> Dashboard {
    let lab_label = "resource.deployment.environment.name";
    let table = table(
        "Every lab, last minute",
        "One row per lab: claims per minute, the share of them that is one complete trace, and how many traces began at each service.",
        "100 %, and a number only below python-api. A number below another service: that service starts new traces.",
        "no lab sent a span within the last minute.",
    )
    .size(24, 14)
    .ask(&[Ask::Instant(ask::ROOTS_BY_LAB), Ask::Instant(ask::COMPLETE_BY_LAB)])
    .last("1m")
    .transform("reduce", json!({ "mode": "seriesToRows", "reducers": ["lastNotNull"], "labelsToFields": true }))
    .transform(
        "groupingToMatrix",
        json!({ "columnField": "resource.service.name", "rowField": lab_label, "valueField": "Last *", "emptyValue": "zero" }),
    )
    .transform("renameByRegex", json!({ "regex": "^\"(.*)\"$", "renamePattern": "$1" }))
        // Complete claims are not counted by service: theirs is the column without a name.
        .transform("renameByRegex", json!({ "regex": "^Value$", "renamePattern": "complete" }))
        .transform(
        "calculateField",
        json!({ "mode": "reduceRow", "alias": "of them complete", "replaceFields": false, "reduce": { "reducer": "sum", "include": ["complete"] } }),
    )
    .calculate("Complete", ["of them complete", "/", "python-api"], false)
    .transform(
        "organize",
        json!({
            "excludeByName": { "complete": true, "of them complete": true },
            "renameByName": {
                "resource.deployment.environment.name\\resource.service.name": "Lab", "python-api": "Claims per minute (python-api begins traces)",
                "java-claims": "java-claims begins traces", "node-policy-store": "node-policy-store begins traces",
                "claims-worker": "claims-worker begins traces",
            },
            "indexByName": { "resource.deployment.environment.name\\resource.service.name": 0, "python-api": 1, "Complete": 2 },
        }),
    )
    .fields("byName", "Lab", &[("mappings", json!([text("^\"(.*)\"$", "$1", None)]))])
    .fields("byName", "Complete", &[
        ("unit", "percentunit".into()),
        ("decimals", json!(0)),
        ("color", json!({ "mode": "thresholds" })),
        ("thresholds", json!({ "mode": "absolute", "steps": [{ "value": null, "color": FRAGMENTED }, { "value": 0.95, "color": UNIFIED }] })),
        ("custom.cellOptions", json!({ "type": "color-text" })),
    ]);
    let since = Panel::new(
        "state-timeline",
        "Since when",
        "One row per lab: whether some work of its claims was below another span than the one that received the claim.",
        "no row at all: a lab that never broke in this time has none. A row starts, or changes to `broken`, when its lab broke; it changes to `complete` when it was fixed. Controls that split traces by design count as broken.",
        "no lab was broken in this time, or none sent claims.",
    )
    .size(24, 14)
    .ask(&[Ask::Range(ask::DETACHED_BY_LAB, Some("15s"))])
    .defaults(json!({
        "noValue": "no spans", "color": { "mode": "thresholds" }, "custom": { "fillOpacity": 80, "lineWidth": 0 },
        "thresholds": { "mode": "absolute", "steps": [{ "value": null, "color": UNIFIED }, { "value": 1, "color": FRAGMENTED }] },
        "mappings": [
            { "type": "value", "options": { "0": { "text": "complete", "color": UNIFIED } } },
            { "type": "range", "options": { "from": 0.000_001, "to": null, "result": { "text": "broken", "color": FRAGMENTED } } },
        ],
    }))
    .options(json!({
        "mergeValues": true, "showValue": "auto", "rowHeight": 0.9, "alignValue": "left", "perPage": 40,
        "legend": { "displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": [] },
        "tooltip": { "mode": "single", "sort": "none" },
    }));
    Dashboard {
        name: "the-class",
        uid: "iw-class",
        title: "The class",
        about: "For the instructor: the state of every lab that sends to this Tempo.",
        variables: vec![],
        from: "now-1h",
        refresh: "10s",
        panels: vec![table, since],
    }
}

/// Which lab, of those that share this Tempo.
fn lab() -> Value {
    json!({
        "type": "query",
        "name": "lab",
        "label": "Lab",
        "datasource": tempo(),
        "query": { "type": 1, "label": ask::LAB_ATTRIBUTE, "refId": "lab" },
        "refresh": 2,
        "sort": 1,
        "includeAll": true,
        "allValue": ".*",
        "multi": false,
        "current": { "text": "All", "value": "$__all" },
        "options": [],
        "hide": 0,
    })
}

fn textbox(name: &str, label: &str) -> Value {
    json!({
        "type": "textbox", "name": name, "label": label, "query": "", "hide": 0, "skipUrlSync": false,
        "current": { "text": "", "value": "" },
        "options": [{ "text": "", "value": "", "selected": true }],
    })
}

// === impl Dashboard ===

impl Dashboard {
    /// As Grafana reads it, with a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let grafana = json!({ "type": "grafana", "uid": "-- Grafana --" });
        let dashboard = json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["insurewatch"],
            "timezone": "browser",
            "schemaVersion": 41,
            "editable": true,
            "graphTooltip": 1,
            "time": { "from": self.from, "to": "now" },
            "refresh": self.refresh,
            // By itself Grafana offers none below 5 s.
            "timepicker": { "refresh_intervals": ["2s", "5s", "10s", "30s", "1m", "5m"] },
            "links": [{
                "type": "dashboards", "title": "InsureWatch", "tags": ["insurewatch"], "asDropdown": false,
                "includeVars": false, "keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": "", "url": "",
            }],
            "annotations": { "list": [{
                "name": "Settings changed", "datasource": grafana, "enable": true, "iconColor": NONE,
                "target": { "type": "tags", "tags": [ANNOTATION_TAG], "matchAny": true, "limit": 100 },
            }] },
            "templating": { "list": self.variables },
            "panels": self.placed(),
        });
        format!("{dashboard:#}\n")
    }

    /// The panels from left to right, then below.
    fn placed(&self) -> Vec<Value> {
        let (mut x, mut y, mut row) = (0, 0, 0);
        let place = |(at, panel): (usize, &Panel)| {
            if x + panel.width > 24 {
                (x, y, row) = (0, y + row, 0);
            }
            let mut json = panel.json.clone();
            put(&mut json, "id", (at + 1).into());
            put(&mut json, "gridPos", json!({ "x": x, "y": y, "w": panel.width, "h": panel.height }));
            x += panel.width;
            row = row.max(panel.height);
            json
        };
        self.panels.iter().enumerate().map(place).collect()
    }
}
