//! Healthy, broken or something else: what the evidence of claims comes to, in sentences.

use scenario::expectation::{Expectation, FragmentShape, HopCells, ParentUsed, SpanKind, SpanShape};
use scenario::topology::{HOPS, Service};
use serde::{Deserialize, Serialize};

use crate::claim::{ClaimEvidence, Collected, Place, front_door, is_front_door};
use crate::expect::{Mismatch, Part, describe_fragment, describe_span, holds};
use crate::headers::{TraceHeaders, format_names};
use crate::ledger::{HopRow, ledger};
use crate::span::{Span, TraceId};

/// What a set of claims comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The outcome: the worst of the claims'.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub sentence: String,
    /// Each claim, in the order in which they were given.
    pub claims: Vec<ClaimVerdict>,
    /// What the outcome rests on: the evidence of the first claim that has it.
    pub evidence: Vec<String>,
}

/// What one claim comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    /// The claim.
    pub claim_id: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub sentence: String,
    /// The traces that it fell into.
    pub traces: Vec<TraceId>,
    /// What the outcome rests on, one sentence each.
    pub evidence: Vec<String>,
}

/// The kinds of outcome, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The chain is whole.
    Healthy,
    /// It looks broken, but every context arrived and was used: a sampling decision or a lost export.
    NotAPropagationBreak,
    /// The evidence does not reach.
    CannotTell,
    /// The chain is whole, and baggage arrived where it must not.
    Leaking,
    /// Context was lost.
    Broken,
}

// === impl Outcome ===

impl Outcome {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Healthy | Self::NotAPropagationBreak => 0,
            Self::Broken | Self::Leaking => 1,
            Self::CannotTell => 2,
        }
    }
}

/// What must hold of every claim when nothing is wrong, derived from the topology: one trace, rooted at the front
/// door's SERVER span, with every service in it; every receiver's parent is its sender; no parent is missing.
#[must_use]
pub fn healthy_chain() -> Expectation {
    let root = SpanShape { service: front_door(), kind: Some(SpanKind::Server), name: None };
    let services = Service::ALL.iter().copied().filter(|service| service.has_sdk()).collect();
    let cells = |hop: String| HopCells {
        hop,
        sent: None,
        received: None,
        transit: None,
        parent: Some(ParentUsed::Sender),
        sampled: None,
    };
    Expectation {
        fragments: vec![FragmentShape { root: Some(root), services }],
        hops: HOPS.iter().map(|hop| cells(hop.to_string())).collect(),
        missing_parents: Some(Vec::new()),
        mixed_with_other_claims: Some(false),
        ..Expectation::default()
    }
}

/// Judges claims: healthy only if the invariants of [`healthy_chain`] and the extra expectation hold for every one.
#[must_use]
pub fn judge(collected: &[Collected], extra: Option<&Expectation>) -> Verdict {
    let claims: Vec<_> = collected.iter().map(|one| judge_claim(one, extra)).collect();
    let outcome = claims.iter().map(|claim| claim.outcome).max().unwrap_or(Outcome::CannotTell);
    let alike: Vec<_> = claims.iter().filter(|claim| claim.outcome == outcome).collect();
    let (sentence, evidence) = match alike.first() {
        None => ("Cannot tell: no claim was accepted, so there is nothing to look at.".to_owned(), Vec::new()),
        Some(first) if claims.len() == 1 => (first.sentence.clone(), first.evidence.clone()),
        Some(first) => {
            (format!("{} of {} claims: {}", alike.len(), claims.len(), first.sentence), first.evidence.clone())
        }
    };
    Verdict { outcome, sentence, claims, evidence }
}

fn judge_claim(collected: &Collected, extra: Option<&Expectation>) -> ClaimVerdict {
    let evidence = &collected.evidence;
    let (outcome, sentence, facts) = conclude(collected, extra);
    ClaimVerdict {
        claim_id: evidence.claim_id.clone(),
        outcome,
        sentence,
        traces: evidence.fragments.iter().map(|fragment| fragment.trace_id).collect(),
        evidence: facts,
    }
}

