//! Every sentence about a claim, in one place: what the other modules decide, this one says.

use std::collections::BTreeSet;

use chain::sdk::Capture;
use chain::vocabulary::{CAPTURED_CLAIM_IDS, CLAIM_ID_HEADER};
use chain::{Hop, Language, Place};

use crate::answer::{Answer, Objection};
use crate::cause::{Cause, MAX_BAGGAGE_BYTES};
use crate::cell::CellReason;
use crate::claim::{ClaimEvidence, Collected, MAX_LISTED, listed};
use crate::conclusion::{Conclusion, NotABreak, Outcome, Unknown};
use crate::headers::format_names;
use crate::ledger::{FoundBy, HopRow, Side, SideState};
use crate::reading::{NotReceived, Reading, TENANT};
use crate::span::Span;
use wire::Format;

/// What went wrong.
#[must_use]
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::CallWithoutSpan { hop } => {
            format!("{} has no span of this call, and no trace header arrived.", hop.from)
        }
        Cause::NothingArrived { hop, sent: SideState::NoSpan } => {
            format!("No trace header arrived, and no span of {} was received.", hop.from)
        }
        Cause::NothingArrived { hop, .. } => {
            format!("No trace header arrived, and what {} sent is not on record.", hop.from)
        }
        Cause::NothingSent { hop } => format!("No trace header left {}.", hop.from),
        Cause::MessageWithoutAttributes { hop } => format!("No trace attribute left {} with the message.", hop.from),
        Cause::ProducerWithoutInjection { hop } => {
            format!("{} injects nothing into the message's attributes.", hop.from)
        }
        Cause::OutboxWithoutAttributes { .. } => {
            "The outbox does not keep the attributes, and its relay injects an empty context.".to_owned()
        }
        Cause::OtherSpanInjected { hop, formats } => {
            format!("{} left {}, but names no span of this call.", format_names(formats), hop.from)
        }
        Cause::BaggageNotSent { hop, on_record: false } => {
            format!(
                "{} could read `{TENANT}`, and no baggage with it arrived; what was sent is not on record.",
                hop.from
            )
        }
        Cause::BaggageNotSent { hop, on_record: true } => {
            format!("{} could read `{TENANT}`, but sent no baggage with it; the trace context passed.", hop.from)
        }
        Cause::HeadersLost { hop, names } => format!("{}{}, but did not arrive.", were_sent(names), via(hop)),
        Cause::TraceReplaced { hop, sent, arrived } => {
            format!("What was sent{} names trace {}, what arrived names {}.", via(hop), sent.trace_id, arrived.trace_id)
        }
        Cause::SpanReplaced { hop, sent, arrived } => format!(
            "What was sent{} names span {}, what arrived names {}: something in between wrote another span id.",
            via(hop),
            sent.span_id,
            arrived.span_id
        ),
        Cause::HeadersAltered { hop, names } => {
            format!("{}{}, and arrived changed.", were_sent(names), via(hop))
        }
        Cause::OtherTraceArrived { hop, answered, arrived } => format!(
            "The front door answered with trace {}, but trace {} arrived{}.",
            answered.trace_id,
            arrived.trace_id,
            via(hop)
        ),
        Cause::OtherSpanArrived { hop, sender, arrived, .. } => format!(
            "What arrived{} names span {}, but the sender's span is {sender}; what was sent is not on record.",
            via(hop),
            arrived.span_id
        ),
        Cause::LostInTransit { .. } => "The headers were sent, and lost in transit.".to_owned(),
        Cause::Invalid { arrived, reason, .. } => {
            let reason = reason.as_deref().unwrap_or("it names no span");
            format!("{} arrived, but is invalid: {reason}.", format_names(arrived))
        }
        Cause::FormatMismatch { hop, arrived, propagated } => {
            format!("{} arrived, but {} propagates {}.", format_names(arrived), hop.to, format_names(propagated))
        }
        Cause::NoPropagator { hop, arrived } => format!(
            "{} arrived, but {} sends no trace header at all: it has no propagator.",
            format_names(arrived),
            hop.to
        ),
        Cause::NotExtracted { hop, arrived, known_format: true } => format!(
            "{} arrived, in a format that {to} propagates, and {to} most likely did not extract it.",
            format_names(arrived),
            to = hop.to
        ),
        Cause::NotExtracted { hop, arrived, known_format: false } => {
            format!("{} arrived, and {} most likely did not extract it.", format_names(arrived), hop.to)
        }
        Cause::OtherFormatWon { hop, right: Some(right), used } => format!(
            "{right} and {used} arrived with different ids, and {} took those of {used}: the last propagator that finds \
             something wins.",
            hop.to,
            right = format_names(&[*right]),
            used = format_names(&[*used])
        ),
        Cause::OtherFormatWon { hop, right: None, used } => {
            format!("{} took the ids of {}, which are not the sender's.", hop.to, format_names(&[*used]))
        }
        Cause::BaggageTooLong { bytes, .. } => {
            format!("Baggage of {bytes} bytes arrived; above {MAX_BAGGAGE_BYTES} all of it is dropped.")
        }
        Cause::NoBaggagePropagator { hop } => format!("Baggage arrived, but {} neither reads nor sends any.", hop.to),
        Cause::BaggageNotExtracted { hop } => format!("Baggage arrived, but {} did not read it.", hop.to),
        Cause::CallersBaggageUnread { .. } => "The caller's baggage arrived, but was not read.".to_owned(),
        Cause::ParentNotUsed { hop, arrived } => format!(
            "{} arrived, and {} read its baggage, but did not use the context as parent.",
            format_names(arrived),
            hop.to
        ),
        Cause::ExtractedNotUsed { .. } => "The context was extracted, but not used as the parent.".to_owned(),
        Cause::BaggageNotLookedAt { .. } => {
            "The baggage was extracted, but the application did not read it.".to_owned()
        }
        Cause::SamplingNotFollowed { hop } => {
            format!("The sampled bit is clear on what arrived, yet {} recorded: their samplers differ.", hop.to)
        }
        Cause::RootInside { span, .. } => format!("{span} is a root: the context was lost on the way to it."),
        Cause::StaleContext { span, other_claim, .. } => {
            format!("{span} is below a span of claim {other_claim}: it took over a stale context.")
        }
        Cause::NotJoined { hop, parent, sent, received } => {
            let parent = match parent {
                None => "The receiver's span is a root".to_owned(),
                Some(parent) => format!("The receiver's parent is {parent}, which is not the sender's span"),
            };
            let side = |state: &SideState, what: String| match state {
                SideState::Recorded => None,
                SideState::NotOnRecord => Some(format!("what {what} is not on record")),
                SideState::NoSpan => Some(format!("no span says what {what}")),
            };
            let sides = [side(sent, format!("{} sent", hop.from)), side(received, format!("{} received", hop.to))];
            let sides: Vec<_> = sides.into_iter().flatten().collect();
            let sides = if sides.is_empty() { "nothing on record says why".to_owned() } else { sides.join(", and ") };
            format!("{parent}; {sides}.")
        }
        Cause::ParentNotReceived { span, parent, .. } => {
            format!("{span} names the parent {parent}, which was not received.")
        }
        Cause::Split { traces, .. } => format!(
            "The claim was split into {traces} traces. The spans where they separate were not received, so the step that \
             failed there is not on record."
        ),
        Cause::StrayRoot { span, .. } => format!("{span} is a root; only the front door's span may be one."),
        Cause::SharedTrace { trace_id, other_claims } => {
            format!("Trace {trace_id} also has spans of other claims: {}.", listed(other_claims))
        }
        Cause::Cycle { trace_id } => format!("In trace {trace_id} a span is its own ancestor."),
        Cause::Unmet(mismatch) | Cause::UnmetLeak(mismatch) => mismatch.to_string(),
        Cause::Leak { hop, keys } => {
            format!("baggage `{}` left the company: it was sent to {}.", keys.join(", "), hop.to)
        }
    }
}

