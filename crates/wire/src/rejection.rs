//! Why a header says no context.

use crate::format::tracestate::StateRejection;
use crate::id::{SpanId, TraceId, TraceRef};
use crate::piece::Says;

/// Why a receiver rejects the headers of a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A `traceparent` that breaks a rule of <https://www.w3.org/TR/trace-context-2/#traceparent-header>.
    #[error(transparent)]
    TraceParent(#[from] TraceParentRejection),
    /// A `tracestate` that breaks a rule of <https://www.w3.org/TR/trace-context-2/#tracestate-header>.
    #[error(transparent)]
    TraceState(#[from] StateRejection),
    /// Too few or too many fields.
    #[error("it has {0} fields, which the format does not allow")]
    FieldCount(usize),
    /// A field that must be a number is something else.
    #[error("its {field} is `{text}`: {digits} are needed")]
    NotANumber {
        /// Which field.
        field: &'static str,
        /// What it holds.
        text: String,
        /// Which digits the format asks for.
        digits: &'static str,
    },
    /// An id of zeros means that there is no id.
    #[error("its {0} is all zero")]
    Zero(&'static str),
    /// A field that the format needs is not there.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A sampling decision that the format does not define.
    #[error("its sampling decision is `{0}`, which the format does not define")]
    Decision(String),
}

/// Why a `traceparent` was rejected; each reason is a rule of § 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceParentRejection {
    /// § 3.2: a request has one `traceparent`.
    #[error("there is more than one traceparent")]
    Repeated,
    /// § 3.2.2: version `00` has four fields, later versions at least four.
    #[error("traceparent must have four fields joined by `-`")]
    FieldCount,
    /// § 3.2.2.1
    #[error("the version must be two lower-case hex digits")]
    Version,
    /// § 3.2.2.1: `ff` is forbidden.
    #[error("version ff is forbidden")]
    VersionForbidden,
    /// § 3.2.2.3
    #[error("the trace id must be 32 lower-case hex digits")]
    TraceId,
    /// § 3.2.2.3
    #[error("a trace id of zeros is invalid")]
    TraceIdZero,
    /// § 3.2.2.4
    #[error("the parent id must be 16 lower-case hex digits")]
    ParentId,
    /// § 3.2.2.4
    #[error("a parent id of zeros is invalid")]
    ParentIdZero,
    /// § 3.2.2.5
    #[error("the flags must be two lower-case hex digits")]
    Flags,
}

/// How a format writes a number in hex.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex {
    pub(crate) field: &'static str,
    /// Whether it may have that many digits.
    pub(crate) fits: fn(usize) -> bool,
    /// Whether `A` to `F` are digits.
    pub(crate) upper: bool,
    /// The two above, in words.
    pub(crate) digits: &'static str,
}

// === impl Hex ===

impl Hex {
    pub(crate) fn read(self, text: &str) -> Result<u128, Rejection> {
        let is_digit = |byte: u8| byte.is_ascii_hexdigit() && (self.upper || !byte.is_ascii_uppercase());
        let is_hex = (self.fits)(text.len()) && text.bytes().all(is_digit);
        let number = if is_hex { u128::from_str_radix(text, 16).ok() } else { None };
        number.ok_or_else(|| Rejection::NotANumber { field: self.field, text: excerpt(text), digits: self.digits })
    }

    pub(crate) fn trace_id(self, text: &str) -> Result<TraceRef, Rejection> {
        TraceId::new(self.read(text)?).map(TraceRef::Whole).ok_or(Rejection::Zero(self.field))
    }

    pub(crate) fn span_id(self, text: &str) -> Result<SpanId, Rejection> {
        u64::try_from(self.read(text)?).ok().and_then(SpanId::new).ok_or(Rejection::Zero(self.field))
    }

    pub(crate) fn says_trace(self, text: &str) -> Result<Says, Rejection> {
        self.trace_id(text).map(Says::Trace)
    }

    pub(crate) fn says_span(self, text: &str) -> Result<Says, Rejection> {
        self.span_id(text).map(Says::Span)
    }
}

/// As much of foreign text as a sentence can hold.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}
