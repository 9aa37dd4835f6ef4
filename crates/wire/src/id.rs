//! The ids of traces and spans.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a trace: 128 bits, never all zero, written in lower-case hex
/// (<https://www.w3.org/TR/trace-context/#trace-id>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceId(NonZeroU128);

/// The id of a span: 64 bits, never all zero, written in lower-case hex
/// (<https://www.w3.org/TR/trace-context/#parent-id>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpanId(NonZeroU64);

/// The trace that a header names. Some formats have room for 64 bits of its id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraceRef {
    /// All of its id.
    Whole(TraceId),
    /// The low 64 bits of its id.
    Low(NonZeroU64),
}

/// Text that is not an id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: it must have 1 to {digits} hex digits, not all zero")]
pub struct InvalidId {
    text: String,
    digits: usize,
}

// === impl TraceId and SpanId ===

macro_rules! impl_id {
    ($id:ident, $non_zero:ty, $int:ty, $bytes:literal, $digits:literal) => {
        impl $id {
            /// `None` for zero, which is not an id.
            #[must_use]
            pub const fn new(id: $int) -> Option<Self> {
                match <$non_zero>::new(id) {
                    Some(id) => Some(Self(id)),
                    None => None,
                }
            }

            /// Reads an id as OTLP writes it; `None` if the length is wrong or all bytes are zero.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Self::new(<$int>::from_be_bytes(bytes.try_into().ok()?))
            }

            /// The bytes as OTLP writes them, the highest first.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.get().to_be_bytes()
            }

            /// The id as a number.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0.get()
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!("{:0", $digits, "x}"), self.0))
            }
        }

        impl FromStr for $id {
            type Err = InvalidId;

            /// Reads hex digits; missing leading zeros are put back, because Tempo's search leaves them out.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Some(text)
                    .filter(|text| text.len() <= $digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|text| Self::new(<$int>::from_str_radix(text, 16).ok()?))
                    .ok_or_else(|| InvalidId { text: text.chars().take(80).collect(), digits: $digits })
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $id {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

impl_id!(TraceId, NonZeroU128, u128, 16, 32);
impl_id!(SpanId, NonZeroU64, u64, 8, 16);

// === impl TraceId ===

impl TraceId {
    /// The high and the low 64 bits.
    #[must_use]
    pub const fn halves(self) -> (u64, u64) {
        ((self.get() >> 64) as u64, self.get() as u64)
    }
}

// === impl TraceRef ===

impl TraceRef {
    /// Whether this can be that trace: of half an id, the low half decides.
    #[must_use]
    pub fn matches(self, trace: TraceId) -> bool {
        match self {
            Self::Whole(id) => id == trace,
            Self::Low(low) => low.get() == trace.halves().1,
        }
    }

    /// The id that a receiver continues the trace with: bits that did not come are zero.
    #[must_use]
    pub fn padded(self) -> TraceId {
        match self {
            Self::Whole(id) => id,
            Self::Low(low) => TraceId(low.into()),
        }
    }
}

impl From<TraceId> for TraceRef {
    fn from(id: TraceId) -> Self {
        Self::Whole(id)
    }
}

impl fmt::Display for TraceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(id) => id.fmt(f),
            Self::Low(low) => f.pad(&format!("{low:016x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_padded_and_written_in_lower_case() {
        let cases = [
            ("ABC", Some("00000000000000000000000000000abc"), "Tempo leaves out leading zeros"),
            ("0", None, "zero is no id"),
            ("", None, "nothing is no id"),
            ("+1", None, "a sign is no hex digit"),
            ("0000000000000000000000000000000001", None, "34 digits are too many"),
        ];
        for (text, id, why) in cases {
            assert_eq!(text.parse::<TraceId>().ok().map(|id| id.to_string()).as_deref(), id, "{why}");
        }
    }

    #[test]
    fn ids_survive_bytes() {
        let (trace, span) = (TraceId::new(0xabc << 64).unwrap(), SpanId::new(7).unwrap());
        assert_eq!(TraceId::from_bytes(&trace.to_bytes()), Some(trace));
        assert_eq!(SpanId::from_bytes(&span.to_bytes()), Some(span));
        for bytes in [&[][..], &[0; 8], &[0; 16], &[1; 9]] {
            assert_eq!((TraceId::from_bytes(bytes), SpanId::from_bytes(bytes)), (None, None), "{bytes:?}");
        }
    }

    #[test]
    fn half_an_id_matches_the_low_half() {
        let trace = TraceId::new((7 << 64) | 9).unwrap();
        let low = TraceRef::Low(NonZeroU64::new(9).unwrap());
        assert!(low.matches(trace) && TraceRef::from(trace).matches(trace));
        assert!(!low.matches(TraceId::new((9 << 64) | 7).unwrap()), "the other half is another trace");
        assert!(!TraceRef::from(low.padded()).matches(trace), "whole ids are compared whole");
        assert_eq!((low.padded(), low.to_string()), (TraceId::new(9).unwrap(), format!("{:016x}", 9)));
    }
}