/// Why something that looks like a break is none.
#[must_use]
pub fn not_a_break(reason: &NotABreak) -> String {
    match reason {
        NotABreak::LinkedByDesign { hop } => format!("{hop}: joined by a link to the sender's span, by design."),
        NotABreak::LinkedRoot { span } => format!("{span} links to a span of the claim, by design."),
        NotABreak::NotSampled { traceresponse } => {
            format!("The front door answered `traceresponse: {traceresponse}`: the sampled bit is clear.")
        }
        NotABreak::NotExported { span, parent, within_process: true } => {
            format!("{span} names the parent {parent} in the same process, which was not received.")
        }
        NotABreak::NotExported { span, parent, within_process: false } => format!(
            "{span} names the parent {parent}, as the sampled header that it received does; that span was not received."
        ),
        NotABreak::Called { span, parent, .. } => {
            format!("{span} is below {parent}, a span of its caller, which is not part of the chain.")
        }
        NotABreak::Refused { status } => {
            format!(
                "The front door refused the claim with status {status}; the services that it did not reach have no spans."
            )
        }
        NotABreak::SubmittedAgain { times } => {
            format!("The front door received the claim {times} times; each submission begins a trace.")
        }
    }
}

/// Why something cannot be said, one sentence each.
#[must_use]
pub fn unknown(unknown: &Unknown) -> Vec<String> {
    match unknown {
        Unknown::SourceDown { errors } => errors.clone(),
        Unknown::TooManyTraces { searched_up_to } => vec![format!(
            "{searched_up_to} traces carry its id, the most that a search finds: its own may not be among them. \
             Anyone who can send spans to the trace store can send them with this id."
        )],
        Unknown::Partial => vec!["The trace source left out spans.".to_owned()],
        Unknown::NothingReceived { waited_millis, malformed, traceresponse } => {
            let mut sentences = vec![format!("No span of it was received within {waited_millis} ms.")];
            if *malformed > 0 {
                sentences.push(match malformed {
                    1 => "1 span had a malformed id and was left out.".to_owned(),
                    count => format!("{count} spans had malformed ids and were left out."),
                });
            }
            sentences.push(traceresponse.as_ref().map_or_else(
                || "No traceresponse says whether it was sampled.".to_owned(),
                |header| format!("The front door answered `traceresponse: {header}`."),
            ));
            sentences
        }
        Unknown::NotReceived(what) => vec![not_received(*what)],
        Unknown::ParentNotTold { span, parent } => vec![format!(
            "{span} names the parent {parent}, which was not received; nothing on record shows which service wrote that id."
        )],
        Unknown::NotASubmission => vec!["No span of this trace carries a claim's id.".to_owned()],
    }
}

