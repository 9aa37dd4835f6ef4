//! One span with everything that was received.

use axum::extract::State;
use evidence::Span;
use evidence::headers::recorded;
use evidence::span::{Attributes, Status};
use maud::{Markup, html};
use wire::{SpanId, TraceId};

use super::claim::not_found;
use super::{Page, beginning, duration, part as as_part};
use crate::api::extract::InPath;
use crate::api::routes::Shared;

/// How many attributes, links and events of a span are shown, and how much of a value, in characters.
const SHOWN: usize = 200;
const SHOWN_EVENTS: usize = 20;
const VALUE_CHARACTERS: usize = 4_000;

pub(super) async fn part(State(lab): Shared, InPath((trace, span)): InPath<(String, String)>) -> Page {
    let trace: TraceId = trace.parse().map_err(|_| not_found("this is not a trace id"))?;
    let id: SpanId = span.parse().map_err(|_| not_found("this is not a span id"))?;
    let spans = lab.spans(trace).await?;
    let span = spans.iter().find(|span| span.span_id == id).ok_or_else(|| not_found("the trace has no such span"))?;
    Ok(as_part(detail(span)))
}

fn detail(span: &Span) -> Markup {
    let headers = recorded(&span.attributes);
    html! {
        h2 #span-title { (beginning(&span.service, SHOWN)) ": " (beginning(&span.name, SHOWN)) }
        dl.attributes {
            dt { "kind" } dd { (span.kind.name()) }
            dt { "duration" } dd { (duration(span.duration_nanos())) }
            dt { "status" } dd { @match &span.status { Status::Unset => "unset", Status::Ok => "ok", Status::Error(message) => { "error " (beginning(message, VALUE_CHARACTERS)) } } }
            dt { "trace" } dd { code { (span.trace_id) } }
            dt { "span" } dd { code { (span.span_id) } }
            dt { "parent" } dd { @match span.parent_span_id { Some(parent) => code { (parent) }, None => "none" } }
            dt { "scope" } dd { (span.scope) }
        }
        @if headers.iter().next().is_some() {
            h3 { "Trace headers" }
            dl.attributes { @for (name, values) in headers.iter() { dt { (name) } dd { code { (beginning(&values.join(", "), VALUE_CHARACTERS)) } } } }
        }
        (attributes("Attributes", &span.attributes))
        @if !span.links.is_empty() {
            h3 { "Links" }
            ul { @for link in span.links.iter().take(SHOWN) { li { "trace " code { (link.trace_id) } ", span " code { (link.span_id) } } } }
            (left_out(span.links.len(), SHOWN))
        }
        @for event in span.events.iter().take(SHOWN_EVENTS) { (attributes(&format!("Event {}", event.name), &event.attributes)) }
        (left_out(span.events.len(), SHOWN_EVENTS))
        (attributes("Resource", &span.resource))
    }
}

fn attributes(title: &str, attributes: &Attributes) -> Markup {
    html! {
        h3 { (title) }
        @if attributes.is_empty() { p { "None." } }
        dl.attributes {
            @for (key, value) in attributes.iter().take(SHOWN) {
                dt { (beginning(key, VALUE_CHARACTERS)) }
                dd { code { @match value.as_str() { Some(text) => (beginning(text, VALUE_CHARACTERS)), None => (beginning(&value.to_string(), VALUE_CHARACTERS)) } } }
            }
        }
        (left_out(attributes.len(), SHOWN))
    }
}

fn left_out(count: usize, shown: usize) -> Markup {
    html! { @if count > shown { p.quiet { "The first " (shown) " are shown; " (count - shown) " more are left out." } } }
}
