//! Who can read which wire format: a model of a few lines, and the running chain against it.

use std::collections::{BTreeMap, BTreeSet};

use chain::{CarrierKind, Hop, ParentUsed, Service, SpanKind, Topology, Transit};
use evidence::Mismatch;
use evidence::expectation::{Expectation, FragmentShape, HopCells, SpanShape};
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use settings::Settings;
use wire::{Context, Format, TraceId};

use crate::lab::{Lab, mismatches, shapes};

/// How many random cases run unless `PROPTEST_CASES` says otherwise.
const CASES: usize = 40;
/// Who writes and reads formats.
const PARTIES: [Service; 4] =
    [Service::PythonApi, Service::JavaClaims, Service::NodePolicyStore, Service::ClaimsWorker];

/// What one service writes and reads.
#[derive(Clone, Debug, PartialEq)]
struct Party {
    inject: Vec<Format>,
    extract: Vec<Format>,
    /// Whether one variable says both; they are equal then.
    together: bool,
}

/// The headers that a caller brings, each with its own trace, and what each of [`PARTIES`] does.
#[derive(Clone, Debug)]
struct Case {
    caller: Vec<Format>,
    parties: [Party; 4],
}

/// What the model foretells.
#[derive(Debug, PartialEq)]
struct Foretold {
    /// Whose trace the front door joins: that of the caller's header of this format, or nobody's.
    joined: Option<Format>,
    /// In the order of the chain.
    traces: Vec<Trace>,
}

/// One of the traces of a claim.
#[derive(Debug, PartialEq)]
struct Trace {
    /// The hop whose receiver begins it; `None`: it begins at the front door.
    begins: Option<&'static Hop>,
    services: BTreeSet<Service>,
}

/// Every format that can name a trace.
fn formats_with_ids() -> impl Iterator<Item = Format> {
    Format::ALL.iter().copied().filter(|format| format.is_identity())
}

// === The model ===

/// A format reads what it writes; the two of B3 read each other.
fn reads(reader: Format, written: Format) -> bool {
    let is_b3 = |format| matches!(format, Format::B3 | Format::B3Multi);
    reader == written || (is_b3(reader) && is_b3(written))
}

/// The last of the receiver's formats that can read anything wins.
fn winner(extract: &[Format], arrived: &[Format]) -> Option<Format> {
    extract.iter().rev().find_map(|reader| arrived.iter().copied().find(|written| reads(*reader, *written)))
}

/// A service that can read nothing starts a new trace; no other thing does.
fn foretell(case: &Case) -> Foretold {
    let mut traces = vec![Trace { begins: None, services: BTreeSet::from([Service::PythonApi]) }];
    // What a service sends for a claim, it sends from where the claim reached it first.
    let mut reached = BTreeMap::from([(Service::PythonApi, 0)]);
    for hop in Topology::LAB.hops.iter().filter(|hop| hop.to.has_sdk()) {
        let at = match winner(&case.party(hop.to).extract, &case.party(hop.from).inject) {
            Some(_) => reached[&hop.from],
            None => {
                traces.push(Trace { begins: Some(hop), services: BTreeSet::new() });
                traces.len() - 1
            }
        };
        traces[at].services.insert(hop.to);
        reached.entry(hop.to).or_insert(at);
    }
    Foretold { joined: winner(&case.party(Service::PythonApi).extract, &case.caller), traces }
}

// === impl Case ===

impl Case {
    /// A row of values of `OTEL_PROPAGATORS`; `baggage` carries no trace.
    fn of(lists: [&str; 4]) -> Self {
        let party = |list: &str| {
            let formats = formats_of(list);
            Party { inject: formats.clone(), extract: formats, together: true }
        };
        Self { caller: Vec::new(), parties: lists.map(party) }
    }

    fn party(&self, service: Service) -> &Party {
        let place = PARTIES.iter().position(|party| *party == service);
        &self.parties[place.expect("it has an SDK")]
    }

    /// Ids of the caller's span of this format, different in every case.
    fn ids(number: usize, format: Format) -> (String, String) {
        let place = formats_with_ids().position(|it| it == format).unwrap() + 1;
        (format!("0af76519{number:08x}{place:016x}"), format!("b7ad6b71{number:08x}"))
    }

    fn headers(&self, number: usize) -> Vec<(&'static str, String)> {
        let header = |format: &Format| {
            let (trace, span) = Self::ids(number, *format);
            match format {
                Format::TraceContext => vec![("traceparent", format!("00-{trace}-{span}-01"))],
                Format::B3 => vec![("b3", format!("{trace}-{span}-1"))],
                Format::B3Multi => {
                    vec![("x-b3-traceid", trace), ("x-b3-spanid", span), ("x-b3-sampled", "1".to_owned())]
                }
                Format::Jaeger => vec![("uber-trace-id", format!("{trace}:{span}:0:1"))],
                Format::XRay => {
                    let (time, rest) = trace.split_at(8);
                    vec![("x-amzn-trace-id", format!("Root=1-{time}-{rest};Parent={span};Sampled=1"))]
                }
                other => other.write(&Context {
                    trace_id: trace.parse::<TraceId>().unwrap().into(),
                    span_id: span.parse().unwrap(),
                    sampled: Some(true),
                    random: false,
                    debug: false,
                }),
            }
        };
        self.caller.iter().flat_map(header).collect()
    }

