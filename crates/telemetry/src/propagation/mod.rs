//! Propagators: how context is written into a carrier and read from it.
//!
//! A [`Propagator`] is built from the names of `OTEL_PROPAGATORS`. Injection sends every format, in order. Extraction
//! runs in order too, and the last format that finds something valid wins, as in the SDKs of Python, Node and Java.
//!
//! The formats are `wire`'s; `adapter` makes propagators of those that name a trace. Baggage is the SDK's own: the limits
//! of the real library are part of a lesson.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::propagation::BaggagePropagator;
use wire::Format;
use wire::format::Carries;

mod adapter;

#[cfg(test)]
pub(crate) use adapter::Extracted;
pub(crate) use adapter::traceparent;

/// The value of `OTEL_PROPAGATORS`: an ordered list of formats, empty for `none`.
///
/// See the [specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<Format>);

/// A list of propagators that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// A name that is not registered.
    #[error("unknown propagator `{0}`")]
    Unknown(String),
    /// `none` beside other names.
    #[error("`none` cannot be combined with others")]
    NoneBesideOthers,
    /// Nothing between two commas, or nothing at all.
    #[error("an empty name")]
    Empty,
}

/// What the service injects and what it extracts; the two may differ.
#[derive(Debug)]
pub struct Propagator {
    inject: TextMapCompositePropagator,
    extract: TextMapCompositePropagator,
}

// === impl Names ===

impl Names {
    /// For people: what may be written.
    pub const ALLOWED: &str = Format::ALLOWED;

    fn composite(&self) -> TextMapCompositePropagator {
        TextMapCompositePropagator::new(self.0.iter().map(|format| propagator(*format)).collect())
    }
}

impl Default for Names {
    /// The default of the specification.
    fn default() -> Self {
        Self(vec![Format::TraceContext, Format::Baggage])
    }
}

impl FromStr for Names {
    type Err = NamesError;

    /// A name that comes twice counts once. Names are case-sensitive, as in the SDKs of Python (but for `none`) and Node,
    /// so that a list which works here works there. The [specification] would have it otherwise: "Enum values SHOULD
    /// be interpreted in a case-insensitive manner".
    ///
    /// [specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#enum
    fn from_str(list: &str) -> Result<Self, NamesError> {
        let mut names = Vec::new();
        let mut none = false;
        for word in list.split(',').map(str::trim) {
            match Format::propagator(word) {
                Some(name) if !names.contains(&name) => names.push(name),
                Some(_) => {}
                None if word == "none" => none = true,
                None if word.is_empty() => return Err(NamesError::Empty),
                None => return Err(NamesError::Unknown(word.to_owned())),
            }
        }
        if none && !names.is_empty() { Err(NamesError::NoneBesideOthers) } else { Ok(Self(names)) }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0.iter().map(|format| format.name()).collect::<Vec<_>>().join(","))
    }
}

fn propagator(format: Format) -> Box<dyn TextMapPropagator + Send + Sync> {
    match format.carries() {
        Carries::Baggage => Box::new(BaggagePropagator::new()),
        Carries::Identity(_) | Carries::VendorState => Box::new(adapter::FormatPropagator::new(format)),
    }
}

// === impl Propagator ===

