//! Healthy, broken or something else: what the evidence of claims comes to, in sentences.

use chain::{Hop, ParentUsed, Service, SpanKind, Topology};
use scenario::expectation::{Expectation, FragmentShape, HopCells, SpanShape};
use serde::{Deserialize, Serialize};
use wire::{Format, TraceHeaders, TraceId};

use crate::claim::{ClaimEvidence, Collected, Fragment, Place, front_door, is_front_door};
use crate::expect::{Mismatch, Part, describe_fragment, describe_span, holds};
use crate::headers::{format_names, recorded};
use crate::ledger::{HopRow, ledger};
use crate::span::Span;

/// What the application reads from baggage wherever a claim goes, and records on the receiving span.
pub(crate) const TENANT: &str = "tenant.id";

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
    /// It looks broken, but every context arrived and was used: a sampling decision, a lost export, or links on purpose.
    NotAPropagationBreak,
    /// The evidence does not reach.
    CannotTell,
    /// The chain is whole, and baggage arrived where it must not.
    Leaking,
    /// Context or baggage was lost.
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
/// door's SERVER span, with every service in it that has an SDK; every receiver's parent is its sender; no parent is
/// missing.
#[must_use]
pub fn healthy_chain() -> Expectation {
    let root = SpanShape { service: front_door(), kind: Some(SpanKind::Server), name: None };
    let services = Service::ALL.iter().copied().filter(|service| service.has_sdk()).collect();
    let cells = |hop: &'static Hop| HopCells {
        hop,
        sent: None,
        received: None,
        transit: None,
        parent: Some(ParentUsed::Sender),
        sampled: None,
    };
    Expectation {
        fragments: vec![FragmentShape { root: Some(root), services }],
        hops: Topology::LAB.hops.iter().filter(|hop| hop.to.has_sdk()).map(cells).collect(),
        missing_parents: Some(Vec::new()),
        mixed_with_other_claims: Some(false),
        ..Expectation::default()
    }
}

/// Judges claims: healthy only if the invariants hold for every one, and the extra expectation too. The invariants are
/// those of [`healthy_chain`]; what was sent arrived; the tenant could be read wherever the claim went; and nothing that
/// looks like a secret reached the third party.
#[must_use]
pub fn judge(collected: &[Collected], extra: Option<&Expectation>) -> Verdict {
    let claims: Vec<_> = collected.iter().map(|one| judge_claim(one, extra)).collect();
    let outcome = claims.iter().map(|claim| claim.outcome).max().unwrap_or(Outcome::CannotTell);
    let alike: Vec<_> = claims.iter().filter(|claim| claim.outcome == outcome).collect();
    let (sentence, evidence) = match alike.first() {
        None => ("Cannot tell: no claim was accepted, so there is nothing to look at.".to_owned(), Vec::new()),
        Some(first) if claims.len() == 1 => (first.sentence.clone(), first.evidence.clone()),
        Some(first) => {
            let sentence = format!("{} ({} of {} claims came out so.)", first.sentence, alike.len(), claims.len());
            (sentence, first.evidence.clone())
        }
    };
    Verdict { outcome, sentence, claims, evidence }
}