/// A span that every claim leaves, by its name.
#[must_use]
pub fn missing(what: NotReceived) -> String {
    match what {
        NotReceived::FrontDoor(service) => format!("the span of {service} that received the claim"),
        NotReceived::Receiver(hop) => format!("the span `{}` of {}, at {hop}", hop.receiver_span, hop.to),
        NotReceived::Late(late) => format!("the span `{}` of {}", late.name, late.service),
    }
}

/// What every claim leaves and was not received of this one.
#[must_use]
pub fn not_received(what: NotReceived) -> String {
    match what {
        NotReceived::FrontDoor(service) => format!("{service}: its span that received the claim was not received."),
        NotReceived::Receiver(hop) => format!("{hop}: no span of its receiver was received."),
        NotReceived::Late(late) => format!("{}: no span `{}` was received.", late.service, late.name),
    }
}

/// The outcome of one claim.
pub(crate) fn outcome(conclusion: &Conclusion<'_>) -> String {
    let evidence = conclusion.reading.evidence();
    let claim = &evidence.claim_id;
    match conclusion.outcome() {
        Outcome::Healthy => {
            let (read, unread) = conclusion.reading.reads_of_tenant();
            let mut names: Vec<_> = read.iter().map(|span| span.service.as_str()).collect();
            // java-claims is called twice.
            let mut known = BTreeSet::new();
            names.retain(|name| known.insert(*name));
            let baggage = match names.is_empty() || !unread.is_empty() {
                true => String::new(),
                false => format!(" Its baggage `{TENANT}` was read at {}.", listed(&names)),
            };
            format!("Claim {claim} is one complete trace: every span but the root has its parent in it.{baggage}")
        }
        Outcome::NotAPropagationBreak => {
            let why = conclusion.not_breaks().iter().map(|reason| match reason {
                NotABreak::NotExported { .. } => {
                    (0, format!("the context of claim {claim} arrived and was used, but spans were not received"))
                }
                NotABreak::NotSampled { .. } => (0, format!("claim {claim} has no spans by a sampling decision")),
                NotABreak::LinkedByDesign { .. } | NotABreak::LinkedRoot { .. } => {
                    (1, format!("the traces of claim {claim} are joined by links, by design"))
                }
                NotABreak::Refused { status } => (2, format!("claim {claim} was refused with status {status}")),
                NotABreak::Called { received: false, .. } => (
                    3,
                    format!(
                        "the context of claim {claim} arrived and was used, but its caller's spans were not received"
                    ),
                ),
                NotABreak::Called { received: true, .. } => {
                    (3, format!("the trace of claim {claim} is complete, below spans of its caller"))
                }
                NotABreak::SubmittedAgain { times } => {
                    (4, format!("claim {claim} was submitted {times} times, and each submission begins a trace"))
                }
            });
            let why = why.min().map(|(_, why)| why).unwrap_or_default();
            format!("Not a propagation break: {why}.")
        }
        Outcome::CannotTell => {
            let why = match conclusion.unknown().first() {
                Some(Unknown::SourceDown { .. }) => {
                    format!("the trace source does not answer, so claim {claim} cannot be looked up")
                }
                Some(Unknown::TooManyTraces { searched_up_to }) => {
                    format!(
                        "{searched_up_to} traces or more carry the id of claim {claim}, more than one claim can have"
                    )
                }
                Some(Unknown::Partial) => format!("the trace source left out spans of claim {claim}"),
                Some(Unknown::NothingReceived { .. }) => format!("no span of claim {claim} was received"),
                Some(Unknown::NotASubmission) => "the trace belongs to no submission of a claim".to_owned(),
                Some(Unknown::NotReceived(_) | Unknown::ParentNotTold { .. }) | None => {
                    format!("what was received of claim {claim} is connected, but not all of it was received")
                }
            };
            format!("Cannot tell: {why}.")
        }
        Outcome::Leaking => format!("Baggage of claim {claim} arrived where it must not."),
        Outcome::Broken => {
            let traces = match evidence.fragments.len() {
                1 => "is in one trace".to_owned(),
                count => format!("was split into {count} traces"),
            };
            let place = conclusion.first().map(|first| broken_at(conclusion.reading, first)).unwrap_or_default();
            format!("Broken: claim {claim} {traces}; {place}.")
        }
    }
}

