//! B3 in a [single header](https://github.com/openzipkin/b3-propagation#single-header), and the rules that both of its
//! forms share.
//!
//! OpenTelemetry's [requirements](https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-requirements):
//! a propagator of one form reads both; debug implies sampled, and is propagated.

use crate::context::Context;
use crate::format::{Carrier, Format, Identity, Written, first};
use crate::piece::{Field, Piece, Role, Says, in_places, lower_hex};
use crate::rejection::{Hex, Rejection, excerpt};

/// `b3: {trace-id}-{span-id}[-{decision}[-{parent-span-id}]]`
pub(crate) const IDENTITY: Identity = Identity { family: Format::B3, undecided: true, read, write, pieces };

pub(crate) const TRACE_ID: Hex = Hex {
    field: "trace id",
    fits: |digits| digits == 16 || digits == 32,
    upper: false,
    digits: "16 or 32 lower-case hex digits",
};
pub(crate) const SPAN_ID: Hex =
    Hex { field: "span id", fits: |digits| digits == 16, upper: false, digits: "16 lower-case hex digits" };
const PARENT_SPAN_ID: Hex = Hex { field: "parent span id", ..SPAN_ID };

pub(crate) const TRACE_ID_FIELD: Field =
    Field { role: Role::TraceId, may_hold: lower_hex, read: |text| TRACE_ID.says_trace(text) };
pub(crate) const SPAN_ID_FIELD: Field =
    Field { role: Role::SpanId, may_hold: lower_hex, read: |text| SPAN_ID.says_span(text) };
pub(crate) const DECISION_FIELD: Field =
    Field { role: Role::Decision, may_hold: |_| true, read: |text| is_sampled(text).map(|_| Says::Other) };
pub(crate) const PARENT_SPAN_ID_FIELD: Field = Field {
    role: Role::ParentSpanId,
    may_hold: lower_hex,
    read: |text| PARENT_SPAN_ID.read(text).map(|_| Says::Other),
};

const HEADER: &str = "b3";
/// The decision that asks for debugging.
const DEBUG: &str = "d";

fn read(carrier: &dyn Carrier) -> Result<Context, Rejection> {
    let fields: Vec<_> = first(carrier, HEADER).ok_or(Rejection::Missing(HEADER))?.split_terminator('-').collect();
    let (trace_id, span_id, decision, parent) = match *fields.as_slice() {
        [trace_id, span_id] => (trace_id, span_id, None, None),
        [trace_id, span_id, sampled] => (trace_id, span_id, Some(sampled), None),
        [trace_id, span_id, sampled, parent] => (trace_id, span_id, Some(sampled), Some(parent)),
        _ => return Err(Rejection::FieldCount(fields.len())),
    };
    parent.map(|parent| PARENT_SPAN_ID.read(parent)).transpose()?;
    Ok(Context {
        trace_id: TRACE_ID.trace_id(trace_id)?,
        span_id: SPAN_ID.span_id(span_id)?,
        sampled: decision.map(is_sampled).transpose()?,
        random: false,
        debug: decision == Some(DEBUG),
    })
}

fn pieces<'a>(_: &str, value: &'a str) -> Vec<Piece<'a>> {
    const FIELDS: &[Field] = &[TRACE_ID_FIELD, SPAN_ID_FIELD, DECISION_FIELD, PARENT_SPAN_ID_FIELD];
    if is_sampled(value).is_ok() {
        return vec![DECISION_FIELD.piece(value)];
    }
    let beyond = Err(Rejection::FieldCount(value.split_terminator('-').count()));
    let fields = value.strip_suffix('-').unwrap_or(value);
    let mut pieces = in_places(fields, &["-"], FIELDS, &beyond);
    pieces.extend(value.get(fields.len()..).filter(|end| !end.is_empty()).map(|end| Piece::new(Role::Separator, end)));
    pieces
}