fn conclude(collected: &Collected, extra: Option<&Expectation>) -> (Outcome, String, Vec<String>) {
    let evidence = &collected.evidence;
    let claim = &evidence.claim_id;
    if collected.source_down {
        let sentence = format!("Cannot tell: the trace source does not answer, so claim {claim} cannot be looked up.");
        return (Outcome::CannotTell, sentence, collected.source_errors.clone());
    }
    if evidence.fragments.is_empty() {
        return conclude_unseen(collected);
    }

    let rows = ledger(evidence);
    let chain = holds(&healthy_chain(), evidence);
    let extra = extra.map(|extra| holds(extra, evidence)).unwrap_or_default();
    let leaks = extra.iter().any(|mismatch| mismatch.part == Part::BaggageLeak);
    let traces: Vec<_> =
        evidence.fragments.iter().map(|fragment| format!("Trace {}.", describe_fragment(fragment))).collect();
    let with_traces = |facts: Vec<String>| traces.iter().cloned().chain(facts).collect::<Vec<_>>();
    let sentences = |mismatches: &[Mismatch]| mismatches.iter().map(ToString::to_string).collect::<Vec<_>>();

    if chain.is_empty() {
        if extra.is_empty() {
            let sentence = format!("Claim {claim} is one whole trace: every hop's parent is its sender.");
            return (Outcome::Healthy, sentence, traces);
        }
        if extra.iter().all(|mismatch| mismatch.part == Part::BaggageLeak) {
            let sentence = format!("Claim {claim} is one whole trace, but baggage arrived where it must not.");
            return (Outcome::Leaking, sentence, with_traces(sentences(&extra)));
        }
        let sentence = format!("Claim {claim} is one whole trace, but it does not carry what it must.");
        return (Outcome::Broken, sentence, with_traces(sentences(&extra)));
    }
    if evidence.partial {
        let sentence = format!("Cannot tell: the trace source left out spans of claim {claim}.");
        return (Outcome::CannotTell, sentence, with_traces(sentences(&chain)));
    }
    if let Some(facts) = lost_export(evidence, &rows) {
        if leaks {
            let sentence = format!("Baggage of claim {claim} arrived where it must not.");
            return (Outcome::Leaking, sentence, with_traces(sentences(&extra)));
        }
        let sentence =
            format!("Not a propagation break: the context of claim {claim} arrived and was used, but spans were lost.");
        return (Outcome::NotAPropagationBreak, sentence, with_traces(facts));
    }
    if let Some(facts) = lost_leaf(evidence, &rows) {
        let sentence = format!("Cannot tell: what was seen of claim {claim} is whole, but not all of it was seen.");
        return (Outcome::CannotTell, sentence, with_traces(facts));
    }
    let (place, mut facts) = broken(evidence, &rows);
    facts.extend(sentences(&extra));
    let count = evidence.fragments.len();
    let traces_in_words = if count == 1 { "is in one trace".to_owned() } else { format!("fell into {count} traces") };
    (Outcome::Broken, format!("Broken: claim {claim} {traces_in_words}; {place}."), with_traces(facts))
}

fn conclude_unseen(collected: &Collected) -> (Outcome, String, Vec<String>) {
    let (evidence, waited) = (&collected.evidence, collected.waited_millis);
    let claim = &evidence.claim_id;
    let mut facts = vec![format!("No span of it was seen in {waited} ms.")];
    if evidence.malformed > 0 {
        facts.push(format!("{} spans had malformed ids and were left out.", evidence.malformed));
    }
    match (evidence.response_context().and_then(|context| context.sampled), &evidence.traceresponse) {
        (Some(false), Some(header)) => {
            facts.push(format!("The front door answered `traceresponse: {header}`: the sampled bit is clear."));
            let sentence = format!("Not a propagation break: claim {claim} has no spans by a sampling decision.");
            (Outcome::NotAPropagationBreak, sentence, facts)
        }
        (_, header) => {
            facts.push(header.as_ref().map_or_else(
                || "No traceresponse says whether it was sampled.".to_owned(),
                |header| format!("The front door answered `traceresponse: {header}`."),
            ));
            (Outcome::CannotTell, format!("Cannot tell: no span of claim {claim} arrived."), facts)
        }
    }
}