fn broken_at(reading: &Reading<'_>, cause: &Cause) -> String {
    let joined = |hop: &Hop| reading.row(hop).is_some_and(HopRow::is_joined);
    match (cause, cause.place()) {
        (Cause::BaggageNotSent { hop, .. }, _) => format!("baggage was not sent on, first at {hop}"),
        (
            Cause::BaggageTooLong { hop, .. } | Cause::NoBaggagePropagator { hop } | Cause::BaggageNotExtracted { hop },
            _,
        ) => format!("baggage arrived and could not be read, first at {hop}"),
        (Cause::CallersBaggageUnread { service }, _) => format!("the caller's baggage was not read by {service}"),
        (Cause::SamplingNotFollowed { hop }, _) => format!("the sampling decision was not followed, first at {hop}"),
        (Cause::Split { hop: Some(hop), .. }, _) => {
            format!("they separate at {hop}, where no span of the receiver was received")
        }
        (Cause::Unmet(_), _) => "it does not carry what it must".to_owned(),
        (Cause::SharedTrace { .. }, _) => "it shares a trace with another claim".to_owned(),
        (_, Some(Place::Hop(hop))) if joined(hop) => format!("not everything that was sent arrived, first at {hop}"),
        (_, Some(Place::Hop(hop))) => format!("the first hop whose parent is not its sender is {hop}"),
        (Cause::StaleContext { .. }, Some(Place::Service(service))) => {
            format!("a stale context was taken over inside {service}")
        }
        (_, Some(Place::Service(service))) => format!("the context was lost inside {service}"),
        (_, None) => "its spans are not connected".to_owned(),
    }
}

