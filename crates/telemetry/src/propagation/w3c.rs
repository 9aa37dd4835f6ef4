//! W3C Trace Context, [level 2](https://www.w3.org/TR/trace-context-2/), strictly.
//!
//! Section numbers in this file are that document's.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::Arrived;

/// The header that carries trace identity.
pub const TRACEPARENT: &str = "traceparent";
/// The header that carries the state of vendors.
pub const TRACESTATE: &str = "tracestate";

/// Flag: the trace id was made at random, at least in its last seven bytes (§ 3.2.2.5.2).
pub(super) const RANDOM: TraceFlags = TraceFlags::new(0x02);
const KNOWN_FLAGS: u8 = 0x03;

/// Reads and writes `traceparent` and `tracestate`.
#[derive(Clone, Copy, Debug, Default)]
pub struct W3cPropagator;

/// The content of a `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that the request belongs to.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: SpanId,
    /// The flags that level 2 knows: sampled and random.
    pub flags: TraceFlags,
}

/// Why a `traceparent` was rejected; each reason is a rule of § 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// § 3.2: a request has one `traceparent`.
    #[error("traceparent came more than once")]
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

/// Why a `tracestate` was rejected; each reason is a rule of § 3.3. A rejected list is discarded whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateRejection {
    /// § 3.3.2: at most 32 members.
    #[error("tracestate has more than 32 members")]
    TooManyMembers,
    /// § 3.3.2.2: every member is `key=value`.
    #[error("a tracestate member must be `key=value`")]
    Member,
    /// § 3.3.2.2.1
    #[error("a tracestate key is malformed")]
    Key,
    /// § 3.3.2.2.2
    #[error("a tracestate value is malformed")]
    Value,
}

// === impl TraceParent ===

impl FromStr for TraceParent {
    type Err = Rejection;