/// The facts, if everything that is wrong comes from spans that were never exported: one trace, and each missing parent
/// is the one that the header says, sampled. A local parent travels in no header.
fn lost_export(evidence: &ClaimEvidence, rows: &[HopRow]) -> Option<Vec<String>> {
    let missing: Vec<_> = evidence.missing_parents().collect();
    let decided = evidence.response_context().and_then(|context| context.sampled) != Some(false);
    let used = rows.iter().all(|row| match row.parent {
        None | Some(ParentUsed::Sender) => true,
        Some(ParentUsed::Nobody) => false,
        Some(ParentUsed::Other) => missing.iter().any(|span| is_receiver_of(row, span)),
    });
    if missing.is_empty() || !decided || !used || !is_one_tree(evidence) {
        return None;
    }
    missing.into_iter().map(|span| lost_parent(evidence, rows, span)).collect()
}

fn lost_parent(evidence: &ClaimEvidence, rows: &[HopRow], span: &Span) -> Option<String> {
    let parent = span.parent_span_id?;
    let who = describe_span(span);
    if !span.receives() {
        return Some(format!("{who} names the parent {parent} of its own process, which never arrived."));
    }
    let received = TraceHeaders::from_attributes(&span.attributes);
    let named = |headers: &TraceHeaders| {
        headers.contexts().any(|(_, context)| {
            context.span_id == parent && context.trace_id == span.trace_id && context.sampled == Some(true)
        })
    };
    let sent = rows.iter().find(|row| is_receiver_of(row, span)).and_then(|row| row.sent.as_ref());
    // Without a span of the sender, the front door's answer is the second witness that nobody in between began anew.
    let agreed = match sent {
        Some(sent) => named(&sent.headers),
        None => evidence.response_context().is_none_or(|context| context.trace_id == span.trace_id),
    };
    (named(&received) && agreed).then(|| {
        format!(
            "{who} names the parent {parent}, as the sampled header that it received does; that span never arrived."
        )
    })
}

/// The facts, if all that was seen is one whole tree from the front door on, and some receivers were not seen at all.
fn lost_leaf(evidence: &ClaimEvidence, rows: &[HopRow]) -> Option<Vec<String>> {
    let whole = rows.iter().all(|row| matches!(row.parent, None | Some(ParentUsed::Sender)));
    let rooted = evidence.fragments.iter().all(|fragment| fragment.roots().count() == 1);
    let arrived = evidence.missing_parents().next().is_none();
    let unseen: Vec<_> = rows
        .iter()
        .filter(|row| row.received.is_none())
        .map(|row| format!("{}: no span of its receiver arrived.", row.hop))
        .collect();
    (is_one_tree(evidence) && rooted && whole && arrived && !unseen.is_empty()).then_some(unseen)
}

/// One trace of this claim alone, without a root other than the front door's.
fn is_one_tree(evidence: &ClaimEvidence) -> bool {
    let [fragment] = evidence.fragments.as_slice() else { return false };
    fragment.other_claims.is_empty()
        && fragment.roots().count() <= 1
        && fragment.roots().all(is_front_door)
        && fragment.placed(Place::Cycle).next().is_none()
}

fn is_receiver_of(row: &HopRow, span: &Span) -> bool {
    row.received.as_ref().is_some_and(|side| side.span_id == span.span_id && side.trace_id == span.trace_id)
}