/// What was observed of a claim, without any judgement: its traces with their roots, and the parents that were not
/// received.
pub(crate) fn observed(reading: &Reading<'_>) -> Vec<String> {
    let evidence = reading.evidence();
    let count = match evidence.fragments.len() {
        0 => format!("Claim {}: no span was received.", evidence.claim_id),
        1 => format!("Claim {} is in one trace.", evidence.claim_id),
        count => format!("Claim {} is in {count} traces.", evidence.claim_id),
    };
    let traces = evidence.fragments.iter().map(|fragment| format!("Trace {}.", fragment.describe()));
    let missing = evidence.missing_parents().filter_map(|span| {
        let when = absent(reading.collected);
        Some(format!("{} names the parent {}, {when}.", span.describe(), span.parent_span_id?))
    });
    let answer =
        evidence.traceresponse.iter().map(|header| format!("The front door answered `traceresponse: {header}`."));
    [count].into_iter().chain(traces).chain(missing).chain(baggage_read(reading)).chain(answer).collect()
}

/// Whether two claims were observed alike, apart from the ids.
#[must_use]
pub fn observed_alike(one: &[String], other: &[String]) -> bool {
    let is_id = |word: &&str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = |observed: &'_ String| {
        let words = observed.split(|character: char| !character.is_ascii_alphanumeric());
        words.filter(|word| !is_id(word)).map(str::to_owned).collect::<Vec<_>>()
    };
    one.iter().map(words).eq(other.iter().map(words))
}

/// Where the application read the tenant, of the spans that say so.
fn baggage_read(reading: &Reading<'_>) -> Option<String> {
    let (read, not_read) = reading.reads_of_tenant();
    let names = |spans: Vec<&Span>| listed(&spans.into_iter().map(Span::describe).collect::<Vec<_>>());
    match (names(read), names(not_read)) {
        (read, not_read) if read.is_empty() && not_read.is_empty() => None,
        (read, not_read) if not_read.is_empty() => Some(format!("Baggage `{TENANT}` was read at {read}.")),
        (read, not_read) if read.is_empty() => Some(format!("Baggage `{TENANT}` was not read at {not_read}.")),
        (read, not_read) => Some(format!("Baggage `{TENANT}` was read at {read}, and not at {not_read}.")),
    }
}

/// What the front door's answer says about sampling; what follows from it is left to the reader.
#[must_use]
pub fn sampling(evidence: &ClaimEvidence) -> String {
    let Some(header) = &evidence.traceresponse else {
        return "No traceresponse says whether it was sampled.".to_owned();
    };
    let means = match evidence.response_context().and_then(|context| context.sampled) {
        Some(false) => "the sampled bit is clear",
        Some(true) => "the sampled bit is set",
        None => "it says nothing about sampling",
    };
    format!("The front door answered `traceresponse: {header}`: {means}.")
}

