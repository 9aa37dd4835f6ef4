//! A small chain of pure functions, and a model of where its claims break: what diagnose finds must be what the model says.
//!
//! The simulator makes the spans that real services would make. The model never looks at a span.

use std::collections::{BTreeMap, BTreeSet};

use chain::{SpanKind, Step, Topology};
use evidence::span::CLAIM_ID;
use evidence::{ClaimEvidence, Collected, Finding, Outcome, Reading, Span};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::*;

const SECRET: &str = "user.session_token";

/// What `OTEL_PROPAGATORS` may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    TraceContext,
    Baggage,
    B3,
    B3Multi,
    Jaeger,
    XRay,
}
use Name::{B3, B3Multi, Baggage, Jaeger, TraceContext, XRay};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BareAudit,
    GatewayStrips,
    GatewayBeginsAnew,
    GatewayContinues,
    GatewayDropsState,
    LegacyB3,
    LateParent,
    SamplersDiffer,
    /// A control: not a break.
    FrontDoorLost,
    BareLookup,
    BareCompletion,
    StaleCompletion,
    PlainLookup,
    HandBuiltLookup,
    Bloat,
    NoAttributes,
    ConsumerIgnores,
    /// A control: not a break.
    BatchLinks,
    BareReport,
    Leak,
    PlainReport,
}

const FAULTS: [Fault; 21] = [
    Fault::BareAudit,
    Fault::GatewayStrips,
    Fault::GatewayBeginsAnew,
    Fault::GatewayContinues,
    Fault::GatewayDropsState,
    Fault::LegacyB3,
    Fault::LateParent,
    Fault::SamplersDiffer,
    Fault::FrontDoorLost,
    Fault::BareLookup,
    Fault::BareCompletion,
    Fault::StaleCompletion,
    Fault::PlainLookup,
    Fault::HandBuiltLookup,
    Fault::Bloat,
    Fault::NoAttributes,
    Fault::ConsumerIgnores,
    Fault::BatchLinks,
    Fault::BareReport,
    Fault::Leak,
    Fault::PlainReport,
];

#[derive(Clone, Debug)]
pub(crate) struct World {
    front: Vec<Name>,
    claims: Vec<Name>,
    policies: Vec<Name>,
    worker: Vec<Name>,
    faults: Vec<Fault>,
}

type Headers = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
struct Ids {
    trace: u128,
    span: u64,
    sampled: bool,
}

#[derive(Clone, Debug, Default)]
struct Cx {
    active: Option<Ids>,
    baggage: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Run {
    spans: Vec<Span>,
    next: u64,
    outside: Headers,
    answer: String,
}

/// What a service records on its span.
trait Record {
    fn set(&mut self, key: &str, value: &str) -> &mut Self;
    fn record(&mut self, carrier: &str, headers: &Headers) -> &mut Self;
}

// === impl Fault ===

impl Fault {
    fn place(self) -> &'static str {
        match self {
            Self::BareAudit => "python-api",
            Self::GatewayStrips | Self::GatewayBeginsAnew | Self::GatewayContinues | Self::GatewayDropsState => GATEWAY,
            Self::LegacyB3 | Self::LateParent | Self::SamplersDiffer | Self::FrontDoorLost => GATEWAY,
            Self::BareLookup | Self::BareCompletion | Self::StaleCompletion => "java-claims",
            Self::PlainLookup | Self::HandBuiltLookup | Self::Bloat => LOOKUP,
            Self::NoAttributes | Self::ConsumerIgnores | Self::BatchLinks => QUEUE,
            Self::BareReport => "claims-worker",
            Self::Leak => PARTNER,
            Self::PlainReport => REPORTING,
        }
    }
}

// === impl World ===

