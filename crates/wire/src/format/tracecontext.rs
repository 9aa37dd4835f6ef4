//! `traceparent` of W3C Trace Context, [level 2](https://www.w3.org/TR/trace-context-2/), strictly.
//!
//! Section numbers in this file are that document's.

use std::fmt;
use std::str::FromStr;

use crate::context::Context;
use crate::format::{Carrier, Format, Identity, Written};
use crate::id::{SpanId, TraceId};
use crate::rejection::{Rejection, TraceParentRejection};

/// `traceparent: {version}-{trace-id}-{parent-id}-{flags}`
pub(crate) const IDENTITY: Identity = Identity { family: Format::TraceContext, undecided: false, read, write };

/// The header that carries trace identity.
pub const TRACEPARENT: &str = "traceparent";

/// Flag: the caller may have recorded (§ 3.2.2.5.1).
const SAMPLED: u8 = 0x01;
/// Flag: the trace id was made at random, at least in its last seven bytes (§ 3.2.2.5.2).
const RANDOM: u8 = 0x02;

/// The content of a `traceparent` header, and of `traceresponse`, which has the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that the request belongs to.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: SpanId,
    /// Whether the caller may have recorded.
    pub sampled: bool,
    /// Whether the trace id was made at random.
    pub random: bool,
}

fn read(carrier: &dyn Carrier) -> Result<Context, Rejection> {
    let parent: TraceParent = match *carrier.lines(TRACEPARENT).as_slice() {
        // A proxy may have joined two lines with a comma.
        [line] if !line.contains(',') => line.parse()?,
        _ => return Err(TraceParentRejection::Repeated.into()),
    };
    Ok(parent.into())
}

fn write(context: &Context) -> Written {
    let Context { trace_id, span_id, sampled, random, debug: _ } = *context;
    let parent =
        TraceParent { trace_id: trace_id.padded(), parent_id: span_id, sampled: sampled == Some(true), random };
    vec![(TRACEPARENT, parent.to_string())]
}

/// Exactly `N` bytes in lower-case hex.
fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let lower = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
    if digits.len() != 2 * N || !digits.as_bytes().iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

// === impl TraceParent ===

impl FromStr for TraceParent {
    type Err = TraceParentRejection;

    fn from_str(header: &str) -> Result<Self, TraceParentRejection> {
        use TraceParentRejection as Why;

        let mut fields = header.trim_matches([' ', '\t']).split('-');
        let mut field = || fields.next().ok_or(Why::FieldCount);
        let (version, trace_id, parent_id, flags) = (field()?, field()?, field()?, field()?);
        let more = fields.next().is_some();

        let version = hex::<1>(version).ok_or(Why::Version)?;
        match version {
            [0xff] => return Err(Why::VersionForbidden),
            // § 3.2.4: what later versions add after a dash is not ours to judge.
            [0] if more => return Err(Why::FieldCount),
            _ => {}
        }
        let trace_id = TraceId::from_bytes(&hex::<16>(trace_id).ok_or(Why::TraceId)?).ok_or(Why::TraceIdZero)?;
        let parent_id = SpanId::from_bytes(&hex::<8>(parent_id).ok_or(Why::ParentId)?).ok_or(Why::ParentIdZero)?;
        let [flags] = hex::<1>(flags).ok_or(Why::Flags)?;
        // § 3.2.2.5.3: other flags are not for us.
        Ok(Self { trace_id, parent_id, sampled: flags & SAMPLED != 0, random: flags & RANDOM != 0 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = (u8::from(self.sampled) * SAMPLED) | (u8::from(self.random) * RANDOM);
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id, self.parent_id)
    }
}

impl From<TraceParent> for Context {
    fn from(TraceParent { trace_id, parent_id, sampled, random }: TraceParent) -> Self {
        Self { trace_id: trace_id.into(), span_id: parent_id, sampled: Some(sampled), random, debug: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn rejects_each_malformed_header_for_its_own_reason() {
        use TraceParentRejection as Why;

        let table: &[(&str, Why)] = &[
            ("", Why::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", Why::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", Why::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", Why::FieldCount),
            ("0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::Version),
            ("000-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::Version),
            (".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::Version),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::VersionForbidden),
            ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::TraceId),
            ("00-1-b7ad6b7169203331-01", Why::TraceId),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", Why::TraceIdZero),
            ("00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01", Why::ParentId),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", Why::ParentIdZero),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", Why::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001", Why::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1", Why::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A", Why::Flags),
            ("é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Why::Version),
        ];
        for (header, reason) in table {
            assert_eq!(header.parse::<TraceParent>(), Err(*reason), "{header:?}");
        }
    }

    #[test]
    fn accepts_what_the_specification_allows() {
        for header in [
            GOOD,
            &format!(" {GOOD}\t"),
            &GOOD.replacen("00", "cc", 1),
            &format!("{}-more", GOOD.replacen("00", "01", 1)),
        ] {
            assert_eq!(
                header.parse::<TraceParent>().map(|parent| parent.to_string()).as_deref(),
                Ok(GOOD),
                "{header:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in ".*") {
            let _ = header.parse::<TraceParent>();
        }

        #[test]
        fn reads_what_it_writes(trace in 1u128.., parent in 1u64.., sampled: bool, random: bool) {
            let (trace_id, parent_id) = (TraceId::new(trace).unwrap(), SpanId::new(parent).unwrap());
            let written = TraceParent { trace_id, parent_id, sampled, random };
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }
    }
}