/// Since when something is absent: until [`LATEST_SPAN`](crate::collect::LATEST_SPAN) it may still come, unless it was not
/// sampled.
#[must_use]
pub fn absent(collected: &Collected) -> String {
    let latest = crate::collect::LATEST_SPAN.as_secs();
    match collected.age_millis / 1000 {
        _ if collected.evidence.response_context().is_some_and(|it| it.sampled == Some(false)) => {
            "not received (sampled bit clear)".to_owned()
        }
        age if age < latest => format!("not received yet ({age} s)"),
        _ => format!("not received within {latest} s"),
    }
}

/// What the outcome rests on, one sentence each: what was seen, without its cause.
pub(crate) fn facts(conclusion: &Conclusion<'_>) -> Vec<String> {
    let reading = conclusion.reading;
    let evidence = reading.evidence();
    let traces = evidence.fragments.iter().map(|fragment| format!("Trace {}.", fragment.describe()));
    let mut facts: Vec<_> = some(traces).collect();
    if conclusion.outcome() == Outcome::Broken {
        facts.extend(reading.inner_rows().find(|row| row.parent.is_some() && !row.is_joined()).and_then(torn));
        facts.extend(some(evidence.missing_parents().filter_map(|span| {
            Some(format!("{} names the parent {}, which was not received.", span.describe(), span.parent_span_id?))
        })));
        let stray = reading
            .stray_roots()
            .map(|root| format!("{} is a root; only the front door's span may be one.", root.describe()));
        facts.extend(some(stray));
        facts.extend(some(reading.mixed().map(|fragment| {
            let others = listed(&fragment.other_claims);
            format!("Trace {} also has spans of other claims: {others}.", fragment.trace_id)
        })));
        facts.extend(not_carried(reading));
    } else {
        facts.extend(some(conclusion.not_breaks().iter().map(not_a_break)));
    }
    facts.extend(conclusion.unknown().iter().flat_map(unknown));
    facts.extend(reading.leaks().map(|leak| format!("{}: baggage `{}` was sent.", leak.hop, leak.key)));
    facts.extend(conclusion.causes().iter().filter_map(|cause| match cause {
        Cause::Unmet(mismatch) | Cause::UnmetLeak(mismatch) => Some(mismatch.to_string()),
        _ => None,
    }));
    facts
}

/// Some sentences, and how many are left out: anyone who sends spans can cause any number of them.
fn some(sentences: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut all: Vec<_> = sentences.collect();
    let left_out = all.len().saturating_sub(MAX_LISTED);
    all.truncate(MAX_LISTED);
    let more = match left_out {
        0 => None,
        1 => Some("1 more like this was left out.".to_owned()),
        more => Some(format!("{more} more like this were left out.")),
    };
    all.into_iter().chain(more)
}

/// What was sent and did not arrive, and baggage that the application could not read where it should.
fn not_carried(reading: &Reading<'_>) -> impl Iterator<Item = String> {
    let changed = reading.inner_rows().filter(|row| row.is_joined()).filter_map(|row| {
        let names = row.changed_headers().join(", ");
        (!names.is_empty()).then(|| format!("{}: what arrived differs from what was sent: {names}.", row.hop))
    });
    let unread = reading.inner_rows().filter_map(|row| reading.tenant_lost(row));
    let unread = unread.chain(reading.tenant_unread_at_the_door());
    changed.chain(unread.map(|span| format!("Baggage `{TENANT}` could not be read at {}.", span.describe())))
}

