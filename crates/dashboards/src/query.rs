//! The queries, in TraceQL. Tempo evaluates them trace by trace: only the claim id joins two traces of one claim.

/// Keeps labs apart that share one Tempo; `lab` is a variable of each dashboard.
macro_rules! in_lab {
    () => {
        r#"resource.deployment.environment.name =~ "${lab}""#
    };
}

/// The resource attribute that tells labs apart.
pub const LAB_ATTRIBUTE: &str = "deployment.environment.name";

/// Not a trace that a claim or a question at the front door begins; `GET /policies/:id` is neither.
macro_rules! not_at_the_front_door {
    () => {
        r#"name != "POST /claims" && name !~ "GET /claims/.*""#
    };
}

/// A root span that is none of the front door.
macro_rules! fragment_root {
    () => {
        concat!("nestedSetParent < 0 && ", not_at_the_front_door!())
    };
}

/// A request or message received.
macro_rules! received {
    () => {
        "(kind = server || kind = consumer)"
    };
}

/// In whose trace the work of each service is.
pub const WORK_BY_ROOT: &str = concat!(
    "{ ",
    received!(),
    " && ",
    in_lab!(),
    " } | count_over_time() by (resource.service.name, trace:rootService)"
);
/// The same without telling services apart, so that it can be drawn over time.
pub const WORK_BY_ROOT_ALONE: &str =
    concat!("{ ", received!(), " && ", in_lab!(), " } | count_over_time() by (trace:rootService)");
/// Where each claim's spans hang on nothing: its roots, and spans whose parent is not there.
pub const PIECES: &str = concat!(
    "{ nestedSetParent < 1 && span.insurewatch.claim.id != nil && ",
    in_lab!(),
    " } | select(span.insurewatch.claim.id) with (most_recent=true)"
);

/// All traces of the claim that the dashboard is about.
pub const TRACES_OF_CLAIM: &str = r#"{ span.insurewatch.claim.id = "${claim}" }"#;
/// What every sender sent and every receiver received for one claim: no database, no work inside a service.
pub const HEADERS_OF_CLAIM: &str = concat!(
    r#"{ span.insurewatch.claim.id = "${claim}" && kind != internal } && "#,
    r#"{ kind != internal && name !~ "(SELECT|INSERT|UPDATE) .*" } | select(name, kind, resource.service.name, "#,
    "span.http.request.header.traceparent, span.http.request.header.tracestate, span.http.request.header.b3, ",
    "span.http.request.header.x-b3-traceid, span.http.request.header.uber-trace-id, span.http.request.header.baggage, ",
    "span.messaging.header.traceparent, span.messaging.header.b3, span.messaging.header.baggage)"
);

/// Where traces begin.
pub const ROOTS: &str = concat!("{ nestedSetParent < 0 && ", in_lab!(), " } | rate() by (resource.service.name)");
/// Claims that came in.
pub const CLAIMS: &str = concat!(
    r#"{ nestedSetParent < 0 && resource.service.name = "python-api" && name = "POST /claims" && "#,
    in_lab!(),
    " } | count_over_time() by (resource.service.name)"
);
/// Claims whose one trace reaches the policy store, the worker, and java-claims again.
macro_rules! complete {
    () => {
        concat!(
            r#"(({ name = "PUT /api/claims/{id}/fraud-check" && kind = server && "#,
            in_lab!(),
            r#" } << { nestedSetParent < 0 && name = "POST /claims" }) && "#,
            r#"({ resource.service.name = "node-policy-store" && kind = server } << "#,
            r#"{ nestedSetParent < 0 && name = "POST /claims" }))"#
        )
    };
}
/// Those of the claims that are complete.
pub const COMPLETE_CLAIMS: &str = concat!(complete!(), " | count_over_time() by (span.http.route)");
/// Work that begins its own trace.
pub const FRAGMENTS: &str =
    concat!("{ ", fragment_root!(), " && ", in_lab!(), " } | count_over_time() by (resource.service.name, name)");