impl Propagator {
    /// A propagator that injects and extracts these formats.
    #[must_use]
    pub fn new(inject: &Names, extract: &Names) -> Self {
        Self { inject: inject.composite(), extract: extract.composite() }
    }
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        self.inject.inject_context(cx, injector);
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        self.extract.extract_with_context(cx, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.inject.fields()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn local_span() -> Context {
        local_span_of(&Context::new(), TRACE)
    }

    fn local_span_of(cx: &Context, trace_id: &str) -> Context {
        let span = SpanContext::new(
            TraceId::from_hex(trace_id).unwrap(),
            SpanId::from_hex(SPAN).unwrap(),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        cx.with_remote_span_context(span)
    }

    fn propagator(list: &str) -> Propagator {
        let names = list.parse().unwrap();
        Propagator::new(&names, &names)
    }

    fn sent(list: &str, cx: &Context) -> BTreeMap<String, String> {
        let mut headers = HashMap::new();
        propagator(list).inject_context(cx, &mut headers);
        headers.into_iter().collect()
    }

    #[test]
    fn sends_what_the_originals_send() {
        let w3c = format!("00-{TRACE}-{SPAN}-03");
        let b3 = format!("{TRACE}-{SPAN}-1");
        let table: &[(&str, &[(&str, &str)])] = &[
            ("tracecontext,baggage", &[("traceparent", &w3c)]),
            ("b3", &[("b3", &b3)]),
            ("b3multi", &[("x-b3-sampled", "1"), ("x-b3-spanid", SPAN), ("x-b3-traceid", TRACE)]),
            ("jaeger", &[("uber-trace-id", &format!("{TRACE}:{SPAN}:0:1"))]),
            (
                "xray",
                &[("x-amzn-trace-id", &format!("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent={SPAN};Sampled=1"))],
            ),
            ("tracecontext,b3", &[("b3", &b3), ("traceparent", &w3c)]),
            ("none", &[]),
        ];
        for (list, headers) in table {
            let expected: BTreeMap<String, String> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let mut seen = sent(list, &local_span());
            seen.retain(|_, value| !value.is_empty());
            assert_eq!(seen, expected, "OTEL_PROPAGATORS={list}");
        }
    }

    #[test]
    fn sends_nothing_without_a_span() {
        for name in Format::propagators() {
            let mut seen = sent(&name.to_string(), &Context::new());
            seen.retain(|_, value| !value.is_empty());
            assert_eq!(seen, BTreeMap::new(), "{name}");
        }
    }

    #[test]
    fn every_format_reads_what_it_writes() {
        for name in Format::propagators().filter(|format| format.is_identity()) {
            let list = name.to_string();
            let carrier: HashMap<String, String> = sent(&list, &local_span()).into_iter().collect();
            let cx = propagator(&list).extract(&carrier);
            let span = cx.span().span_context().clone();
            assert_eq!(
                (span.trace_id().to_string(), span.span_id().to_string()),
                (TRACE.into(), SPAN.into()),
                "{name}"
            );
            assert!(span.is_sampled() && span.is_remote(), "{name}");
        }
    }

    #[test]
    fn the_last_valid_format_wins() {
        let other = "11111111111111111111111111111111";
        let carrier = HashMap::from([
            ("traceparent".to_owned(), format!("00-{TRACE}-{SPAN}-01")),
            ("b3".to_owned(), format!("{other}-{SPAN}-1")),
        ]);
        for (list, trace) in
            [("tracecontext,b3", other), ("b3,tracecontext", TRACE), ("tracecontext", TRACE), ("b3", other)]
        {
            assert_eq!(
                propagator(list).extract(&carrier).span().span_context().trace_id().to_string(),
                trace,
                "{list}"
            );
        }
        let malformed = HashMap::from([
            ("traceparent".to_owned(), format!("00-{TRACE}-{SPAN}-01")),
            ("b3".to_owned(), "garbage".to_owned()),
        ]);
        let cx = propagator("tracecontext,b3").extract(&malformed);
        assert_eq!(cx.span().span_context().trace_id().to_string(), TRACE, "a malformed header is no winner");
    }

    #[test]
    fn sets_the_random_flag_only_on_its_own_traces() {
        let carrier = HashMap::from([("b3".to_owned(), format!("{TRACE}-{SPAN}-1"))]);
        let cx = propagator("tracecontext,b3").extract(&carrier);
        assert_eq!(sent("tracecontext", &cx).get("traceparent"), Some(&format!("00-{TRACE}-{SPAN}-01")));
        assert_eq!(sent("tracecontext", &local_span()).get("traceparent"), Some(&format!("00-{TRACE}-{SPAN}-03")));
    }

    #[test]
    fn names_are_checked() {
        let table = [
            ("zipkin", NamesError::Unknown("zipkin".into())),
            ("B3", NamesError::Unknown("B3".into())),
            ("none,b3", NamesError::NoneBesideOthers),
            ("", NamesError::Empty),
            ("b3,,jaeger", NamesError::Empty),
        ];
        for (list, error) in table {
            assert_eq!(list.parse::<Names>(), Err(error), "{list:?}");
        }
        for list in ["none", "tracecontext,baggage", "b3multi,xray,jaeger,b3"] {
            assert_eq!(list.parse::<Names>().unwrap().to_string(), list);
        }
        assert_eq!(" b3 , b3".parse::<Names>().unwrap().to_string(), "b3");
    }

    #[test]
    fn reads_both_encodings_whichever_it_sends() {
        let single = |value: String| HashMap::from([("b3".to_owned(), value)]);
        let multi = |sampled: Option<&str>| {
            let mut carrier = HashMap::from([
                ("x-b3-traceid".to_owned(), TRACE.to_owned()),
                ("x-b3-spanid".to_owned(), SPAN.to_owned()),
            ]);
            carrier.extend(sampled.map(|sampled| ("x-b3-sampled".to_owned(), sampled.to_owned())));
            carrier
        };
        let table = [
            (single(format!("{TRACE}-{SPAN}-1")), Some(true), "single, accepted"),
            (single(format!("{TRACE}-{SPAN}-0")), Some(false), "single, denied"),
            (single(format!("{TRACE}-{SPAN}-d")), Some(true), "single, debug"),
            (single(format!("{TRACE}-{SPAN}")), Some(true), "single, decision left to us"),
            (single(format!("{TRACE}-{SPAN}-1-{SPAN}")), Some(true), "single, with the parent's parent"),
            (single("0".to_owned()), None, "a bare decision names no parent"),
            (multi(Some("1")), Some(true), "multi, accepted"),
            (multi(Some("0")), Some(false), "multi, denied"),
            (multi(Some("true")), Some(true), "multi, accepted by an old sender"),
            (multi(None), Some(true), "multi, decision left to us"),
        ];
        for propagator in ["b3", "b3multi"].map(propagator) {
            for (carrier, sampled, why) in &table {
                let cx = propagator.extract(carrier);
                let span = cx.span().span_context().clone();
                assert_eq!(span.is_valid().then(|| span.is_sampled()), *sampled, "{why}");
            }
        }
    }

    /// <https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-extract>: "MUST preserve a debug trace flag,
    /// if received, and propagate it with subsequent requests".
    #[test]
    fn debug_is_propagated() {
        let arrived = HashMap::from([
            ("traceparent".to_owned(), format!("00-{TRACE}-{SPAN}-01")),
            ("b3".to_owned(), format!("{TRACE}-{SPAN}-d")),
        ]);
        for list in ["b3", "b3,tracecontext", "tracecontext,b3"] {
            let cx = propagator(list).extract(&arrived);
            assert!(cx.span().span_context().is_sampled(), "{list}: debug implies sampled");
            assert_eq!(sent("b3", &cx).get("b3"), arrived.get("b3"), "{list}");
            assert_eq!(sent("b3multi", &cx).get("x-b3-flags").map(String::as_str), Some("1"), "{list}");
            let other = local_span_of(&cx, "11111111111111111111111111111111");
            assert_eq!(sent("b3multi", &other).get("x-b3-flags"), None, "{list}: another trace asks for nothing");
        }
    }

    #[test]
    fn passes_a_valid_state_on_as_it_came() {
        for (state, why) in [
            ("foo=1,bar=2", "an ordinary list"),
            ("t@a-very-long-system-name=1,foo=2", "the API's type refuses this key, level 2 allows it"),
            ("foo=1,bar=2,foo=3", "a receiver need not judge a key that came twice"),
        ] {
            let carrier = HashMap::from([
                ("traceparent".to_owned(), format!("00-{TRACE}-{SPAN}-01")),
                ("tracestate".to_owned(), state.to_owned()),
            ]);
            let cx = propagator("tracecontext").extract(&carrier);
            assert_eq!(sent("tracecontext", &cx).get("tracestate").map(String::as_str), Some(state), "{why}");
        }
    }

    #[test]
    fn a_foreign_trace_keeps_its_flags() {
        for flags in ["00", "01", "02", "03"] {
            let header = format!("00-{TRACE}-{SPAN}-{flags}");
            let cx = propagator("tracecontext").extract(&HashMap::from([("traceparent".to_owned(), header.clone())]));
            assert_eq!(traceparent(&cx).map(|parent| parent.to_string()), Some(header), "flags {flags}");
        }
    }
}