fn torn(row: &HopRow) -> Option<String> {
    let parent = match (row.received.span?.parent_span_id, row.sent.span) {
        (None, _) => "is a root".to_owned(),
        (Some(parent), None) => format!("names the parent {parent}; no span of its sender was received"),
        (Some(parent), Some(sent)) => format!("names the parent {parent}, but its sender's span is {}", sent.span_id),
    };
    let sampled = if row.sampled == Some(false) { "; the sampled bit that arrived is clear" } else { "" };
    let (sent, received) = (side(&row.sent), side(&row.received));
    Some(format!("{}: the receiver's span {parent}. Sent: {sent}; received: {received}{sampled}.", row.hop))
}

/// The formats at one end of a hop, or why they are not known.
#[must_use]
pub fn side(side: &Side) -> String {
    match side.state {
        SideState::Recorded => format_names(&side.formats),
        state => state.words().to_owned(),
    }
}

/// How the receiver of a hop was found, if not by the claim's id.
pub(crate) fn found_by(row: &HopRow) -> Option<String> {
    let how = match row.found_by? {
        FoundBy::ItsClaimId => return None,
        FoundBy::ItsPlace => "was found by its place in the trace",
        FoundBy::TimeAndTarget => {
            "was inferred from time and target: no other request to this route was received while its sender waited"
        }
    };
    Some(format!("{}: the span of {} carries no claim id and {how}.", row.hop, row.hop.to))
}

/// How an SDK is told to put on record the headers that a span does not show.
pub(crate) fn advice(span: &Span, language: Language, sent: bool) -> String {
    let service = &span.service;
    let what = if sent { "sends" } else { "receives" };
    // Where another header of the same request was captured, this is no matter of what the SDK was told.
    let captures = CAPTURED_CLAIM_IDS.iter().any(|key| span.attributes.contains_key(*key));
    match language.row().capture {
        Capture::Variables { .. } if sent && captures => {
            format!(
                "What {service} sends is not on record, though its SDK captures headers: {}.",
                language.row().by_code
            )
        }
        Capture::Variables { server_request, client_request, .. } => {
            let variable = if sent { client_request } else { server_request };
            let headers: Vec<_> = wire::trace_headers().chain([CLAIM_ID_HEADER]).collect();
            format!("{service} puts what it {what} on record with {variable}={}.", headers.join(","))
        }
        Capture::Code(code) => {
            format!("{service} puts what it {what} on record with {code}; no variable of its SDK does.")
        }
    }
}

/// Why a step succeeded, failed, or cannot be judged.
pub(crate) fn cell(reason: &CellReason<'_>) -> String {
    let names = |formats: &[Format]| format_names(formats);
    match reason {
        CellReason::Failed(found) => cause(found),
        CellReason::Suspected(found) => format!("it seems that {}", cause(found)),
        CellReason::EarlierStepFailed(step) => format!("step {step} failed"),
        CellReason::NotOwed => "a third party need not receive a trace header".to_owned(),
        CellReason::NotReached => "the claim was refused before it reached this hop".to_owned(),
        CellReason::ThirdParty => "a third party creates no spans of this trace".to_owned(),
        CellReason::Left(formats) => format!("{} left the sender", names(formats)),
        CellReason::LeftUnseen { arrived, sent: SideState::NotOnRecord } => {
            format!("what the sender sent is not on record, but {} arrived", names(arrived))
        }
        CellReason::LeftUnseen { arrived, .. } => {
            format!("the sender's span was not received, but {} arrived", names(arrived))
        }
        CellReason::ParentShows => "the receiver is below the sender's span, so the context arrived".to_owned(),
        CellReason::SentNotOnRecord => "what the sender sent is not on record".to_owned(),
        CellReason::ReceivedNotOnRecord => "what arrived is not on record".to_owned(),
        CellReason::NeitherEnd => "neither end of the hop was received".to_owned(),
        CellReason::AsSent(formats) => format!("{} arrived unchanged", names(formats)),
        CellReason::AnotherCall => "what arrived was sent by another call".to_owned(),
        CellReason::NoSender => "the sender's span was not received, so what arrived cannot be compared".to_owned(),
        CellReason::NoReceiver => "the receiver's span was not received".to_owned(),
        CellReason::NoRecord => "the third party's record was not received".to_owned(),
        CellReason::LinkExtracted => "the receiver links to the span that the context names".to_owned(),
        CellReason::LinkUsed => "joined by a link, by design".to_owned(),
        CellReason::Extracted => "the receiver is in the trace that the context names".to_owned(),
        CellReason::ParentIsSender => "the receiver's parent is the sender's span".to_owned(),
        CellReason::ParentNotExported => {
            "the receiver's parent is the span that the context names, which was not exported".to_owned()
        }
        CellReason::NotTold => "nothing on record says at which step it was lost".to_owned(),
        CellReason::Connected => {
            "each of its received spans has its parent, or handles a call from another service".to_owned()
        }
        CellReason::NoSpans => "no span of it was received".to_owned(),
    }
}

