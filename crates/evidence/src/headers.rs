//! The trace headers that a span has on record, and what they say.

use std::collections::BTreeMap;

pub use scenario::expectation::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::propagation::w3c::{Rejection, TraceParent};

use crate::span::{Attributes, SpanId, TraceId};

/// Trace headers by lower-case name, each with its values in the order in which they came.
///
/// Only trace headers are kept, and empty values count as absent: some propagators send an empty `tracestate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Vec<String>>")]
pub struct TraceHeaders(BTreeMap<String, Vec<String>>);

/// The trace context that a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that becomes the receiver's parent.
    pub span_id: SpanId,
    /// The sampled bit; `None` if the header leaves the decision to the receiver.
    pub sampled: Option<bool>,
}

/// Why a header says no context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// A `traceparent` that breaks a rule of <https://www.w3.org/TR/trace-context-2/#traceparent-header>.
    #[error(transparent)]
    TraceParent(#[from] Rejection),
    /// A header that must be single came more than once.
    #[error("it came {0} times, once is allowed")]
    Repeated(usize),
    /// Too few or too many fields.
    #[error("it has {0} fields, which is not the format's number")]
    FieldCount(usize),
    /// A field that must be hex digits is something else.
    #[error("its {field} is `{text}`: {digits} lower-case hex digits are needed")]
    NotHex {
        /// Which field.
        field: &'static str,
        /// What it holds.
        text: String,
        /// How many digits the format asks for.
        digits: &'static str,
    },
    /// An id of zeros means that there is no id.
    #[error("its {0} is all zero")]
    Zero(&'static str),
    /// A field that the format needs is not there.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// One member of a `baggage` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaggageMember {
    /// Its value, percent-decoded.
    pub value: String,
    /// The size of the decoded value in bytes.
    pub bytes: usize,
}

// === impl TraceHeaders ===

impl TraceHeaders {
    /// The trace headers among a span's attributes: `http.request.header.<name>` and `messaging.header.<name>`
    /// (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/>).
    #[must_use]
    pub fn from_attributes(attributes: &Attributes) -> Self {
        attributes
            .iter()
            .filter_map(|(key, value)| {
                let name =
                    key.strip_prefix("http.request.header.").or_else(|| key.strip_prefix("messaging.header."))?;
                let values = match value {
                    Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                    other => Vec::from_iter(other.as_str()),
                };
                Some((name.to_owned(), values.into_iter().map(str::to_owned).collect()))
            })
            .collect()
    }

    /// The values of one header.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every header with its values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The formats that are present, sorted, each once.
    #[must_use]
    pub fn formats(&self) -> Vec<Format> {
        let mut formats: Vec<_> = self.0.keys().filter_map(|name| format_of(name)).collect();
        formats.sort_unstable();
        formats.dedup();
        formats
    }

    /// What the headers of one format say; `None` if the format is absent or says no context (`tracestate`, `baggage`).
    #[must_use]
    pub fn context(&self, format: Format) -> Option<Result<Context, InvalidHeader>> {
        let single = |name: &str, parse: fn(&str) -> Result<Context, InvalidHeader>| match self.get(name) {
            [] => None,
            [value] => Some(parse(value)),
            several => Some(Err(InvalidHeader::Repeated(several.len()))),
        };
        match format {
            Format::TraceContext => match self.get("traceparent") {
                [] => None,
                // A proxy may have joined two lines with a comma.
                [value] if !value.contains(',') => Some(parse_traceparent(value).map_err(InvalidHeader::from)),
                _ => Some(Err(Rejection::Repeated.into())),
            },
            Format::B3 => single("b3", parse_b3),
            Format::B3Multi => self.formats().contains(&Format::B3Multi).then(|| self.parse_b3_multi()),
            Format::Jaeger => single("uber-trace-id", parse_jaeger),
            Format::XRay => single("x-amzn-trace-id", parse_xray),
            Format::TraceState | Format::Baggage => None,
        }
    }

    /// The formats among them that can name a trace.
    #[must_use]
    pub fn identities(&self) -> Vec<Format> {
        self.formats().into_iter().filter(|format| !matches!(format, Format::TraceState | Format::Baggage)).collect()
    }

    /// Every context that the headers say, format by format. Headers that are invalid say none.
    pub fn contexts(&self) -> impl Iterator<Item = (Format, Context)> {
        self.formats().into_iter().filter_map(|format| Some((format, self.context(format)?.ok()?)))
    }

    /// The sampled bit of the first format (in the order of [`Format`]) that says one.
    #[must_use]
    pub fn sampled(&self) -> Option<bool> {
        self.contexts().find_map(|(_, context)| context.sampled)
    }

    /// The members of the `baggage` header by key (<https://www.w3.org/TR/baggage/#header-content>). Properties after
    /// `;` are left out, bytes that are no UTF-8 are replaced, and of two members with one key the last counts.
    #[must_use]
    pub fn baggage(&self) -> BTreeMap<String, BaggageMember> {
        self.get("baggage")
            .iter()
            .flat_map(|header| header.split(','))
            .filter_map(|member| {
                let (key, value) = member.split(';').next()?.split_once('=')?;
                let decoded = percent_decode(value.trim());
                let member =
                    BaggageMember { bytes: decoded.len(), value: String::from_utf8_lossy(&decoded).into_owned() };
                Some((key.trim().to_owned(), member)).filter(|(key, _)| !key.is_empty())
            })
            .collect()
    }

    /// The size of the `baggage` header in bytes, still encoded, without commas between repeated headers.
    #[must_use]
    pub fn baggage_bytes(&self) -> usize {
        self.get("baggage").iter().map(String::len).sum()
    }

    /// The headers without `baggage` (`false`) or `baggage` alone (`true`), repeated headers joined as a proxy may do
    /// (<https://www.rfc-editor.org/rfc/rfc9110#section-5.3>).
    pub(crate) fn joined(&self, baggage: bool) -> BTreeMap<&str, String> {
        self.iter().filter(|(name, _)| (*name == "baggage") == baggage).map(|(k, v)| (k, v.join(","))).collect()
    }

    fn parse_b3_multi(&self) -> Result<Context, InvalidHeader> {
        let first = |name: &'static str| match self.get(name) {
            [] => Err(InvalidHeader::Missing(name)),
            [value] => Ok(value.as_str()),
            several => Err(InvalidHeader::Repeated(several.len())),
        };
        let sampled = match (first("x-b3-flags"), first("x-b3-sampled")) {
            (Ok("1"), _) | (_, Ok("1" | "true")) => Some(true),
            (_, Ok("0" | "false")) => Some(false),
            _ => None,
        };
        Ok(Context { trace_id: b3_trace(first("x-b3-traceid")?)?, span_id: span(first("x-b3-spanid")?)?, sampled })
    }
}