/// A bare decision (`b3: 0`), which names no span, is never sent.
fn write(context: &Context) -> Written {
    let decision = match (context.debug, context.sampled) {
        (true, _) => Some(DEBUG),
        (false, Some(true)) => Some("1"),
        (false, Some(false)) => Some("0"),
        (false, None) => None,
    };
    let decision = decision.map(|decision| format!("-{decision}")).unwrap_or_default();
    vec![(HEADER, format!("{}-{}{decision}", context.trace_id, context.span_id))]
}

/// `true` and `false` are what old senders wrote.
pub(crate) fn is_sampled(decision: &str) -> Result<bool, Rejection> {
    match decision {
        "1" | DEBUG | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(Rejection::Decision(excerpt(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::TraceHeaders;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(pairs: &[(&str, &str)]) -> TraceHeaders {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    }

    /// Debug replaces the decision in either form: "debug implies an accept decision, so don't also send X-B3-Sampled".
    #[test]
    fn debug_is_sent_on_as_it_was_read() {
        let single = headers(&[("b3", &format!("{TRACE}-{SPAN}-d"))]);
        let multi = headers(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")]);
        let (context, _) = Format::B3.extract(&single).expect("it is valid");
        assert!(context.debug, "the single header asks for it: {context:?}");
        assert_eq!(Format::B3Multi.extract(&multi).map(|(context, _)| context), Some(context), "so do several");
        for (format, sent) in [(Format::B3, single), (Format::B3Multi, multi)] {
            let written = format.write(&context).into_iter().map(|(name, value)| (name.to_owned(), vec![value]));
            assert_eq!(written.collect::<TraceHeaders>(), sent, "{format}");
        }
    }

    #[test]
    fn both_forms_are_read_whichever_is_sent() {
        let single = |value: String| headers(&[("b3", &value)]);
        let multi =
            |more: &[(&str, &str)]| headers(&[&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)], more].concat());
        let sampled = |value| multi(&[("x-b3-sampled", value)]);
        let table = [
            (single(format!("{TRACE}-{SPAN}-1")), Some(true), "single, accepted"),
            (single(format!("{TRACE}-{SPAN}-0")), Some(false), "single, denied"),
            (single(format!("{TRACE}-{SPAN}-d")), Some(true), "single, debug"),
            (single(format!("{TRACE}-{SPAN}-x")), None, "single, an unknown decision"),
            (single(format!("{TRACE}-{SPAN}")), Some(true), "single, decision left to us"),
            (single(format!("{TRACE}-{SPAN}-1-{SPAN}")), Some(true), "single, with the parent's parent"),
            (single(format!("{TRACE}-{SPAN}-1-x")), None, "single, with something else there"),
            (single(format!("{TRACE}-{SPAN}-1-{SPAN}-1")), None, "single, a field too many"),
            (single(format!("{SPAN}-{SPAN}-1")), Some(true), "single, a trace id of 64 bits"),
            (single(format!("{}-{SPAN}-1", TRACE.to_uppercase())), None, "single, not in lower case"),
            (single("0".to_owned()), None, "a bare decision names no parent"),
            (sampled("1"), Some(true), "multi, accepted"),
            (sampled("0"), Some(false), "multi, denied"),
            (sampled("true"), Some(true), "multi, accepted by an old sender"),
            (sampled("yes"), None, "multi, an unknown decision"),
            (multi(&[]), Some(true), "multi, decision left to us"),
            (multi(&[("x-b3-flags", "1")]), Some(true), "multi, debug"),
            (multi(&[("x-b3-flags", "1"), ("x-b3-sampled", "0")]), Some(true), "multi, debug implies accepted"),
            (multi(&[("x-b3-flags", "0"), ("x-b3-sampled", "1")]), Some(true), "multi, accepted without debug"),
            (multi(&[("b3", "garbage")]), Some(true), "the form that is valid counts"),
            (headers(&[("x-b3-spanid", SPAN)]), None, "multi, without a trace id"),
        ];
        for format in [Format::B3, Format::B3Multi] {
            for (carrier, sampled, why) in &table {
                assert_eq!(format.extract(carrier).map(|(_, sampled)| sampled), *sampled, "{format}: {why}");
            }
        }
    }
}
