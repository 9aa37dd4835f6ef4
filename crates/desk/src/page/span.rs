//! One span with everything that was received.

use axum::extract::State;
use evidence::compare::text;
use evidence::headers::recorded;
use evidence::span::{Attributes, Status};
use evidence::{ClaimEvidence, Span};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use wire::{SpanId, TraceId};

use super::claim::{beside, not_found};
use super::headers::Known;
use super::waterfall::{title, to_row};
use super::{Page, beginning, compare, dotted, duration, part as as_part};
use crate::api::LookQuery;
use crate::api::extract::{InPath, InQuery};
use crate::api::routes::Shared;

/// How many attributes, links and events of a span are shown, and how much of a value, in characters.
const SHOWN: usize = 200;
const SHOWN_EVENTS: usize = 20;
const SHOWN_CHILDREN: usize = 20;
pub(super) const VALUE_CHARACTERS: usize = 4_000;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SpanQuery {
    /// The claim that it is looked at for; without one it is the one that its trace is part of.
    of: Option<String>,
    /// The claim that this one is compared with.
    with: Option<String>,
}

pub(super) async fn part(
    State(lab): Shared,
    InPath((trace, span)): InPath<(String, String)>,
    InQuery(query): InQuery<SpanQuery>,
) -> Page {
    let trace: TraceId = trace.parse().map_err(|_| not_found("this is not a trace id"))?;
    let id: SpanId = span.parse().map_err(|_| not_found("this is not a span id"))?;
    let found = lab.look(&query.of.unwrap_or_else(|| trace.to_string()), LookQuery::AT_ONCE).await?;
    if let Some(with) = query.with {
        let other = beside(&lab, &with).await?;
        let both = compare::detail(&found.evidence, &other.evidence, (trace, id));
        return Ok(as_part(both.ok_or_else(|| not_found("neither claim has such a span"))?));
    }
    let span = found.evidence.span(trace, id).ok_or_else(|| not_found("the claim has no such span"))?;
    Ok(as_part(detail(span, Known { evidence: &found.evidence, judges: lab.judges() })))
}

fn detail(span: &Span, known: Known<'_>) -> Markup {
    let headers = recorded(&span.attributes);
    let evidence = known.evidence;
    let since = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or_default();
    let parent = span.parent_span_id.map(|id| (id, evidence.span(span.trace_id, id)));
    let is_child = |other: &&Span| (other.trace_id, other.parent_span_id) == (span.trace_id, Some(span.span_id));
    let children: Vec<_> = evidence.spans().filter(is_child).collect();
    let lead = |other: &Span| html! { a href=(to_row((other.trace_id, other.span_id))) { (title(other)) } };
    html! {
        h2 #span-title { (beginning(&span.service, SHOWN)) ": " (beginning(&span.name, SHOWN)) }
        dl.attributes {
            dt { "kind" } dd { (span.kind.name()) }
            dt { "start" } dd {
                (instant(span.start_unix_nano))
                ", " (duration(span.start_unix_nano.saturating_sub(since))) " after the claim's first span"
            }
            dt { "duration" } dd { (duration(span.duration_nanos())) }
            dt { "status" } dd { @match &span.status { Status::Unset => "unset", Status::Ok => "ok", Status::Error(message) => { "error " (beginning(message, VALUE_CHARACTERS)) } } }
            dt { "trace" } dd { code { (span.trace_id) } }
            dt { "span" } dd { code { (span.span_id) } }
            dt { "parent" } dd {
                @match parent {
                    None => "none: it is a root",
                    Some((id, Some(parent))) => { (lead(parent)) " " code { (id) } }
                    Some((id, None)) => { code { (id) } ", not received" }
                }
            }
            dt { "children" } dd {
                @if children.is_empty() { "none" }
                @for child in children.iter().take(SHOWN_CHILDREN) { div { (lead(child)) } }
                (left_out(children.len(), SHOWN_CHILDREN))
            }
            dt { "scope" } dd { (span.scope) }
        }
        @if headers.iter().next().is_some() {
            h3 { "Headers" }
            @for (name, values) in headers.iter() { (known.line(name, &values.join(","), None)) }
            (known.of_span(&headers))
        }
        (attributes("Attributes", &span.attributes))
        @if !span.links.is_empty() {
            h3 { "Links" }
            ul { @for link in span.links.iter().take(SHOWN) { li { "trace " code { (link.trace_id) } ", span " code { (link.span_id) } } } }
            (left_out(span.links.len(), SHOWN))
        }
        @for event in span.events.iter().take(SHOWN_EVENTS) { (attributes(&format!("Event {}, {}", event.name, instant(event.unix_nano)), &event.attributes)) }
        (left_out(span.events.len(), SHOWN_EVENTS))
        (attributes("Resource", &span.resource))
    }
}

/// What is known of a span, as keys and texts.
pub(super) fn facts(evidence: &ClaimEvidence, span: &Span) -> Vec<(String, String)> {
    let since = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or_default();
    let parent = span.parent_span_id.map(|id| (id, evidence.span(span.trace_id, id)));
    let status = match &span.status {
        Status::Unset => "unset".to_owned(),
        Status::Ok => "ok".to_owned(),
        Status::Error(message) => format!("error {message}"),
    };
    let parent = match parent {
        None => "none: it is a root".to_owned(),
        Some((_, Some(parent))) => title(parent),
        Some((id, None)) => format!("{id}, not received"),
    };
    let own = [
        ("kind", span.kind.name().to_owned()),
        ("start", format!("{} after the first span", duration(span.start_unix_nano.saturating_sub(since)))),
        ("duration", duration(span.duration_nanos())),
        ("status", status),
        ("trace", span.trace_id.to_string()),
        ("span", span.span_id.to_string()),
        ("parent", parent),
        ("links", span.links.len().to_string()),
        ("scope", span.scope.clone()),
    ];
    let attributes = span.attributes.iter().take(SHOWN).map(|(key, value)| (key.clone(), text(value)));
    own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(attributes).collect()
}

/// In UTC, as finely as it is known.
fn instant(unix_nano: u64) -> String {
    let instant = Timestamp::from_nanosecond(unix_nano.into());
    instant.map_or_else(|_| unix_nano.to_string(), |instant| instant.strftime("%F %T.%6f UTC").to_string())
}

fn attributes(title: &str, attributes: &Attributes) -> Markup {
    html! {
        h3 { (title) }
        @if attributes.is_empty() { p { "None." } }
        dl.attributes {
            @for (key, value) in attributes.iter().take(SHOWN) {
                dt { (dotted(&beginning(key, VALUE_CHARACTERS))) }
                dd { code { @match value.as_str() { Some(text) => (beginning(text, VALUE_CHARACTERS)), None => (beginning(&value.to_string(), VALUE_CHARACTERS)) } } }
            }
        }
        (left_out(attributes.len(), SHOWN))
    }
}

fn left_out(count: usize, shown: usize) -> Markup {
    html! { @if count > shown { p.quiet { "The first " (shown) " are shown; left out: " (count - shown) "." } } }
}