pub(crate) fn judge_claim(collected: &Collected, extra: Option<&Expectation>) -> ClaimVerdict {
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
    let lost = not_carried(evidence, &rows);
    let extra = extra.map(|extra| holds(extra, evidence)).unwrap_or_default();
    let (extra_leaks, extra): (Vec<_>, Vec<_>) = extra.iter().partition(|it| it.part == Part::BaggageLeak);
    let mut leaks: Vec<_> =
        leaked_secrets(&rows).map(|(hop, key)| format!("{hop}: baggage `{key}` was sent.")).collect();
    leaks.extend(extra_leaks.into_iter().map(Mismatch::to_string));
    let extra: Vec<_> = extra.into_iter().map(Mismatch::to_string).collect();

    let with_traces = |facts: Vec<String>| {
        let traces = evidence.fragments.iter().map(|fragment| format!("Trace {}.", describe_fragment(fragment)));
        traces.chain(facts).collect::<Vec<_>>()
    };
    // What was used does not make up for what was lost.
    let unless_lost = |outcome, sentence: String, facts: Vec<String>| match (lost.as_slice(), leaks.is_empty()) {
        ([], true) => (outcome, sentence, with_traces(facts)),
        ([], false) => {
            let sentence = format!("Baggage of claim {claim} arrived where it must not.");
            (Outcome::Leaking, sentence, with_traces(leaks.clone()))
        }
        ([first, ..], _) => {
            let sentence =
                format!("Broken: the trace of claim {claim} is joined, but not all arrived that was sent. {first}");
            (Outcome::Broken, sentence, with_traces(lost.iter().chain(&leaks).cloned().collect()))
        }
    };

    if evidence.partial {
        let sentence = format!("Cannot tell: the trace source left out spans of claim {claim}.");
        return (Outcome::CannotTell, sentence, with_traces(sentences(&chain)));
    }
    if chain.is_empty() {
        let unseen: Vec<_> = unseen(evidence, &rows).collect();
        if !unseen.is_empty() {
            let sentence = format!("Cannot tell: what was seen of claim {claim} is whole, but not all of it was seen.");
            return unless_lost(Outcome::CannotTell, sentence, unseen);
        }
        if !extra.is_empty() {
            let sentence = format!("Claim {claim} is one whole trace, but it does not carry what it must.");
            return unless_lost(Outcome::Broken, sentence, extra);
        }
        let sentence = format!("Claim {claim} is one whole trace: every hop's parent is its sender.");
        return unless_lost(Outcome::Healthy, sentence, Vec::new());
    }
    if let Some(facts) = lost_export(evidence, &rows) {
        let why = match evidence.missing_parents().all(|span| evidence.has_caller(span)) {
            true => "its caller's spans are not here",
            false => "spans were lost",
        };
        let sentence =
            format!("Not a propagation break: the context of claim {claim} arrived and was used, but {why}.");
        return unless_lost(Outcome::NotAPropagationBreak, sentence, facts);
    }
    if let Some(facts) = linked_on_purpose(evidence, &rows) {
        let sentence = format!("Not a propagation break: the traces of claim {claim} are joined by links, by design.");
        return unless_lost(Outcome::NotAPropagationBreak, sentence, facts);
    }
    if let Some(facts) = lost_leaf(evidence, &rows) {
        let sentence = format!("Cannot tell: what was seen of claim {claim} is whole, but not all of it was seen.");
        return unless_lost(Outcome::CannotTell, sentence, facts);
    }
    let (place, mut facts) = broken(evidence, &rows);
    facts.extend(leaks);
    facts.extend(extra);
    let count = evidence.fragments.len();
    let traces_in_words = if count == 1 { "is in one trace".to_owned() } else { format!("fell into {count} traces") };
    (Outcome::Broken, format!("Broken: claim {claim} {traces_in_words}; {place}."), with_traces(facts))
}

fn sentences(mismatches: &[Mismatch]) -> Vec<String> {
    mismatches.iter().map(ToString::to_string).collect()
}

/// What was sent and did not arrive, and baggage that the application could not read where it should.
fn not_carried(evidence: &ClaimEvidence, rows: &[HopRow]) -> Vec<String> {
    let inner = || Topology::LAB.hops.iter().zip(rows).filter(|(hop, _)| hop.to.has_sdk()).map(|(_, row)| row);
    let changed = inner().filter_map(|row| {
        let names = row.changed_headers().join(", ");
        (!names.is_empty()).then(|| format!("{}: what arrived differs from what was sent: {names}.", row.hop))
    });
    let unread = inner().filter_map(|row| tenant_lost(evidence, row)).chain(tenant_unread_at_the_door(evidence));
    let unread = unread.map(|span| format!("Baggage `{TENANT}` could not be read at {}.", describe_span(span)));
    changed.chain(unread).collect()
}

/// The receiver, if its application could not read the tenant though the one that called it could, and what was sent has
/// a place for baggage: B3, Jaeger and X-Ray carry trace identity alone.
pub(crate) fn tenant_lost<'a>(evidence: &'a ClaimEvidence, row: &HopRow) -> Option<&'a Span> {
    let sender = evidence.span_of(row.sent.as_ref()?)?;
    let receiver = evidence.span_of(row.received.as_ref()?)?;
    let read = |span: &Span| span.attributes.contains_key(TENANT);
    let known = evidence.lineage(sender).take_while(|span| span.service == sender.service).any(read);
    let formats = &row.sent.as_ref()?.formats;
    let carries_identity_alone = |format: &Format| format.is_identity() && *format != Format::TraceContext;
    let has_place = formats.is_empty() || !formats.iter().all(carries_identity_alone);
    (row.is_joined() && known && has_place && !read(receiver)).then_some(receiver)
}

/// The front door's span, if the caller sent the tenant and the application could not read it.
pub(crate) fn tenant_unread_at_the_door(evidence: &ClaimEvidence) -> Option<&Span> {
    let sent = |span: &&Span| recorded(&span.attributes).baggage().contains_key(TENANT);
    evidence.front().filter(|front| !front.attributes.contains_key(TENANT)).filter(sent)
}