/// Where the chain breaks, and the facts that say so.
fn broken(evidence: &ClaimEvidence, rows: &[HopRow]) -> (String, Vec<String>) {
    let mut facts = Vec::new();
    let hop = rows.iter().find(|row| row.parent.is_some_and(|parent| parent != ParentUsed::Sender));
    facts.extend(hop.and_then(broken_hop));
    facts.extend(evidence.missing_parents().filter_map(|span| {
        let (who, parent) = (describe_span(span), span.parent_span_id?);
        Some(format!("{who} names the parent {parent}, which never arrived."))
    }));
    let strays: Vec<_> =
        evidence.fragments.iter().flat_map(|it| it.roots()).filter(|root| !is_front_door(root)).collect();
    facts.extend(strays.iter().map(|root| format!("{} is a root; only the front door's may be.", describe_span(root))));
    for fragment in evidence.fragments.iter().filter(|fragment| !fragment.other_claims.is_empty()) {
        let others = fragment.other_claims.join(", ");
        facts.push(format!("Trace {} also holds spans of the claims {others}.", fragment.trace_id));
    }
    for row in rows.iter().filter(|row| row.received.is_none()) {
        facts.push(format!("{}: no span of its receiver arrived.", row.hop));
    }
    let place = match (hop, strays.first()) {
        (Some(row), _) => format!("the first hop whose parent is not its sender is {}", row.hop),
        (None, _) if evidence.fragments.iter().any(|fragment| !fragment.other_claims.is_empty()) => {
            "it shares a trace with another claim".to_owned()
        }
        (None, Some(root)) => {
            format!("every hop seen has its sender as its parent, so the context was lost inside {}", root.service)
        }
        (None, None) => "no hop seen lost its sender, but the chain is not whole".to_owned(),
    };
    (place, facts)
}