    /// What the evidence must look like if the model is right.
    fn expectation(&self) -> Expectation {
        let Foretold { joined, traces } = foretell(self);
        let front = || SpanShape {
            service: Service::PythonApi,
            kind: Some(SpanKind::Server),
            name: Some("POST /claims".to_owned()),
        };
        let receiver = |hop: &Hop| SpanShape {
            service: hop.to,
            kind: Some(match hop.carrier {
                CarrierKind::Http => SpanKind::Server,
                CarrierKind::Queue { .. } => SpanKind::Consumer,
            }),
            name: Some(hop.receiver_span.to_owned()),
        };
        let fragments = traces.iter().map(|trace| FragmentShape {
            root: trace.begins.map(receiver).or_else(|| joined.is_none().then(front)),
            services: trace.services.iter().copied().collect(),
        });
        let begins = |hop: &'static Hop| traces.iter().any(|trace| trace.begins == Some(hop));
        let hops = Topology::LAB.hops.iter().map(|hop| {
            let sent = self.party(hop.from).inject.clone();
            HopCells {
                hop,
                transit: (!sent.is_empty()).then_some(Transit::Intact),
                parent: hop.to.has_sdk().then(|| if begins(hop) { ParentUsed::Nobody } else { ParentUsed::Sender }),
                sampled: (!sent.is_empty()).then_some(true),
                received: Some(sent.clone()),
                sent: Some(sent),
                ..HopCells::of(hop)
            }
        });
        Expectation {
            fragments: Some(fragments.collect()),
            hops: hops.collect(),
            missing_parents: Some(joined.map(|_| front()).into_iter().collect()),
            mixed_with_other_claims: Some(false),
            ..Expectation::default()
        }
    }

    fn set(&self, lab: &Lab) {
        let mut settings = Settings::default();
        for (service, Party { inject, extract, together }) in PARTIES.into_iter().zip(&self.parties) {
            if *together {
                settings.set(service, "OTEL_PROPAGATORS", list(inject));
            } else {
                settings.set(service, "INSUREWATCH_INJECT_PROPAGATORS", list(inject));
                settings.set(service, "INSUREWATCH_EXTRACT_PROPAGATORS", list(extract));
            }
        }
        lab.replace_settings(settings);
    }

    /// Sends a claim by the front door, with the caller's headers.
    fn send(&self, lab: &Lab, number: usize) -> String {
        let body = json!({
            "policy_id": "POL-1001", "claimant": "Ada Lovelace", "incident_date": "2025-06-15",
            "amount_cents": 125_000, "description": "hail",
        });
        let request = lab.client.post(format!("{}claims", lab.file.front_door)).json(&body);
        let request =
            self.headers(number).into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send().unwrap();
        assert_eq!(response.status(), 201, "no mix of formats makes a claim fail: {self:?}");
        response.headers()["x-claim-id"].to_str().unwrap().to_owned()
    }

    /// Says where the evidence differs from what the model foretells.
    fn differences(&self, lab: &Lab, number: usize, claim_id: &str) -> Vec<String> {
        let evidence = lab.seen(claim_id);
        let mut differences: Vec<_> =
            mismatches(&self.expectation(), &evidence).iter().map(Mismatch::to_string).collect();
        if let Some(format) = foretell(self).joined {
            let (expected, _) = Self::ids(number, format);
            let seen: Vec<_> = evidence.fragments.iter().map(|fragment| fragment.trace_id.to_string()).collect();
            if seen.first() != Some(&expected) {
                differences.push(format!("the {format:?} header wins with trace {expected}; seen: {seen:?}"));
            }
        }
        if !differences.is_empty() {
            differences.push(format!("the traces are {:?}", shapes(&evidence)));
        }
        differences
    }

    fn size(&self) -> usize {
        self.caller.len() + self.parties.iter().map(|party| party.inject.len() + party.extract.len()).sum::<usize>()
    }
}

/// The formats of a value of `OTEL_PROPAGATORS` that carry a trace.
fn formats_of(list: &str) -> Vec<Format> {
    let carriers = list.split(',').filter(|name| !["baggage", "none"].contains(name));
    carriers.map(|name| serde_json::from_value(json!(name)).unwrap()).collect()
}