impl World {
    fn standard(faults: &[Fault]) -> Self {
        let list = || vec![TraceContext, Baggage];
        Self { front: list(), claims: list(), policies: list(), worker: list(), faults: faults.to_vec() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether the faults can show: a gateway that writes `traceparent` is only in the way of one, a legacy client only
    /// adds B3 where there is none, and two controls at once are nobody's lesson.
    fn is_lesson(&self) -> bool {
        let places: BTreeSet<_> = self.faults.iter().map(|fault| fault.place()).collect();
        let writes = [Fault::GatewayBeginsAnew, Fault::GatewayContinues, Fault::GatewayDropsState];
        let nothing_to_write = !self.front.contains(&TraceContext) && writes.into_iter().any(|fault| self.has(fault));
        let b3_already = self.has(Fault::LegacyB3) && families(&self.front).contains(&B3);
        let two_controls = self.has(Fault::FrontDoorLost) && self.has(Fault::BatchLinks);
        let cannot_show = [places.len() < self.faults.len(), nothing_to_write, b3_already, two_controls];
        !cannot_show.contains(&true)
    }

    /// Where the claim breaks first, and at which step.
    fn model(&self) -> Option<(&'static str, Option<Step>)> {
        use Step::{Extract, Inject, Transit, Use};
        let Self { front, claims, policies, worker, .. } = self;
        let carries = |list: &[Name]| list.contains(&Baggage);
        let unseen = self.has(Fault::FrontDoorLost) || self.has(Fault::SamplersDiffer);
        let gateway =
            [Fault::GatewayStrips, Fault::GatewayBeginsAnew, Fault::GatewayContinues, Fault::GatewayDropsState];
        let known = carries(front) && carries(claims);

        if self.has(Fault::BareAudit) && !unseen {
            return Some(("python-api", Some(Use)));
        }
        let at_gateway = match () {
            () if families(front).is_empty() => Some(Inject),
            () if gateway.into_iter().any(|fault| self.has(fault)) => Some(Transit),
            () if self.has(Fault::LegacyB3) && self.legacy_wins() => Some(Extract),
            () if !understands(claims, front) => Some(Extract),
            // That the context was read shows only by its baggage.
            () if self.has(Fault::LateParent) => Some(if known { Use } else { Extract }),
            () if self.has(Fault::SamplersDiffer) => Some(Use),
            // Beside B3, Jaeger and X-Ray alone there is no place for baggage, so nothing was forgotten.
            () if !carries(front) && front.contains(&TraceContext) && !unseen => Some(Inject),
            () if carries(front) && !carries(claims) && !unseen => Some(Extract),
            () => None,
        };
        if at_gateway.is_some() {
            return Some((GATEWAY, at_gateway));
        }
        if [Fault::BareLookup, Fault::BareCompletion, Fault::StaleCompletion].into_iter().any(|fault| self.has(fault)) {
            return Some(("java-claims", Some(Use)));
        }
        let bloated = self.has(Fault::Bloat);
        let at_lookup = match () {
            () if self.has(Fault::PlainLookup) => Some(Inject),
            () if self.has(Fault::HandBuiltLookup) => Some(Extract),
            () if families(claims).is_empty() => Some(Inject),
            () if !understands(policies, claims) => Some(Extract),
            () if known && (bloated || !carries(policies)) => Some(Extract),
            () => None,
        };
        if at_lookup.is_some() {
            return Some((LOOKUP, at_lookup));
        }
        let at_queue = match () {
            () if self.has(Fault::NoAttributes) || families(claims).is_empty() => Some(Inject),
            () if self.has(Fault::ConsumerIgnores) || !understands(worker, claims) => Some(Extract),
            () if known && (bloated || !carries(worker)) => Some(Extract),
            () => None,
        };
        if at_queue.is_some() {
            return Some((QUEUE, at_queue));
        }
        if self.has(Fault::BareReport) {
            return Some(("claims-worker", Some(Use)));
        }
        // Who understood the message is understood in turn: the lists are the same.
        if self.has(Fault::PlainReport) {
            return Some((REPORTING, Some(Inject)));
        }
        // What was lost goes before what leaked.
        (self.has(Fault::Leak) && known && carries(worker)).then_some((PARTNER, None))
    }

    fn legacy_wins(&self) -> bool {
        let mut arrived = families(&self.front);
        arrived.insert(B3);
        self.claims.iter().rev().map(|name| family(*name)).find(|name| arrived.contains(name)) == Some(B3)
    }

    fn outcome(&self) -> Outcome {
        match self.model() {
            Some((_, None)) => Outcome::Leaking,
            Some(_) => Outcome::Broken,
            None if self.has(Fault::FrontDoorLost) || self.has(Fault::BatchLinks) => Outcome::NotAPropagationBreak,
            None => Outcome::Healthy,
        }
    }

    pub(crate) fn run(&self) -> Collected {
        let mut run = Run::default();
        self.front_door(&mut run);
        let unseen = self.has(Fault::FrontDoorLost) || self.has(Fault::SamplersDiffer);
        run.spans.retain(|span| !unseen || span.service != "python-api");
        let outside = run.outside.into_iter().map(|(name, value)| (name, vec![value])).collect();
        let collected = Collected { evidence: ClaimEvidence::from_spans(CLAIM, run.spans), ..Collected::default() };
        collected.with_traceresponse(Some(run.answer)).with_third_party(Some(outside))
    }

    fn front_door(&self, run: &mut Run) {
        let mut door = Cx::default();
        door.baggage.insert(TENANT.to_owned(), "acme".to_owned());
        if self.has(Fault::Leak) {
            door.baggage.insert(SECRET.to_owned(), "FAKE".to_owned());
        }
        let sampled = !self.has(Fault::SamplersDiffer);
        let front = run.start("python-api", SpanKind::Server, "POST /claims", &door, sampled).receives(run, &[]);
        let ids = front.active.unwrap();
        run.answer = traceparent(ids.trace, ids.span, u8::from(ids.sampled));

        let call = run.start("python-api", SpanKind::Client, "POST", &front, sampled);
        let mut headers = inject(&self.front, &call);
        if self.has(Fault::LegacyB3) {
            headers.insert("b3".to_owned(), format!("{:032x}-{:016x}-1", 0xbad, 0xbad));
        }
        if self.has(Fault::GatewayDropsState) {
            headers.insert("tracestate".to_owned(), "acme=1".to_owned());
        }
        run.calls(&call, &headers, "http://gateway/api/claims");
        self.claims(run, &self.through_gateway(headers));
        let audit = if self.has(Fault::BareAudit) { Cx::default() } else { front };
        run.inside("python-api", "write_audit", &audit, sampled);
    }

    fn through_gateway(&self, mut headers: Headers) -> Headers {
        if self.has(Fault::GatewayStrips) {
            headers.clear();
        }
        if self.has(Fault::GatewayDropsState) {
            headers.remove("tracestate");
        }
        if self.has(Fault::GatewayBeginsAnew) {
            headers.insert("traceparent".to_owned(), traceparent(0xfee, 0xfee, 1));
        }
        if self.has(Fault::GatewayContinues) {
            let trace = headers["traceparent"].split('-').nth(1).unwrap().to_owned();
            headers.insert("traceparent".to_owned(), format!("00-{trace}-{:016x}-01", 0xfee));
        }
        headers
    }

    /// java-claims as a receiver.
    fn claims_server(&self, run: &mut Run, name: &str, headers: &Headers) -> Cx {
        let mut caller = extract(&self.claims, headers);
        if self.has(Fault::LateParent) {
            caller.active = None;
        }
        run.start("java-claims", SpanKind::Server, name, &caller, true).receives(run, &headers_of(headers))
    }

    fn claims(&self, run: &mut Run, headers: &Headers) {
        let server = self.claims_server(run, "POST /api/claims", headers);
        let mut calling = server.clone();
        if self.has(Fault::Bloat) {
            calling.baggage.insert("notes".to_owned(), "x".repeat(9_000));
        }
        let lookup = if self.has(Fault::BareLookup) { Cx::default() } else { calling.clone() };
        self.look_up(run, &lookup);

        let sending = run.start("java-claims", SpanKind::Producer, "create claims", &calling, true);
        let attributes = if self.has(Fault::NoAttributes) { Headers::new() } else { inject(&self.claims, &sending) };
        run.of(&sending)
            .record("messaging.header", &attributes)
            .set("messaging.message.id", CLAIM)
            .set(CLAIM_ID, CLAIM);
        let completion = match () {
            () if self.has(Fault::BareCompletion) => Cx::default(),
            () if self.has(Fault::StaleCompletion) => run.another_claim(),
            () => server,
        };
        run.inside("java-claims", "notify_claimant", &completion, true);
        self.work(run, &attributes);
    }

    fn look_up(&self, run: &mut Run, lookup: &Cx) {
        let lookup = run.inside("java-claims", "look_up_policy", lookup, true);
        let mut headers = Headers::new();
        if !self.has(Fault::PlainLookup) {
            let call = run.start("java-claims", SpanKind::Client, "GET", &lookup, true);
            headers = inject(&self.claims, &call);
            if self.has(Fault::HandBuiltLookup) {
                let ids = call.active.unwrap();
                let upper = format!("00-ABC{:029X}-{:016X}-01", ids.trace, ids.span);
                headers = Headers::from([("traceparent".to_owned(), upper)]);
            }
            run.calls(&call, &headers, "http://node-policy-store/policies/P-1");
        }
        let caller = extract(&self.policies, &headers);
        run.start("node-policy-store", SpanKind::Server, "GET /policies/:id", &caller, true)
            .receives(run, &headers_of(&headers));
    }

    fn work(&self, run: &mut Run, attributes: &Headers) {
        let mut sender =
            if self.has(Fault::ConsumerIgnores) { Cx::default() } else { extract(&self.worker, attributes) };
        if self.has(Fault::BatchLinks) {
            let batch = run.start("claims-worker", SpanKind::Consumer, "process_batch claims", &Cx::default(), true);
            if let Some(ids) = sender.active {
                let linked = run.of(&batch).clone().link(ids.trace, ids.span);
                *run.of(&batch) = linked;
            }
            sender.active = batch.active;
        }
        let process = run.start("claims-worker", SpanKind::Consumer, "process claims", &sender, true);
        let process = process.receives(run, &headers_of(attributes));

        let mut outside = process.clone();
        if !self.has(Fault::Leak) {
            outside.baggage.clear();
        }
        let asked = run.start("claims-worker", SpanKind::Client, "POST", &outside, true);
        run.outside = inject(&self.worker, &asked);
        run.calls(&asked, &run.outside.clone(), "http://fraud-partner/checks");

        let mut headers = Headers::new();
        let reporting = if self.has(Fault::BareReport) { Cx::default() } else { process };
        let reporting = run.inside("claims-worker", "report_outcome", &reporting, true);
        if !self.has(Fault::PlainReport) {
            let call = run.start("claims-worker", SpanKind::Client, "PUT", &reporting, true);
            headers = inject(&self.worker, &call);
            run.calls(&call, &headers, "http://java-claims/api/claims/c-1/fraud-check");
        }
        self.claims_server(run, "PUT /api/claims/{id}/fraud-check", &headers);
    }
}

// === impl Cx ===

impl Cx {
    /// Marks the active span as a receiver of the claim, whose application reads the tenant.
    fn receives(self, run: &mut Run, headers: &[(&str, &str)]) -> Self {
        let carrier = match run.of(&self).kind {
            SpanKind::Consumer => "messaging.header",
            _ => "http.request.header",
        };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let span = run.of(&self).record(carrier, &headers).set(CLAIM_ID, CLAIM);
        if let Some(tenant) = self.baggage.get(TENANT) {
            span.set(TENANT, tenant);
        }
        self
    }
}

// === impl Run ===

impl Run {
    fn start(&mut self, service: &str, kind: SpanKind, name: &str, parent: &Cx, sampled: bool) -> Cx {
        self.next += 1;
        let id = self.next;
        let trace = parent.active.map_or(0x1000 + u128::from(id), |ids| ids.trace);
        let mut started = span(id, parent.active.map(|ids| ids.span), service, kind, name, (id, id + 1));
        started.trace_id = trace_id(trace);
        self.spans.push(started);
        Cx { active: Some(Ids { trace, span: id, sampled }), ..parent.clone() }
    }

    fn inside(&mut self, service: &str, name: &str, parent: &Cx, sampled: bool) -> Cx {
        let cx = self.start(service, SpanKind::Internal, name, parent, sampled);
        self.of(&cx).set(CLAIM_ID, CLAIM);
        cx
    }

    fn calls(&mut self, cx: &Cx, headers: &Headers, url: &str) {
        let method = self.of(cx).name.clone();
        self.of(cx).record("http.request.header", headers).set("http.request.method", &method).set("url.full", url);
    }

    /// The context of java-claims as it received the claim before.
    fn another_claim(&mut self) -> Cx {
        let front = self.start("python-api", SpanKind::Server, "POST /claims", &Cx::default(), true);
        let server = self.start("java-claims", SpanKind::Server, "POST /api/claims", &front, true);
        for cx in [&front, &server] {
            self.of(cx).set(CLAIM_ID, "c-0");
        }
        server
    }

    fn of(&mut self, cx: &Cx) -> &mut Span {
        let id = span_id(cx.active.unwrap().span);
        self.spans.iter_mut().find(|span| span.span_id == id).unwrap()
    }
}

impl Record for Span {
    fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    fn record(&mut self, carrier: &str, headers: &Headers) -> &mut Self {
        for (name, value) in headers {
            self.attributes.insert(format!("{carrier}.{name}"), serde_json::json!([value]));
        }
        self
    }
}

fn headers_of(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Who knows one of B3's two forms reads both.
fn family(name: Name) -> Name {
    if name == B3Multi { B3 } else { name }
}

fn families(list: &[Name]) -> BTreeSet<Name> {
    list.iter().filter(|name| **name != Baggage).map(|name| family(*name)).collect()
}

fn understands(receiver: &[Name], sender: &[Name]) -> bool {
    !families(receiver).is_disjoint(&families(sender))
}

fn inject(list: &[Name], cx: &Cx) -> Headers {
    let mut headers = Headers::new();
    let mut set = |name: &str, value: String| headers.insert(name.to_owned(), value);
    let Ids { trace, span, sampled } = cx.active.unwrap();
    let bit = u8::from(sampled);
    for name in list {
        match name {
            // The random flag is set on every trace: only the sampled bit counts.
            TraceContext => set("traceparent", traceparent(trace, span, 2 | bit)),
            B3 => set("b3", format!("{trace:032x}-{span:016x}-{bit}")),
            B3Multi => {
                set("x-b3-traceid", format!("{trace:032x}"));
                set("x-b3-spanid", format!("{span:016x}"));
                set("x-b3-sampled", bit.to_string())
            }
            Jaeger => set("uber-trace-id", format!("{trace:032x}:{span:016x}:0:{bit}")),
            XRay => {
                let trace = format!("{trace:032x}");
                let (seconds, unique) = trace.split_at(8);
                set("x-amzn-trace-id", format!("Root=1-{seconds}-{unique};Parent={span:016x};Sampled={bit}"))
            }
            Baggage if cx.baggage.is_empty() => None,
            Baggage => {
                let members: Vec<_> = cx.baggage.iter().map(|(key, value)| format!("{key}={value}")).collect();
                set("baggage", members.join(","))
            }
        };
    }
    headers
}

fn extract(list: &[Name], headers: &Headers) -> Cx {
    let get = |name: &str| headers.get(name).map(String::as_str);
    let b3 = || ids(get("b3")?.split('-').collect());
    let b3_multi = || ids(vec![get("x-b3-traceid")?, get("x-b3-spanid")?, get("x-b3-sampled")?]);
    let x_ray = || {
        let text = get("x-amzn-trace-id")?.replace("Root=1-", "").replacen('-', "", 1);
        ids(text.split(';').map(|part| part.rsplit('=').next().unwrap()).collect())
    };
    let jaeger = || {
        let fields: Vec<_> = get("uber-trace-id")?.split(':').collect();
        ids(vec![fields[0], fields[1], fields[3]])
    };
    let mut cx = Cx::default();
    for name in list {
        // The last that finds something wins.
        let found = match name {
            TraceContext => get("traceparent").and_then(|text| ids(text.split('-').skip(1).collect())),
            B3 | B3Multi => b3().or_else(b3_multi),
            Jaeger => jaeger(),
            XRay => x_ray(),
            Baggage => {
                let short = get("baggage").filter(|text| text.len() <= 8192).unwrap_or_default();
                let members = short.split(',').filter_map(|member| member.split_once('='));
                cx.baggage = members.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                None
            }
        };
        cx.active = found.or(cx.active);
    }
    cx
}

fn ids(fields: Vec<&str>) -> Option<Ids> {
    let [trace, span, flags] = fields.as_slice() else { return None };
    if trace.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(Ids { trace: u128::from_str_radix(trace, 16).ok()?, span: u64::from_str_radix(span, 16).ok()?, sampled })
}

fn check(world: &World) {
    let collected = world.run();
    let diagnosis = Reading::new(Topology::LAB, &collected).conclude().diagnosis();
    let place = |finding: &Finding| finding.place.map(|place| place.to_string()).unwrap_or_default();
    let first = diagnosis.first.as_ref().map(|finding| (place(finding), finding.step));
    let model = world.model().map(|(place, step)| (place.to_owned(), step));
    assert_eq!(first, model, "{world:?}: {}", diagnosis.sentence);
    assert_eq!(diagnosis.outcome, world.outcome(), "{world:?}: {}", diagnosis.sentence);
}

/// The healthy chain, every fault, and every pair of faults that can show together.
pub(crate) fn lessons() -> Vec<World> {
    let pairs = FAULTS.iter().enumerate().flat_map(|(at, one)| {
        FAULTS.iter().skip(at + 1).map(|other| World::standard(&[*one, *other])).filter(World::is_lesson)
    });
    let single = FAULTS.iter().map(|fault| World::standard(&[*fault]));
    std::iter::once(World::standard(&[])).chain(single).chain(pairs).collect()
}

#[test]
fn every_fault_and_every_pair_of_faults_is_found() {
    let worlds = lessons();
    worlds.iter().for_each(check);
    let pairs = worlds.iter().filter(|world| world.faults.len() == 2).count();
    assert_eq!(pairs, 172, "no pair at different places is left out, but that of two controls");
}

fn any_list() -> impl Strategy<Value = Vec<Name>> {
    subsequence(vec![TraceContext, Baggage, B3, B3Multi, Jaeger, XRay], 0..=4).prop_shuffle()
}

/// Lists that understand each other now and then.
fn list() -> impl Strategy<Value = Vec<Name>> {
    prop_oneof![2 => Just(vec![TraceContext, Baggage]), 3 => any_list()]
}

/// Any propagators, and one or two faults that can show.
pub(crate) fn any_world() -> impl Strategy<Value = World> {
    let lists = (list(), list(), list(), list());
    let faults = (select(&FAULTS[..]), option::weighted(0.9, select(&FAULTS[..])));
    (lists, faults).prop_filter_map("faults that can show", |((front, claims, policies, worker), (one, other))| {
        let faults = std::iter::once(one).chain(other.filter(|other| *other != one)).collect();
        let world = World { front, claims, policies, worker, faults };
        world.is_lesson().then_some(world)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_combination_of_propagators_is_told(front in list(), claims in list(), policies in list(), worker in list()) {
        check(&World { front, claims, policies, worker, faults: Vec::new() });
    }

    #[test]
    fn faults_are_told_under_any_propagators(world in any_world()) {
        check(&world);
    }
}