impl FromIterator<(String, Vec<String>)> for TraceHeaders {
    fn from_iter<T: IntoIterator<Item = (String, Vec<String>)>>(headers: T) -> Self {
        let kept = headers.into_iter().filter_map(|(name, values)| {
            let name = name.to_ascii_lowercase();
            format_of(&name)?;
            let values = values.iter().map(|value| value.trim()).filter(|value| !value.is_empty());
            let values: Vec<_> = values.map(str::to_owned).collect();
            (!values.is_empty()).then_some((name, values))
        });
        Self(kept.collect())
    }
}

impl From<BTreeMap<String, Vec<String>>> for TraceHeaders {
    fn from(headers: BTreeMap<String, Vec<String>>) -> Self {
        headers.into_iter().collect()
    }
}

/// The format that a header belongs to, told by its lower-case name.
#[must_use]
pub fn format_of(header: &str) -> Option<Format> {
    match header {
        "traceparent" => Some(Format::TraceContext),
        "tracestate" => Some(Format::TraceState),
        "baggage" => Some(Format::Baggage),
        "b3" => Some(Format::B3),
        "uber-trace-id" => Some(Format::Jaeger),
        "x-amzn-trace-id" => Some(Format::XRay),
        _ => header.starts_with("x-b3-").then_some(Format::B3Multi),
    }
}

/// The formats in words.
pub(crate) fn format_names(formats: &[Format]) -> String {
    let names: Vec<_> = formats.iter().map(|format| format!("{format:?}").to_lowercase()).collect();
    if names.is_empty() { "no trace headers".to_owned() } else { names.join(", ") }
}