    fn from_str(header: &str) -> Result<Self, Rejection> {
        let mut fields = header.trim_matches([' ', '\t']).split('-');
        let mut field = || fields.next().ok_or(Rejection::FieldCount);
        let (version, trace_id, parent_id, flags) = (field()?, field()?, field()?, field()?);
        let more = fields.next().is_some();

        let version = hex::<1>(version).ok_or(Rejection::Version)?;
        match version {
            [0xff] => return Err(Rejection::VersionForbidden),
            // § 3.2.4: what later versions add after a dash is not ours to judge.
            [0] if more => return Err(Rejection::FieldCount),
            _ => {}
        }
        let trace_id = TraceId::from_bytes(hex(trace_id).ok_or(Rejection::TraceId)?);
        if trace_id == TraceId::INVALID {
            return Err(Rejection::TraceIdZero);
        }
        let parent_id = SpanId::from_bytes(hex(parent_id).ok_or(Rejection::ParentId)?);
        if parent_id == SpanId::INVALID {
            return Err(Rejection::ParentIdZero);
        }
        let [flags] = hex::<1>(flags).ok_or(Rejection::Flags)?;
        Ok(Self { trace_id, parent_id, flags: TraceFlags::new(flags & KNOWN_FLAGS) })
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

impl TraceParent {
    /// What `cx`'s active span would send; `None` without a valid one.
    ///
    /// The random flag is passed on if the caller had set it, and set on traces that began here (our SDK makes ids at
    /// random); § 3.2.2.5.2 forbids setting it on somebody else's trace.
    #[must_use]
    pub fn of(cx: &Context) -> Option<Self> {
        let span = cx.span();
        let span = span.span_context();
        let random = match cx.get::<Arrived>() {
            Some(arrived) if arrived.trace_id == span.trace_id() => arrived.flags & RANDOM,
            _ => RANDOM,
        };
        let sampled = span.trace_flags() & TraceFlags::SAMPLED;
        span.is_valid().then(|| Self { trace_id: span.trace_id(), parent_id: span.span_id(), flags: sampled | random })
    }
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

// === impl W3cPropagator ===

impl W3cPropagator {
    /// The `traceparent` of `carrier`: `None` if it has none, else the header or why it is rejected.
    pub fn traceparent(carrier: &dyn Extractor) -> Option<Result<TraceParent, Rejection>> {
        let lines = carrier.get_all(TRACEPARENT)?;
        Some(match lines.as_slice() {
            [] => return None,
            // A proxy may have joined two lines with a comma.
            [line] if line.contains(',') => Err(Rejection::Repeated),
            [line] => line.parse(),
            _ => Err(Rejection::Repeated),
        })
    }

    /// The `tracestate` of `carrier` as one list: empty if it has none, else the list or why it is rejected.
    pub fn tracestate(carrier: &dyn Extractor) -> Result<String, StateRejection> {
        // § 3.3.2: several lines are one list, joined in order.
        let joined = carrier.get_all(TRACESTATE).unwrap_or_default().join(",");
        let members: Vec<&str> = joined
            .split(',')
            .map(|member| member.trim_matches([' ', '\t']))
            .filter(|member| !member.is_empty())
            .collect();
        if members.len() > 32 {
            return Err(StateRejection::TooManyMembers);
        }
        // A key that came twice is passed on as it came: its uniqueness is the duty of whoever adds it (§ 3.5).
        for member in &members {
            let (key, value) = member.split_once('=').ok_or(StateRejection::Member)?;
            if !is_state_key(key) {
                return Err(StateRejection::Key);
            }
            if !is_state_value(value) {
                return Err(StateRejection::Value);
            }
        }
        Ok(members.join(","))
    }
}

/// § 3.3.2.2.1: `( lcalpha / DIGIT ) 0*255 ( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )`
fn is_state_key(key: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256
        && key.as_bytes().first().is_some_and(alphanumeric)
        && key.as_bytes().iter().all(|byte| alphanumeric(byte) || b"_-*/@".contains(byte))
}

/// § 3.3.2.2.2: 1 to 256 printable ASCII characters without `,` and `=`, the last of them not a space.
fn is_state_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.as_bytes().iter().all(|byte| (0x20..=0x7e).contains(byte) && !b",=".contains(byte))
        && !value.ends_with(' ')
}

impl TextMapPropagator for W3cPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let Some(traceparent) = TraceParent::of(cx) else { return };
        injector.set(TRACEPARENT, traceparent.to_string());
        let own = cx.span().span_context().trace_state().header();
        let state = match cx.get::<Arrived>() {
            // The API's `TraceState` refuses keys that level 2 allows; such a list travels beside it.
            Some(arrived) if own.is_empty() && arrived.trace_id == traceparent.trace_id => arrived.tracestate.clone(),
            _ => own,
        };
        if !state.is_empty() {
            injector.set(TRACESTATE, state);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let Some(Ok(TraceParent { trace_id, parent_id, flags })) = Self::traceparent(extractor) else {
            return cx.clone();
        };
        let tracestate = Self::tracestate(extractor).unwrap_or_default();
        let state = TraceState::from_str(&tracestate).unwrap_or_default();
        // The random flag stays with `Arrived`: B3 and X-Ray take its bit for a decision that nobody took yet.
        let sampled = flags & TraceFlags::SAMPLED;
        cx.with_value(Arrived { trace_id, flags, tracestate })
            .with_remote_span_context(SpanContext::new(trace_id, parent_id, sampled, true, state))
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: std::sync::LazyLock<[String; 2]> =
            std::sync::LazyLock::new(|| [TRACEPARENT.to_owned(), TRACESTATE.to_owned()]);
        FieldIter::new(FIELDS.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn rejects_each_malformed_header_for_its_own_reason() {
        let table: &[(&str, Rejection)] = &[
            ("", Rejection::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", Rejection::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", Rejection::FieldCount),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", Rejection::FieldCount),
            ("0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::Version),
            ("000-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::Version),
            (".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::Version),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::VersionForbidden),
            ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::TraceId),
            ("00-1-b7ad6b7169203331-01", Rejection::TraceId),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", Rejection::TraceIdZero),
            ("00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01", Rejection::ParentId),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", Rejection::ParentIdZero),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", Rejection::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001", Rejection::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1", Rejection::Flags),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A", Rejection::Flags),
            ("é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Rejection::Version),
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

    #[test]
    fn rejects_each_malformed_state_for_its_own_reason() {
        let many = (0..33).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        let table: &[(&str, StateRejection)] = &[
            (&many, StateRejection::TooManyMembers),
            ("foo", StateRejection::Member),
            ("=1", StateRejection::Key),
            ("Foo=1", StateRejection::Key),
            ("@foo=1", StateRejection::Key),
            ("foo =1", StateRejection::Key),
            ("foo=", StateRejection::Value),
            ("foo=a=b", StateRejection::Value),
            ("foo=\u{7f}", StateRejection::Value),
        ];
        for (header, reason) in table {
            let carrier = HashMap::from([(TRACESTATE.to_owned(), (*header).to_owned())]);
            assert_eq!(W3cPropagator::tracestate(&carrier), Err(*reason), "{header:?}");
        }
    }

    #[test]
    fn passes_a_valid_state_on_as_it_came() {
        for (state, why) in [
            ("foo=1,bar=2", "an ordinary list"),
            ("t@a-very-long-system-name=1,foo=2", "the API's type refuses this key, level 2 allows it"),
            ("foo=1,bar=2,foo=3", "a receiver need not judge a key that came twice"),
        ] {
            let carrier =
                HashMap::from([(TRACEPARENT.to_owned(), GOOD.to_owned()), (TRACESTATE.to_owned(), state.to_owned())]);
            let cx = W3cPropagator.extract(&carrier);
            let mut sent = HashMap::new();
            W3cPropagator.inject_context(&cx, &mut sent);
            assert_eq!(sent.get(TRACESTATE).map(String::as_str), Some(state), "{why}");
        }
    }

    #[test]
    fn a_foreign_trace_keeps_its_flags() {
        for flags in ["00", "01", "02", "03"] {
            let header = format!("{}{flags}", GOOD.strip_suffix("01").unwrap());
            let cx = W3cPropagator.extract(&HashMap::from([(TRACEPARENT.to_owned(), header.clone())]));
            assert_eq!(TraceParent::of(&cx).map(|parent| parent.to_string()), Some(header), "flags {flags}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in ".*", state in ".*") {
            let _ = header.parse::<TraceParent>();
            let _ = W3cPropagator::tracestate(&HashMap::from([(TRACESTATE.to_owned(), state)]));
        }

        #[test]
        fn reads_what_it_writes(trace in 1u128.., parent in 1u64.., flags in 0u8..4) {
            let written = TraceParent { trace_id: trace.into(), parent_id: parent.into(), flags: TraceFlags::new(flags) };
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }
    }
}
