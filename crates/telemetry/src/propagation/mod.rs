//! Propagators: how context is written into a carrier and read from it.
//!
//! A [`Propagator`] is built from the names of `OTEL_PROPAGATORS`. Injection sends every format, in order. Extraction
//! runs in order too, and the last format that finds something valid wins, as in the SDKs of Python, Node and Java.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::BaggagePropagator;

mod b3;
mod jaeger;
pub mod w3c;

/// A name that `OTEL_PROPAGATORS` may hold; see the [specification].
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// W3C Trace Context.
    TraceContext,
    /// W3C Baggage.
    Baggage,
    /// B3 in a single header.
    B3,
    /// B3 in several headers.
    B3Multi,
    /// Jaeger's `uber-trace-id`.
    Jaeger,
    /// AWS X-Ray.
    XRay,
}

/// The value of `OTEL_PROPAGATORS`: an ordered list of names, empty for `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<Name>);

/// A list of propagators that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// A name that nobody registered.
    #[error("unknown propagator `{0}`")]
    Unknown(String),
    /// `none` beside other names.
    #[error("`none` must stand alone")]
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

/// Kept in the context beside an extracted remote parent: what later injection needs to know of the trace's origin.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    trace_id: TraceId,
    flags: TraceFlags,
    tracestate: String,
}

// === impl Name ===

impl Name {
    const ALL: [Self; 6] = [Self::TraceContext, Self::Baggage, Self::B3, Self::B3Multi, Self::Jaeger, Self::XRay];

    fn propagator(self) -> Box<dyn TextMapPropagator + Send + Sync> {
        match self {
            Self::TraceContext => Box::new(w3c::W3cPropagator),
            Self::Baggage => Box::new(BaggagePropagator::new()),
            Self::B3 => Box::new(b3::B3Propagator::single()),
            Self::B3Multi => Box::new(b3::B3Propagator::multi()),
            Self::Jaeger => Box::new(jaeger::JaegerPropagator),
            Self::XRay => Box::new(opentelemetry_aws::trace::XrayPropagator::new()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TraceContext => "tracecontext",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Jaeger => "jaeger",
            Self::XRay => "xray",
        })
    }
}

// === impl Names ===

impl Names {
    /// For people: what may be written.
    pub const ALLOWED: &str = "`none`, or a comma list of tracecontext, baggage, b3, b3multi, jaeger, xray";

    /// The names, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Name] {
        &self.0
    }

    fn composite(&self) -> TextMapCompositePropagator {
        TextMapCompositePropagator::new(self.0.iter().map(|name| name.propagator()).collect())
    }
}

impl Default for Names {
    /// The default of the specification.
    fn default() -> Self {
        Self(vec![Name::TraceContext, Name::Baggage])
    }
}

impl FromStr for Names {
    type Err = NamesError;

    /// Names are case-sensitive, as in every SDK; a name that comes twice counts once.
    fn from_str(list: &str) -> Result<Self, NamesError> {
        let mut names = Vec::new();
        let mut none = false;
        for word in list.split(',').map(str::trim) {
            match Name::ALL.into_iter().find(|name| name.to_string() == word) {
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
        f.write_str(&self.0.iter().map(Name::to_string).collect::<Vec<_>>().join(","))
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
        let cx = self.extract.extract_with_context(cx, extractor);
        let remote = cx.span().span_context().clone();
        let known = cx.get::<Arrived>().is_some_and(|arrived| arrived.trace_id == remote.trace_id());
        if known || !remote.is_valid() {
            return cx;
        }
        // Another format won, and it has no random flag and no state of vendors.
        cx.with_value(Arrived {
            trace_id: remote.trace_id(),
            flags: TraceFlags::NOT_SAMPLED,
            tracestate: String::new(),
        })
    }

    fn fields(&self) -> FieldIter<'_> {
        self.inject.fields()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use opentelemetry::trace::{SpanContext, SpanId, TraceState};

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn local_span() -> Context {
        let span = SpanContext::new(
            TraceId::from_hex(TRACE).unwrap(),
            SpanId::from_hex(SPAN).unwrap(),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        Context::new().with_remote_span_context(span)
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
        for name in Name::ALL {
            let mut seen = sent(&name.to_string(), &Context::new());
            seen.retain(|_, value| !value.is_empty());
            assert_eq!(seen, BTreeMap::new(), "{name}");
        }
    }

    #[test]
    fn every_format_reads_what_it_writes() {
        for name in Name::ALL.into_iter().filter(|name| *name != Name::Baggage) {
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
    fn sets_the_random_flag_only_on_traces_of_its_own() {
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
}
