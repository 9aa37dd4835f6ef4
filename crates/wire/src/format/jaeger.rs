//! Jaeger's [propagation format](https://www.jaegertracing.io/sdk-migration/#propagation-format), without its baggage.

use percent_encoding::percent_decode_str;

use crate::context::Context;
use crate::format::{Carrier, Format, Identity, Written, first};
use crate::piece::{Field, Piece, Role, Says, any_hex, in_places};
use crate::rejection::{Hex, Rejection};

/// `uber-trace-id: {trace-id}:{span-id}:{parent-span-id}:{flags}`
pub(crate) const IDENTITY: Identity = Identity { family: Format::Jaeger, undecided: false, read, write, pieces };

const HEADER: &str = "uber-trace-id";

// Ids may lack leading zeros.
const TRACE_ID: Hex =
    Hex { field: "trace id", fits: |digits| (1..=32).contains(&digits), upper: true, digits: "1 to 32 hex digits" };
const SPAN_ID: Hex =
    Hex { field: "span id", fits: |digits| (1..=16).contains(&digits), upper: true, digits: "1 to 16 hex digits" };
const FLAGS: Hex =
    Hex { field: "flags", fits: |digits| (1..=2).contains(&digits), upper: true, digits: "1 or 2 hex digits" };

/// Flag: sampled.
const SAMPLED: u128 = 0x01;
/// Flag: debug, which implies sampled.
const DEBUG: u128 = 0x02;

/// The value may be URL-encoded.
fn read(carrier: &dyn Carrier) -> Result<Context, Rejection> {
    let value = first(carrier, HEADER).ok_or(Rejection::Missing(HEADER))?;
    let decoded = percent_decode_str(value.trim()).decode_utf8_lossy();
    let fields: Vec<_> = decoded.split(':').collect();
    let [trace_id, span_id, _parent, flags] = *fields.as_slice() else {
        return Err(Rejection::FieldCount(fields.len()));
    };
    Ok(Context {
        trace_id: TRACE_ID.trace_id(trace_id)?,
        span_id: SPAN_ID.span_id(span_id)?,
        sampled: Some(FLAGS.read(flags)? & (SAMPLED | DEBUG) != 0),
        random: false,
        debug: false,
    })
}

fn pieces<'a>(_: &str, value: &'a str) -> Vec<Piece<'a>> {
    const FIELDS: &[Field] = &[
        Field { role: Role::TraceId, may_hold: any_hex, read: |text| TRACE_ID.says_trace(text) },
        Field { role: Role::SpanId, may_hold: any_hex, read: |text| SPAN_ID.says_span(text) },
        Field { role: Role::ParentSpanId, may_hold: |_| true, read: |_| Ok(Says::Other) },
        Field { role: Role::Flags, may_hold: any_hex, read: |text| FLAGS.read(text).map(|_| Says::Other) },
    ];
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    in_places(value, &[":", "%3A", "%3a"], FIELDS, &Err(Rejection::FieldCount(decoded.split(':').count())))
}

/// The deprecated parent field is sent as 0, as by the SDKs of Java and Node.
fn write(context: &Context) -> Written {
    let sampled = u8::from(context.sampled == Some(true));
    vec![(HEADER, format!("{}:{}:0:{sampled}", context.trace_id, context.span_id))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::TraceHeaders;

    #[test]
    fn reads_what_the_sdks_send() {
        let table = [
            ("0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1", Some(true), "Java"),
            ("0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:00f067aa0ba902b7:03", Some(true), "Python"),
            ("0af7651916cd43dd8448eb211c80319c%3Ab7ad6b7169203331%3A0%3A0", Some(false), "URL-encoded, not sampled"),
            ("af7651916cd43dd:1:0:1", Some(true), "short ids are padded"),
            ("AF:1:0:2", Some(true), "debug implies sampled; any case is hex"),
            ("0:1:0:1", None, "a trace id of zeros"),
            ("af:0:0:1", None, "a span id of zeros"),
            ("af:1:0", None, "a field is missing"),
            ("af:1:0:1:9", None, "a field too many"),
            ("xyz:1:0:1", None, "not hex"),
            ("+f:1:0:1", None, "a sign is not hex"),
            ("0af7651916cd43dd8448eb211c80319c0:1:0:1", None, "33 digits"),
            ("", None, "empty"),
        ];
        for (header, sampled, why) in table {
            let carrier: TraceHeaders = [(HEADER.to_owned(), vec![header.to_owned()])].into_iter().collect();
            let said = Format::Jaeger.read(&carrier).and_then(Result::ok).and_then(|context| context.sampled);
            assert_eq!(said, sampled, "{why}: {header:?}");
        }
    }
}