/// Requests whose sender's span is not there.
pub const ORPHANS: &str = concat!(
    "{ nestedSetParent = 0 && kind = server && ",
    in_lab!(),
    " } | count_over_time() by (resource.service.name, name)"
);
/// Traces of which only the middle arrived.
pub const ROOTLESS: &str = concat!(r#"{ trace:rootService = "" && "#, in_lab!(), " } with (most_recent=true)");
/// Spans of claims that are cut off from the front door. Tempo 3.0 reads a condition on `nestedSetParent` inside an `||`
/// as true, so there is none.
pub const BROKEN_CLAIMS: &str = concat!(
    "{ nestedSetParent < 1 && ",
    not_at_the_front_door!(),
    " && span.insurewatch.claim.id != nil && ",
    in_lab!(),
    " } | select(span.insurewatch.claim.id, resource.service.name) with (most_recent=true)"
);
/// Work that does not know for which tenant it is done.
pub const WITHOUT_TENANT: &str = concat!(
    "{ ",
    received!(),
    r#" && resource.service.name != "python-api" && span.tenant.id = nil && "#,
    in_lab!(),
    " } | count_over_time() by (resource.service.name)"
);
/// Baggage that leaves the company: the worker's POST goes to the third party.
pub const BAGGAGE_OUT: &str = concat!(
    r#"{ kind = client && resource.service.name = "claims-worker" && name = "POST" && span.http.request.header.baggage != nil && "#,
    in_lab!(),
    " } | select(span.http.request.header.baggage) with (most_recent=true)"
);

/// Requests and messages received.
pub const RECEIVED: &str = concat!("{ ", received!(), " && ", in_lab!(), " } | rate() by (resource.service.name)");
/// Spans with an error.
pub const ERRORS: &str = concat!("{ status = error && ", in_lab!(), " } | rate() by (resource.service.name)");
/// How long requests take at their receiver.
pub const DURATION: &str =
    concat!("{ ", received!(), " && ", in_lab!(), " } | quantile_over_time(duration, .95) by (resource.service.name)");
/// Calls over HTTP, by where they go.
pub const CALLS: &str = concat!(
    "{ kind = client && span.server.address != nil && ",
    in_lab!(),
    " } | rate() by (resource.service.name, span.http.request.method)"
);
/// Messages, by where they go.
pub const MESSAGES: &str = concat!(
    "{ kind = producer && ",
    in_lab!(),
    " } | rate() by (resource.service.name, span.messaging.destination.name)"
);
/// How long calls take, seen by the caller.
pub const CALL_DURATION: &str = concat!(
    "{ kind = client && span.server.address != nil && ",
    in_lab!(),
    " } | quantile_over_time(duration, .95) by (resource.service.name, span.http.request.method)"
);

/// Where traces begin, lab by lab.
pub const ROOTS_BY_LAB: &str =
    "{ nestedSetParent < 0 } | count_over_time() by (resource.deployment.environment.name, resource.service.name)";
/// Complete claims, lab by lab.
pub const COMPLETE_BY_LAB: &str = concat!(
    r#"(({ name = "PUT /api/claims/{id}/fraud-check" && kind = server } << { nestedSetParent < 0 && name = "POST /claims" }) && "#,
    r#"({ resource.service.name = "node-policy-store" && kind = server } << { nestedSetParent < 0 && name = "POST /claims" }))"#,
    " | count_over_time() by (resource.deployment.environment.name, span.http.route)"
);
/// Work of claims that is not below the span with which they came in, lab by lab.
pub const DETACHED_BY_LAB: &str = concat!(
    r#"{ nestedSetParent < 0 && name = "POST /claims" } !>> { name = "write_audit" || name = "notify_claimant" || "#,
    r#"(kind = server && (name = "GET /policies/:id" || name = "PUT /api/claims/{id}/fraud-check")) }"#,
    " | count_over_time() by (resource.deployment.environment.name)"
);

/// A query worth keeping, for Explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The question that it answers.
    pub question: &'static str,
    /// The query.
    pub query: &'static str,
    /// How a search is shown.
    pub table: Table,
}

/// What a search is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// A row per trace.
    Traces,
    /// A row per span.
    Spans,
}

/// The saved queries of `docs/docker.md` and of the dashboards.
pub const SAVED: &[Saved] = &[
    Saved {
        question: "Which services start traces?",
        query: "{ nestedSetParent < 0 } | rate() by (resource.service.name)",
        table: Table::Traces,
    },
    Saved {
        question: "Which traces start where they should not?",
        query: concat!("{ ", fragment_root!(), " }"),
        table: Table::Traces,
    },
    Saved {
        question: "Which traces have spans of claims?",
        query: "{ span.insurewatch.claim.id != nil } | select(span.insurewatch.claim.id) with (most_recent=true)",
        table: Table::Spans,
    },
    Saved {
        question: "Who sends B3?",
        query: "{ kind = client && span.http.request.header.b3 != nil }",
        table: Table::Traces,
    },
    Saved {
        question: "What did java-claims receive?",
        query: concat!(
            r#"{ kind = server && resource.service.name = "java-claims" } | "#,
            "select(span.http.request.header.traceparent, span.http.request.header.b3)"
        ),
        table: Table::Spans,
    },
];

// === impl Table ===

impl Table {
    /// As the Tempo data source spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Spans => "spans",
        }
    }
}