/// Reads `traceparent`, and `traceresponse`, which has the same form.
///
/// # Errors
/// Whatever <https://www.w3.org/TR/trace-context-2/#traceparent-header> tells a receiver to reject, with the reason.
pub fn parse_traceparent(text: &str) -> Result<Context, Rejection> {
    let TraceParent { trace_id, parent_id, flags } = text.parse()?;
    Ok(Context {
        trace_id: TraceId::from_bytes(&trace_id.to_bytes()).ok_or(Rejection::TraceIdZero)?,
        span_id: SpanId::from_bytes(&parent_id.to_bytes()).ok_or(Rejection::ParentIdZero)?,
        sampled: Some(flags.is_sampled()),
    })
}

/// <https://github.com/openzipkin/b3-propagation#single-header>
fn parse_b3(text: &str) -> Result<Context, InvalidHeader> {
    let fields: Vec<_> = text.split('-').collect();
    let [trace_id, span_id, rest @ ..] = fields.as_slice() else {
        return Err(InvalidHeader::FieldCount(fields.len()));
    };
    if rest.len() > 2 {
        return Err(InvalidHeader::FieldCount(fields.len()));
    }
    let sampled = match rest.first() {
        Some(&("1" | "d")) => Some(true),
        Some(&"0") => Some(false),
        _ => None,
    };
    Ok(Context { trace_id: b3_trace(trace_id)?, span_id: span(span_id)?, sampled })
}

/// <https://www.jaegertracing.io/sdk-migration/#propagation-format>
fn parse_jaeger(text: &str) -> Result<Context, InvalidHeader> {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    let fields: Vec<_> = text.split(':').collect();
    let [trace_id, span_id, _parent, flags] = fields.as_slice() else {
        return Err(InvalidHeader::FieldCount(fields.len()));
    };
    Ok(Context {
        trace_id: trace(trace_id, 1..=32, "1 to 32")?,
        span_id: hex("span id", span_id, 1..=16, "1 to 16")
            .and_then(|_| span_id.parse().map_err(|_| InvalidHeader::Zero("span id")))?,
        sampled: Some(hex("flags", flags, 1..=2, "1 or 2")? & 1 == 1),
    })
}

/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
fn parse_xray(text: &str) -> Result<Context, InvalidHeader> {
    let field = |name: &str| text.split(';').filter_map(|part| part.trim().split_once('=')).find(|pair| pair.0 == name);
    let (_, root) = field("Root").ok_or(InvalidHeader::Missing("Root"))?;
    let (_, parent) = field("Parent").ok_or(InvalidHeader::Missing("Parent"))?;
    let parts: Vec<_> = root.split('-').collect();
    let ["1", seconds, unique] = parts.as_slice() else {
        return Err(InvalidHeader::FieldCount(parts.len()));
    };
    let sampled = match field("Sampled") {
        Some((_, "1")) => Some(true),
        Some((_, "0")) => Some(false),
        _ => None,
    };
    Ok(Context { trace_id: trace(&format!("{seconds}{unique}"), 32..=32, "32")?, span_id: span(parent)?, sampled })
}

fn b3_trace(text: &str) -> Result<TraceId, InvalidHeader> {
    if text.len() == 16 { trace(text, 16..=16, "16 or 32") } else { trace(text, 32..=32, "16 or 32") }
}

fn trace(text: &str, lengths: std::ops::RangeInclusive<usize>, digits: &'static str) -> Result<TraceId, InvalidHeader> {
    hex("trace id", text, lengths, digits)?;
    text.parse().map_err(|_| InvalidHeader::Zero("trace id"))
}

fn span(text: &str) -> Result<SpanId, InvalidHeader> {
    hex("span id", text, 16..=16, "16")?;
    text.parse().map_err(|_| InvalidHeader::Zero("span id"))
}

