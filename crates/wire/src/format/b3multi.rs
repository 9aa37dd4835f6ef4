//! B3 in [several headers](https://github.com/openzipkin/b3-propagation#multiple-headers).

use crate::context::Context;
use crate::format::b3::{self, SPAN_ID, TRACE_ID, is_sampled};
use crate::format::{Carrier, Format, Identity, Written, first};
use crate::piece::{Piece, Role};
use crate::rejection::Rejection;

/// `x-b3-traceid`, `x-b3-spanid` and `x-b3-sampled`; a sender may add the parent of its span, or ask for debugging.
pub(crate) const IDENTITY: Identity = Identity { family: Format::B3, undecided: true, read, write, pieces };

const TRACE_ID_HEADER: &str = "x-b3-traceid";
const SPAN_ID_HEADER: &str = "x-b3-spanid";
const SAMPLED_HEADER: &str = "x-b3-sampled";
const FLAGS_HEADER: &str = "x-b3-flags";

/// Only `x-b3-flags: 1` says something, and it outweighs `x-b3-sampled`.
fn read(carrier: &dyn Carrier) -> Result<Context, Rejection> {
    let field = |header| first(carrier, header).ok_or(Rejection::Missing(header));
    let debug = first(carrier, FLAGS_HEADER) == Some("1");
    let sampled = match debug {
        true => Some(true),
        false => first(carrier, SAMPLED_HEADER).map(is_sampled).transpose()?,
    };
    Ok(Context {
        trace_id: TRACE_ID.trace_id(field(TRACE_ID_HEADER)?)?,
        span_id: SPAN_ID.span_id(field(SPAN_ID_HEADER)?)?,
        sampled,
        random: false,
        debug,
    })
}

fn pieces<'a>(header: &str, value: &'a str) -> Vec<Piece<'a>> {
    let field = match header {
        TRACE_ID_HEADER => b3::TRACE_ID_FIELD,
        SPAN_ID_HEADER => b3::SPAN_ID_FIELD,
        SAMPLED_HEADER => b3::DECISION_FIELD,
        FLAGS_HEADER => return vec![Piece::new(Role::Flags, value)],
        _ => return vec![Piece::new(Role::ParentSpanId, value)],
    };
    vec![field.piece(value)]
}

fn write(context: &Context) -> Written {
    let mut written =
        vec![(TRACE_ID_HEADER, context.trace_id.to_string()), (SPAN_ID_HEADER, context.span_id.to_string())];
    match context.debug {
        true => written.push((FLAGS_HEADER, "1".to_owned())),
        false => written.extend(context.sampled.map(|sampled| (SAMPLED_HEADER, u8::from(sampled).to_string()))),
    }
    written
}