fn list(formats: &[Format]) -> String {
    let names: Vec<_> = formats.iter().map(|format| json!(format).as_str().unwrap().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

fn any_case() -> impl Strategy<Value = Case> {
    let formats = || subsequence(formats_with_ids().collect::<Vec<_>>(), 0..=3).prop_shuffle();
    let party = move || {
        (formats(), formats(), any::<bool>()).prop_map(|(inject, apart, together)| {
            let extract = if together { inject.clone() } else { apart };
            Party { inject, extract, together }
        })
    };
    // A caller who sends both forms of B3 says one thing twice, and which of the two a reader takes is its own affair.
    let caller = formats().prop_map(|mut formats| {
        let has_single = formats.contains(&Format::B3);
        formats.retain(|format| *format != Format::B3Multi || !has_single);
        formats
    });
    (caller, [party(), party(), party(), party()]).prop_map(|(caller, parties)| Case { caller, parties })
}

/// "The mismatch, measured": what Flask and Express did, and the same at the front door of the chain.
fn measured() -> Vec<([&'static str; 4], Vec<Vec<Service>>)> {
    use Service::{ClaimsWorker as Worker, JavaClaims as Java, NodePolicyStore as Node, PythonApi as Python};
    const DEFAULT: &str = "tracecontext,baggage";
    let split_at_claims = || vec![vec![Python], vec![Java, Node, Worker]];
    // The last is the fraud check that is reported back.
    let split_everywhere = || vec![vec![Python], vec![Java], vec![Node], vec![Worker], vec![Java]];
    let whole = || vec![vec![Python, Java, Node, Worker]];
    vec![
        ([DEFAULT, DEFAULT, DEFAULT, DEFAULT], whole()),
        (["b3", DEFAULT, DEFAULT, DEFAULT], split_at_claims()),
        (["b3multi", DEFAULT, DEFAULT, DEFAULT], split_at_claims()),
        (["jaeger", DEFAULT, DEFAULT, DEFAULT], split_at_claims()),
        ([DEFAULT, "none", DEFAULT, DEFAULT], split_everywhere()),
        ([DEFAULT, "b3", DEFAULT, DEFAULT], split_everywhere()),
        (["b3", "b3", DEFAULT, DEFAULT], vec![vec![Python, Java], vec![Node], vec![Worker], vec![Java]]),
        ([DEFAULT, DEFAULT, DEFAULT, "b3"], vec![vec![Python, Java, Node], vec![Worker], vec![Java]]),
        (["b3", "tracecontext,baggage,b3", DEFAULT, DEFAULT], whole()),
        (["tracecontext,baggage,b3", DEFAULT, DEFAULT, DEFAULT], whole()),
        (["b3", "b3", "b3", "b3"], whole()),
    ]
}

#[test]
fn the_model_foretells_what_was_measured() {
    for (lists, traces) in measured() {
        let Foretold { joined, traces: foretold } = foretell(&Case::of(lists));
        let traces: Vec<BTreeSet<_>> = traces.into_iter().map(BTreeSet::from_iter).collect();
        assert_eq!(foretold.into_iter().map(|trace| trace.services).collect::<Vec<_>>(), traces, "{lists:?}");
        assert_eq!(joined, None, "{lists:?}: nobody called from outside");
    }
}

#[test]
fn the_model_lets_the_last_readable_format_win() {
    use Format::{B3, B3Multi, TraceContext};
    let table = [
        ("tracecontext", "none", None, "nothing arrived"),
        ("none", "tracecontext", None, "nothing is read"),
        ("tracecontext,b3", "tracecontext,b3", Some(B3), "the last of the list"),
        ("b3,tracecontext", "tracecontext,b3", Some(TraceContext), "whatever the order of arrival"),
        ("tracecontext,b3", "tracecontext", Some(TraceContext), "the last that finds anything"),
        ("b3", "jaeger,b3multi", Some(B3Multi), "B3 reads both of its forms"),
        ("xray,jaeger", "tracecontext,b3", None, "other formats are noise"),
    ];
    for (extract, arrived, won, why) in table {
        assert_eq!(winner(&formats_of(extract), &formats_of(arrived)), won, "{why}");
    }
}

#[test]
fn the_chain_does_what_the_model_foretells() {
    let count = std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::default();
    // A trace that began with W3C and goes on in another format: the decision to sample must go on too.
    let relayed = ["b3", "b3multi", "jaeger", "xray"].map(|format| {
        let mut case = Case::of(["tracecontext", "tracecontext", format, format]);
        // What comes back is read as well.
        let Party { extract, .. } = &mut case.parties[1];
        extract.extend(formats_of(format));
        case.parties[1] = Party { inject: formats_of(format), together: false, ..case.parties[1].clone() };
        case
    });
    let random = (0..count).map(|_| any_case().new_tree(&mut runner).unwrap().current());
    let cases: Vec<_> = measured().into_iter().map(|(lists, _)| Case::of(lists)).chain(relayed).chain(random).collect();

    let lab = Lab::start();
    let mut sent = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        case.set(&lab);
        let claim_id = case.send(&lab, number);
        // The queue is behind the answer, and its hops belong to this case too.
        lab.checked(&claim_id);
        sent.push(claim_id);
    }
    lab.replace_settings(Settings::default());
    lab.settle();

    let mut wrong: Vec<_> = cases
        .iter()
        .zip(&sent)
        .enumerate()
        .map(|(number, (case, claim_id))| (case, case.differences(&lab, number, claim_id)))
        .filter(|(_, differences)| !differences.is_empty())
        .collect();
    wrong.sort_by_key(|(case, _)| case.size());
    let Some((case, differences)) = wrong.first() else { return };
    panic!("{} of {} cases differ, the smallest is {case:?}: {differences:#?}", wrong.len(), cases.len());
}