fn hex(
    field: &'static str,
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    digits: &'static str,
) -> Result<u128, InvalidHeader> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = if lower && lengths.contains(&text.len()) { u128::from_str_radix(text, 16).ok() } else { None };
    number.ok_or_else(|| InvalidHeader::NotHex { field, text: text.chars().take(80).collect(), digits })
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return decoded,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
                decoded.push(digit(*high) << 4 | digit(*low));
                tail
            }
            [byte, tail @ ..] => {
                decoded.push(*byte);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "7f3b8a2c4d5e6f7a8b9c0d1e2f3a4b5c";
    const XRAY_TRACE: &str = "1-7f3b8a2c-4d5e6f7a8b9c0d1e2f3a4b5c";
    const SPAN: &str = "a1b2c3d4e5f6a7b8";

    fn headers(pairs: &[(&str, &str)]) -> TraceHeaders {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    }

    #[test]
    fn every_format_says_the_same_context() {
        let sampled = Some(true);
        let cases = [
            (Format::TraceContext, headers(&[("traceparent", &format!("00-{TRACE}-{SPAN}-03"))]), sampled),
            (Format::TraceContext, headers(&[("traceparent", &format!("00-{TRACE}-{SPAN}-02"))]), Some(false)),
            (Format::TraceContext, headers(&[("traceparent", &format!("01-{TRACE}-{SPAN}-01-extra"))]), sampled),
            (Format::B3, headers(&[("b3", &format!("{TRACE}-{SPAN}-1"))]), sampled),
            (Format::B3, headers(&[("b3", &format!("{TRACE}-{SPAN}"))]), None),
            (
                Format::B3Multi,
                headers(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "0")]),
                Some(false),
            ),
            (Format::Jaeger, headers(&[("uber-trace-id", &format!("{TRACE}:{SPAN}:0:1"))]), sampled),
            (Format::Jaeger, headers(&[("uber-trace-id", &format!("{TRACE}%3A{SPAN}%3A0%3A1"))]), sampled),
            (
                Format::XRay,
                headers(&[("x-amzn-trace-id", &format!("Root={XRAY_TRACE};Parent={SPAN};Sampled=1"))]),
                sampled,
            ),
        ];
        for (format, headers, sampled) in cases {
            let expected = Context { trace_id: TRACE.parse().unwrap(), span_id: SPAN.parse().unwrap(), sampled };
            assert_eq!(headers.context(format), Some(Ok(expected)), "{headers:?} must be read");
            assert_eq!(headers.formats(), [format], "the format is told by the names alone");
        }
    }

    #[test]
    fn bad_traceparents_are_rejected_with_the_reason() {
        let cases = [
            (format!("ff-{TRACE}-{SPAN}-01"), Rejection::VersionForbidden),
            (format!("00-{TRACE}-{SPAN}"), Rejection::FieldCount),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), Rejection::TraceId),
            (format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"), Rejection::Repeated),
        ];
        for (text, reason) in cases {
            let said = headers(&[("traceparent", &text)]).context(Format::TraceContext);
            assert_eq!(said, Some(Err(reason.into())), "{text}");
        }
        let twice: TraceHeaders =
            [("traceparent".to_owned(), vec![format!("00-{TRACE}-{SPAN}-01"); 2])].into_iter().collect();
        let repeated = Some(Err(Rejection::Repeated.into()));
        assert_eq!(twice.context(Format::TraceContext), repeated, "one is allowed");
    }

    #[test]
    fn what_anybody_writes_down_is_read_as_trace_headers() {
        let record: TraceHeaders =
            serde_json::from_str(r#"{"Traceparent": ["00-x"], "tracestate": [" "], "cookie": ["c"]}"#).unwrap();
        let names: Vec<_> = record.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["traceparent"], "names are lower-case, empty values absent, other headers do not matter");
    }

    #[test]
    fn baggage_is_decoded_and_measured() {
        let headers = headers(&[("baggage", "tenant.id=acme%20corp;p=1, empty= ,=x,bad%zz=%4,é=%C3%A9")]);
        let baggage = headers.baggage();
        let members: Vec<_> = baggage.iter().map(|(key, it)| (key.as_str(), it.value.as_str(), it.bytes)).collect();
        let expected = [("bad%zz", "%4", 2), ("empty", "", 0), ("tenant.id", "acme corp", 9), ("é", "é", 2)];
        assert_eq!(members, expected, "properties go, escapes are decoded, a member without a key is none");
    }

    #[test]
    fn only_trace_headers_with_content_are_taken() {
        let attributes: Attributes = serde_json::from_value(serde_json::json!({
            "http.request.header.traceparent": ["00-x"],
            "http.request.header.tracestate": [""],
            "http.request.header.accept": ["*/*"],
            "messaging.header.b3": "0",
            "http.request.header.baggage": 7,
        }))
        .unwrap();
        let headers = TraceHeaders::from_attributes(&attributes);
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b3", "traceparent"], "an empty tracestate is absent, other headers do not matter");
    }
}