/// Baggage that left the company and by its key is a secret, with the hop; the third party's record counts, without one
/// what was sent.
pub(crate) fn leaked_secrets(rows: &[HopRow]) -> impl Iterator<Item = (&Hop, &str)> {
    let outside = Topology::LAB.hops.iter().zip(rows).filter(|(hop, _)| !hop.to.has_sdk());
    let side = outside.filter_map(|(hop, row)| Some((hop, row.received.as_ref().or(row.sent.as_ref())?)));
    let keys = side.flat_map(|(hop, side)| side.baggage.keys().map(move |key| (hop, key.as_str())));
    keys.filter(|(_, key)| is_secret(key))
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key == "authorization" || ["token", "password", "secret", "session"].iter().any(|word| key.contains(word))
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
    let received = recorded(&span.attributes);
    let named = |headers: &TraceHeaders| {
        headers.contexts().any(|(_, context)| context.names(span.trace_id, parent) && context.sampled == Some(true))
    };
    let sent = rows.iter().find(|row| is_receiver_of(row, span)).and_then(|row| row.sent.as_ref());
    // Without a span of the sender, the front door's answer is the second witness that nobody in between began anew.
    let agreed = match sent {
        Some(sent) => named(&sent.headers),
        None => evidence.response_context().is_none_or(|context| context.trace_id.matches(span.trace_id)),
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
    let unseen: Vec<_> = unseen(evidence, rows).collect();
    (is_one_tree(evidence) && rooted && whole && arrived && !unseen.is_empty()).then_some(unseen)
}

/// What every claim leaves and was not seen of this one.
fn unseen(evidence: &ClaimEvidence, rows: &[HopRow]) -> impl Iterator<Item = String> {
    let receivers = Topology::LAB.hops.iter().zip(rows).filter(|(hop, row)| hop.to.has_sdk() && row.received.is_none());
    let receivers = receivers.map(|(hop, _)| format!("{hop}: no span of its receiver arrived."));
    let late = evidence.unseen_late_spans();
    receivers.chain(late.map(|late| format!("{}: no span `{}` arrived.", late.service, late.name)))
}

/// The facts, if every receiver hangs below its sender or is tied to it by a link, and nothing else is wrong: the only
/// roots are the front door's and those above the linked receivers.
fn linked_on_purpose(evidence: &ClaimEvidence, rows: &[HopRow]) -> Option<Vec<String>> {
    let inner: Vec<_> =
        Topology::LAB.hops.iter().zip(rows).filter(|(hop, _)| hop.to.has_sdk()).map(|(_, row)| row).collect();
    let linked: Vec<_> = inner.iter().filter(|row| row.parent != Some(ParentUsed::Sender) && row.linked).collect();
    let receivers = linked.iter().filter_map(|row| evidence.span_of(row.received.as_ref()?));
    let tops: Vec<_> = receivers.filter_map(|span| evidence.lineage(span).last()).collect();
    let own_trace = |fragment: &Fragment| tops.iter().any(|top| top.trace_id == fragment.trace_id);
    let whole = evidence.fragments.iter().all(|fragment| {
        let roots: Vec<_> = fragment.roots().collect();
        let [root] = roots.as_slice() else { return false };
        let fits = if own_trace(fragment) { tops.contains(root) } else { is_front_door(root) };
        // A batch may hold messages of several claims.
        fits && (own_trace(fragment) || fragment.other_claims.is_empty())
    });
    let doors = evidence.fragments.iter().filter(|fragment| !own_trace(fragment)).count();
    let cycles = evidence.fragments.iter().any(|fragment| fragment.placed(Place::Cycle).next().is_some());
    let arrived = evidence.missing_parents().next().is_none() && unseen(evidence, rows).next().is_none();
    let joined = inner.iter().all(|row| row.is_joined());
    let fact = |row: &&&HopRow| format!("{}: joined by a link to the sender's span, by design.", row.hop);
    (!linked.is_empty() && whole && doors == 1 && !cycles && arrived && joined)
        .then(|| linked.iter().map(fact).collect())
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
    let received = row.received.as_ref().and_then(|side| side.span);
    received.is_some_and(|side| side.span_id == span.span_id && side.trace_id == span.trace_id)
}

/// Where the chain breaks, and the facts that say so.
fn broken(evidence: &ClaimEvidence, rows: &[HopRow]) -> (String, Vec<String>) {
    let mut facts = Vec::new();
    let hop = rows.iter().find(|row| row.parent.is_some() && !row.is_joined());
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
    facts.extend(unseen(evidence, rows));
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
    let sent_span = row.sent.as_ref().and_then(|side| side.span);
    let parent = match (received.span?.parent_span_id, sent_span) {
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
        let mut linked = whole_chain();
        split(&mut linked, PROCESS, TRACE_B);
        linked[6] = linked[6].clone().link(TRACE_A, SEND);
        let mut linked_and_split = linked.clone();
        split(&mut linked_and_split, REPORTED, 0xc3);
        let mut link_elsewhere = linked.clone();
        link_elsewhere[6].links[0].span_id = span_id(CALL_POLICY);
        let mut linked_and_lone = linked.clone();
        split(&mut linked_and_lone, AUDIT, 0xc3);
        let mut linked_unread = linked.clone();
        linked_unread[6].attributes.remove("tenant.id");
        let state = |span: Span| span.header("tracestate", "acme=1");
        let called = |span: Span| Span { parent_span_id: Some(span_id(0x99)), ..span };
        let caller = chain_with(FRONT, |span| called(span.header("traceparent", traceparent(TRACE_A, 0x99, 1))));
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
            (seen(caller), NotAPropagationBreak, "the caller is no part of the chain"),
            (seen(linked), NotAPropagationBreak, "joined by a link, by design"),
            (seen(linked_and_split), Broken, "a link mends one hop only"),
            (seen(link_elsewhere), Broken, "the link leads to another span than the sender's"),
            (seen(linked_and_lone), Broken, "a lone root beside the linked one"),
            (seen(linked_unread), Broken, "joined by a link, but the baggage is lost"),
            (seen(chain_with(CALL_CLAIMS, state)), Broken, "tracestate was sent and did not arrive"),
            (seen(chain_with(POLICY, |span| span.without("tenant.id"))), Broken, "the tenant was unreadable there"),
            (seen(chain_with(REPORTED, |span| span.without("tenant.id"))), Broken, "and here, where it came back"),
            (seen(chain_with(FRONT, |span| span.without("tenant.id"))), Healthy, "nobody said a tenant"),
            (seen(chain_without(&[AUDIT])), CannotTell, "a span that every claim leaves was not seen"),
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
    fn secrets_must_not_leave_the_company() {
        let record = |baggage: &str| -> TraceHeaders {
            [("baggage".to_owned(), vec![baggage.to_owned()])].into_iter().collect()
        };
        let cases = [
            (Some(record("user.session_token=x")), Outcome::Leaking, "a token"),
            (Some(record("Authorization=x")), Outcome::Leaking, "upper case hides nothing"),
            (Some(record("db-password=x,tenant.id=y")), Outcome::Leaking, "one of several"),
            (Some(record("tenant.id=y")), Outcome::Healthy, "that is no secret"),
            (Some(TraceHeaders::default()), Outcome::Healthy, "it was sent nothing"),
            (None, Outcome::Healthy, "nobody asked, and nothing was sent"),
        ];
        for (record, outcome, why) in cases {
            assert_eq!(judge(&[seen(whole_chain()).with_third_party(record)], None).outcome, outcome, "{why}");
        }
        let sent = || chain_with(CALL_PARTNER, |span| span.header("baggage", "client_secret=x"));
        assert_eq!(judge(&[seen(sent())], None).outcome, Outcome::Leaking, "what was sent counts, without a record");
        let arrived = seen(sent()).with_third_party(Some(partner_record()));
        assert_eq!(judge(&[arrived], None).outcome, Outcome::Healthy, "with a record, what arrived counts");
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
        let sentence = "Broken: claim c-1 fell into 2 traces; the first hop whose parent is not its \
                        sender is python-api -> java-claims. (1 of 2 claims came out so.)";
        assert_eq!(verdict.sentence, sentence, "the sentence names the claim and the hop");
        let evidence = [
            "Trace 000000000000000000000000000000a1 [python-api `POST /claims` (server); python-api].",
            "Trace 000000000000000000000000000000b2 [java-claims `POST /api/claims` (server); java-claims, node-policy-store, claims-worker].",
            "python-api -> java-claims: the receiver's span is a root. Sent: b3; received: b3.",
            "java-claims `POST /api/claims` (server) is a root; only the front door's may be.",
        ];
        assert_eq!(verdict.evidence, evidence, "each fact comes from the spans");
        assert_eq!(serde_json::to_value(verdict.outcome).unwrap(), "broken", "outcomes are kebab-case");
        assert_eq!(verdict.outcome.exit_code(), 1, "broken exits with 1");
    }
}
