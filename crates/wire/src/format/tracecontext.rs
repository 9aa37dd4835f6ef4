//! `traceparent` of W3C Trace Context, [level 2](https://www.w3.org/TR/trace-context-2/), strictly.
//!
//! Section numbers in this file are that document's.

use std::fmt;
use std::str::FromStr;

use crate::context::Context;
use crate::format::{Carrier, Format, Identity, Written};
use crate::id::{SpanId, TraceId};
use crate::piece::{Field, Piece, Role, Says, in_places, lower_hex};
use crate::rejection::{Rejection, TraceParentRejection};

/// `traceparent: {version}-{trace-id}-{parent-id}-{flags}`
pub(crate) const IDENTITY: Identity = Identity { family: Format::TraceContext, undecided: false, read, write, pieces };

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

fn pieces<'a>(_: &str, value: &'a str) -> Vec<Piece<'a>> {
    const FIELDS: &[Field] = &[
        Field { role: Role::Version, may_hold: lower_hex, read: |text| Ok(version(text).map(|_| Says::Other)?) },
        Field { role: Role::TraceId, may_hold: lower_hex, read: |text| Ok(Says::Trace(trace_id(text)?.into())) },
        Field { role: Role::SpanId, may_hold: lower_hex, read: |text| Ok(Says::Span(parent_id(text)?)) },
        Field { role: Role::Flags, may_hold: lower_hex, read: |text| Ok(flags(text).map(|_| Says::Other)?) },
    ];
    let first_version = value.split('-').next().is_some_and(|field| version(field) == Ok(0));
    let beyond = if first_version { Err(TraceParentRejection::FieldCount.into()) } else { Ok(Says::Other) };
    in_places(value, &["-"], FIELDS, &beyond)
}

fn version(text: &str) -> Result<u8, TraceParentRejection> {
    match hex::<1>(text).ok_or(TraceParentRejection::Version)? {
        [0xff] => Err(TraceParentRejection::VersionForbidden),
        [version] => Ok(version),
    }
}

fn trace_id(text: &str) -> Result<TraceId, TraceParentRejection> {
    let bytes = hex::<16>(text).ok_or(TraceParentRejection::TraceId)?;
    TraceId::from_bytes(&bytes).ok_or(TraceParentRejection::TraceIdZero)
}

fn parent_id(text: &str) -> Result<SpanId, TraceParentRejection> {
    let bytes = hex::<8>(text).ok_or(TraceParentRejection::ParentId)?;
    SpanId::from_bytes(&bytes).ok_or(TraceParentRejection::ParentIdZero)
}

fn flags(text: &str) -> Result<u8, TraceParentRejection> {
    hex::<1>(text).map(|[flags]| flags).ok_or(TraceParentRejection::Flags)
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

        // § 3.2.4: what later versions add after a dash is not ours to judge.
        if self::version(version)? == 0 && more {
            return Err(Why::FieldCount);
        }
        let (trace_id, parent_id) = (self::trace_id(trace_id)?, self::parent_id(parent_id)?);
        let flags = self::flags(flags)?;
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