fn were_sent(names: &[String]) -> String {
    format!("{} {} sent", names.join(", "), if names.len() == 1 { "was" } else { "were" })
}

/// The reply to an answer that is true but is not the first break.
pub(crate) const ELSEWHERE: &str = "True here, but the first break is elsewhere.";

/// The observation that contradicts an answer.
pub(crate) fn objection(objection: &Objection<'_>) -> String {
    match objection {
        Objection::Succeeded { hop, step, why } => format!("{hop}, step {step}: {}.", cell(why)),
        Objection::NothingSent { hop } => {
            format!("{hop}: no trace header is on record as sent, so none was lost or changed in transit.")
        }
        Objection::NothingArrived { hop } => {
            format!("{hop}: no trace header arrived, so {} had none to extract or to use.", hop.to)
        }
        Objection::ArrivedUsed { hop, formats } => {
            format!(
                "{hop}: the parent of {}'s span is the one that the received {} names.",
                hop.to,
                format_names(formats)
            )
        }
        Objection::ReadNothing { hop } => {
            format!("{hop}: nothing on record shows that {} read the context that arrived.", hop.to)
        }
        Objection::KeptInside { service } => {
            format!("Inside {service}: {}.", cell(&CellReason::Connected))
        }
        Objection::DoesNot { service, step } => format!("{service} does not do step {step} at any hop of the chain."),
        Objection::CalledByNone { service } => {
            format!("No service of the chain calls {service}, so it has nothing to link to.")
        }
        Objection::NoLink { hop } => format!("{hop}: the span of {} has no link to a span of {}.", hop.to, hop.from),
        Objection::Sampled { traceresponse } => {
            format!("The front door answered `traceresponse: {traceresponse}`: the sampled bit is set.")
        }
        Objection::NothingToExport { traceresponse } => format!(
            "The front door answered `traceresponse: {traceresponse}`: the sampled bit is clear, so there is nothing to \
             export."
        ),
        Objection::Received { service, spans: 1 } => format!("1 span of {service} was received."),
        Objection::Received { service, spans } => format!("{spans} spans of {service} were received."),
        Objection::ExportsNoSpans { service } => format!("{service} exports no spans, with or without a fault."),
        Objection::NotOutside { hop } => format!("{hop}: {} is not a third party.", hop.to),
        Objection::CallsNobodyOutside { service } => format!("{service} calls no third party."),
        Objection::NoSecret { hop, keys } if keys.is_empty() => format!("{hop}: no baggage arrived."),
        Objection::NoSecret { hop, keys } => {
            format!("{hop}: the baggage that arrived has the keys {}, and none of them is a secret.", keys.join(", "))
        }
    }
}

/// Why nothing supports or contradicts an answer.
pub(crate) fn open(answer: Answer, why: &CellReason<'_>) -> String {
    format!("Nothing on record shows that at {}: {}.", answer.place, cell(why))
}

fn via(hop: &Hop) -> String {
    hop.via.map(|via| format!(" through {via}")).unwrap_or_default()
}