fn broken_hop(row: &HopRow) -> Option<String> {
    let received = row.received.as_ref()?;
    let parent = match (received.parent_span_id, &row.sent) {
        (None, _) => "is a root".to_owned(),
        (Some(parent), None) => format!("names the parent {parent}; no span of its sender was seen"),
        (Some(parent), Some(sent)) => format!("names the parent {parent}, but its sender's span is {}", sent.span_id),
    };
    let sent = row.sent.as_ref().map_or("nothing on record".to_owned(), |side| format_names(&side.formats));
    let arrived = format_names(&received.formats);
    let sampled = if row.sampled == Some(false) { "; the sampled bit that arrived is clear" } else { "" };
    Some(format!("{}: the receiver's span {parent}. Sent: {sent}; received: {arrived}{sampled}.", row.hop))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

    fn seen(spans: Vec<Span>) -> Collected {
        Collected { evidence: evidence(spans), waited_millis: 10_000, ..Collected::default() }
    }

    fn answered(spans: Vec<Span>, flags: u8) -> Collected {
        seen(spans).with_traceresponse(Some(traceparent(TRACE_A, FRONT, flags)))
    }

    fn renamed_parent(spans: Vec<Span>, id: u64, parent: u64, flags: u8) -> Vec<Span> {
        let change = |span: Span| match span.span_id == span_id(id) {
            true => Span { parent_span_id: Some(span_id(parent)), ..span }
                .header("traceparent", traceparent(TRACE_A, parent, flags)),
            false => span,
        };
        spans.into_iter().map(change).collect()
    }

    #[test]
    fn evidence_decides() {
        use Outcome::{Broken, CannotTell, Healthy, NotAPropagationBreak};
        let down = Collected { source_down: true, ..seen(whole_chain()) };
        let mut stale = whole_chain();
        let other = |span: &Span| Span { trace_id: trace_id(TRACE_B), ..span.clone() }.with(CLAIM_ID, "c-0");
        stale.extend(whole_chain().iter().map(other));
        for span in stale.iter_mut().filter(|span| [CALL_POLICY, POLICY].map(span_id).contains(&span.span_id)) {
            if span.claim_id() != Some("c-0") {
                (span.trace_id, span.span_id) = (trace_id(TRACE_B), span_id(0x70 + u64::from(span.sends())));
                span.parent_span_id = Some(if span.sends() { span_id(CLAIMS) } else { span_id(0x71) });
            }
        }
        let mixed = chain_with(CALL_POLICY, |span| span.with(CLAIM_ID, "c-0"));
        let thread_pool =
            chain_with(CALL_POLICY, |span| Span { parent_span_id: None, trace_id: trace_id(TRACE_B), ..span })
                .into_iter()
                .map(|span| match span.span_id == span_id(POLICY) {
                    true => Span { trace_id: trace_id(TRACE_B), ..span },
                    false => span,
                })
                .collect();
        let unsampled = renamed_parent(chain_without(&[FRONT, CALL_CLAIMS]), CLAIMS, CALL_CLAIMS, 0);
        let cases = [
            (seen(whole_chain()), Healthy, "the chain is whole"),
            (seen(lab_1()), Broken, "two traces"),
            (seen(mixed), Broken, "another claim is in the trace"),
            (seen(stale), Broken, "half of it is in the trace of another claim"),
            (seen(thread_pool), Broken, "a lookup in a trace of its own"),
            (seen(renamed_parent(whole_chain(), CLAIMS, 0x99, 1)), Broken, "a proxy's span is not exported"),
            (seen(unsampled), Broken, "the sender decided against sampling, the receiver for it"),
            (seen(chain_without(&[FRONT, CALL_CLAIMS])), NotAPropagationBreak, "the spans of python-api were lost"),
            (
                answered(chain_without(&[FRONT, CALL_CLAIMS]), 1),
                NotAPropagationBreak,
                "the answer names the same trace",
            ),
            (seen(chain_without(&[FRONT])), NotAPropagationBreak, "the root is late: a local parent needs no header"),
            (seen(chain_without(&[CLAIMS, CALL_POLICY])), NotAPropagationBreak, "the spans of java-claims were lost"),
            (seen(chain_without(&[POLICY])), CannotTell, "the last span was lost, or the call never made"),
            (seen(Vec::new()), CannotTell, "nothing was seen and nothing says why"),
            (answered(Vec::new(), 1), CannotTell, "nothing was seen though it was sampled"),
            (answered(Vec::new(), 2), NotAPropagationBreak, "sampled out by decision"),
            (down, CannotTell, "the source does not answer"),
        ];
        for (collected, outcome, why) in cases {
            let verdict = judge(std::slice::from_ref(&collected), None);
            assert_eq!(verdict.outcome, outcome, "{why}: {verdict:#?}");
        }
        assert_eq!(judge(&[], None).outcome, CannotTell, "no probe succeeded");
    }

    #[test]
    fn a_lost_span_needs_a_second_witness() {
        let lost = || chain_without(&[FRONT, CALL_CLAIMS]);
        let elsewhere = seen(lost()).with_traceresponse(Some(traceparent(TRACE_B, FRONT, 1)));
        assert_eq!(judge(&[elsewhere], None).outcome, Outcome::Broken, "the front door was in another trace");
        let unread = lost().into_iter().map(Span::without_headers).collect();
        assert_eq!(judge(&[seen(unread)], None).outcome, Outcome::Broken, "no header names the parent");
    }

    #[test]
    fn the_extra_expectation_counts() {
        let absent = json!({"baggage": [{"at": "java-claims", "key": "tenant.id", "present": false}]});
        let big = json!({"baggage": [{"at": "java-claims", "min_bytes": 5000}]});
        let fine = json!({"baggage": [{"at": "java-claims", "key": "tenant.id", "read": true}]});
        for (extra, outcome) in [(absent, Outcome::Leaking), (big, Outcome::Broken), (fine, Outcome::Healthy)] {
            let parsed = serde_json::from_value(extra.clone()).unwrap();
            assert_eq!(judge(&[seen(whole_chain())], Some(&parsed)).outcome, outcome, "{extra}");
        }
    }

    #[test]
    fn the_worst_claim_decides_and_says_why() {
        let verdict = judge(&[seen(whole_chain()), seen(lab_1())], None);
        let sentence = "1 of 2 claims: Broken: claim c-1 fell into 2 traces; the first hop whose parent is not its \
                        sender is python-api -> java-claims.";
        assert_eq!(verdict.sentence, sentence, "the sentence names the claim and the hop");
        let evidence = [
            "Trace 000000000000000000000000000000a1 [python-api `POST /claims` (server); python-api].",
            "Trace 000000000000000000000000000000b2 [java-claims `POST /api/claims` (server); java-claims, node-policy-store].",
            "python-api -> java-claims: the receiver's span is a root. Sent: b3; received: b3.",
            "java-claims `POST /api/claims` (server) is a root; only the front door's may be.",
        ];
        assert_eq!(verdict.evidence, evidence, "each fact comes from the spans");
        assert_eq!(serde_json::to_value(verdict.outcome).unwrap(), "broken", "outcomes are kebab-case");
        assert_eq!(verdict.outcome.exit_code(), 1, "broken exits with 1");
    }
}
