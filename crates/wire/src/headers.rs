//! The trace headers of one request or message, and what they say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::format::baggage::{self, BAGGAGE, BaggageMember};
use crate::format::{Carrier, Format};
use crate::rejection::Rejection;

/// Trace headers by lower-case name, each with its values in the order in which they came.
///
/// Only trace headers are kept, and empty values count as absent: some propagators send an empty `tracestate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Vec<String>>")]
pub struct TraceHeaders(BTreeMap<String, Vec<String>>);

// === impl TraceHeaders ===

impl TraceHeaders {
    /// The values of one header.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Every header with its values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The formats that are present, in the order of the table.
    #[must_use]
    pub fn formats(&self) -> Vec<Format> {
        let is_present = |format: &Format| format.headers().iter().any(|header| self.0.contains_key(*header));
        Format::ALL.iter().copied().filter(is_present).collect()
    }

    /// What the headers of one format say; `None` if the format is absent or says no context (`tracestate`, `baggage`).
    #[must_use]
    pub fn context(&self, format: Format) -> Option<Result<Context, Rejection>> {
        format.read(self)
    }

    /// The formats among them that can name a trace.
    #[must_use]
    pub fn identities(&self) -> Vec<Format> {
        self.formats().into_iter().filter(|format| format.is_identity()).collect()
    }

    /// Every context that the headers say, format by format. Headers that are invalid say none.
    pub fn contexts(&self) -> impl Iterator<Item = (Format, Context)> {
        self.formats().into_iter().filter_map(|format| Some((format, self.context(format)?.ok()?)))
    }

    /// The sampled bit of the first format (in the order of the table) that says one.
    #[must_use]
    pub fn sampled(&self) -> Option<bool> {
        self.contexts().find_map(|(_, context)| context.sampled)
    }

    /// The members of the `baggage` header by key. Properties after `;` are left out, bytes that are no UTF-8 are
    /// replaced, and of two members with one key the last counts.
    #[must_use]
    pub fn baggage(&self) -> BTreeMap<String, BaggageMember> {
        baggage::members(self.get(BAGGAGE).iter().map(String::as_str))
    }

    /// The size of the `baggage` header in bytes, still encoded, without commas between repeated headers.
    #[must_use]
    pub fn baggage_bytes(&self) -> usize {
        self.get(BAGGAGE).iter().map(String::len).sum()
    }

    /// The headers without `baggage` (`false`) or `baggage` alone (`true`), repeated headers joined as a proxy may do
    /// (<https://www.rfc-editor.org/rfc/rfc9110#section-5.3>).
    #[must_use]
    pub fn joined(&self, baggage: bool) -> BTreeMap<&str, String> {
        self.iter().filter(|(name, _)| (*name == BAGGAGE) == baggage).map(|(k, v)| (k, v.join(","))).collect()
    }
}

impl Carrier for TraceHeaders {
    fn lines(&self, header: &str) -> Vec<&str> {
        self.get(header).iter().map(String::as_str).collect()
    }
}

impl FromIterator<(String, Vec<String>)> for TraceHeaders {
    fn from_iter<T: IntoIterator<Item = (String, Vec<String>)>>(headers: T) -> Self {
        let kept = headers.into_iter().filter_map(|(name, values)| {
            let name = name.to_ascii_lowercase();
            Format::of(&name)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::TraceParentRejection;

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
            let said = headers.context(format).unwrap().unwrap();
            assert!(said.names(TRACE.parse().unwrap(), SPAN.parse().unwrap()), "{headers:?} must be read: {said:?}");
            assert_eq!(said.sampled, sampled, "{headers:?}");
            assert_eq!(headers.formats(), [format], "the format is told by the names alone");
        }
    }

    #[test]
    fn bad_traceparents_are_rejected_with_the_reason() {
        let cases = [
            (format!("ff-{TRACE}-{SPAN}-01"), TraceParentRejection::VersionForbidden),
            (format!("00-{TRACE}-{SPAN}"), TraceParentRejection::FieldCount),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), TraceParentRejection::TraceId),
            (format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"), TraceParentRejection::Repeated),
        ];
        for (text, reason) in cases {
            let said = headers(&[("traceparent", &text)]).context(Format::TraceContext);
            assert_eq!(said, Some(Err(reason.into())), "{text}");
        }
        let twice: TraceHeaders =
            [("traceparent".to_owned(), vec![format!("00-{TRACE}-{SPAN}-01"); 2])].into_iter().collect();
        let repeated = Some(Err(TraceParentRejection::Repeated.into()));
        assert_eq!(twice.context(Format::TraceContext), repeated, "one is allowed");
    }

    #[test]
    fn reasons_are_sentences() {
        let said = headers(&[("b3", "X-1")]).context(Format::B3).unwrap().unwrap_err();
        assert_eq!(said.to_string(), "its trace id is `X`: 16 or 32 lower-case hex digits are needed");
    }

    #[test]
    fn what_anybody_writes_down_is_read_as_trace_headers() {
        let record: TraceHeaders =
            serde_json::from_str(r#"{"Traceparent": ["00-x"], "tracestate": [" "], "cookie": ["c"]}"#).unwrap();
        let names: Vec<_> = record.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["traceparent"], "names are lower-case, empty values absent, other headers do not matter");
    }
}
