//! AWS X-Ray's [tracing header](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader).

use crate::context::Context;
use crate::format::{Carrier, Format, Identity, Written, first};
use crate::id::TraceRef;
use crate::piece::{Field, Piece, Role, Says, any_hex, listed, member};
use crate::rejection::{Hex, Rejection};

/// `x-amzn-trace-id: Root=1-{8 digits}-{24 digits};Parent={span-id};Sampled={0|1|?}`
///
/// Without a decision a trace is not sampled: so do the SDKs of Java, Python and Rust.
pub(crate) const IDENTITY: Identity = Identity { family: Format::XRay, undecided: false, read, write, pieces };

const HEADER: &str = "x-amzn-trace-id";

const TRACE_ID: Hex =
    Hex { field: "trace id", fits: |digits| (1..=32).contains(&digits), upper: true, digits: "32 hex digits" };
const SPAN_ID: Hex =
    Hex { field: "span id", fits: |digits| (1..=16).contains(&digits), upper: true, digits: "16 hex digits" };

/// Fields come in any order, and unknown ones (`Self`, `Lineage`) are left alone. As in opentelemetry-aws, the version of
/// the root is not judged, and neither is how many digits its parts have.
fn read(carrier: &dyn Carrier) -> Result<Context, Rejection> {
    let value = first(carrier, HEADER).ok_or(Rejection::Missing(HEADER))?;
    let fields = || value.split(';').filter_map(|field| field.trim().split_once('='));
    let field = |name: &str| fields().rfind(|(key, _)| *key == name).map(|(_, value)| value);
    Ok(Context {
        trace_id: root(field("Root").ok_or(Rejection::Missing("Root"))?)?,
        span_id: SPAN_ID.span_id(field("Parent").ok_or(Rejection::Missing("Parent"))?)?,
        sampled: match field("Sampled") {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        },
        random: false,
        debug: false,
    })
}

fn root(text: &str) -> Result<TraceRef, Rejection> {
    let parts: Vec<_> = text.split('-').collect();
    let [_version, seconds, unique] = *parts.as_slice() else { return Err(Rejection::FieldCount(parts.len())) };
    TRACE_ID.trace_id(&format!("{seconds}{unique}"))
}

fn pieces<'a>(_: &str, value: &'a str) -> Vec<Piece<'a>> {
    const KEY: Field = Field { role: Role::Key, may_hold: |_| true, read: |_| Ok(Says::Other) };
    listed(value, ';', |text, pieces| {
        let value = match text.split('=').next() {
            Some("Root") => Field {
                role: Role::TraceId,
                may_hold: |character| any_hex(character) || character == '-',
                read: |text| root(text).map(Says::Trace),
            },
            Some("Parent") => Field { role: Role::SpanId, may_hold: any_hex, read: |text| SPAN_ID.says_span(text) },
            Some("Sampled") => Field { role: Role::Decision, ..KEY },
            _ => Field { role: Role::Value, ..KEY },
        };
        member(text, [KEY, value], Ok(Says::Other), pieces);
    })
}

fn write(context: &Context) -> Written {
    let trace_id = context.trace_id.padded().to_string();
    let Some((seconds, unique)) = trace_id.split_at_checked(8) else { return Written::new() };
    let sampled = match context.sampled {
        Some(true) => "1",
        Some(false) => "0",
        None => "?",
    };
    vec![(HEADER, format!("Root=1-{seconds}-{unique};Parent={};Sampled={sampled}", context.span_id))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::TraceHeaders;

    #[test]
    fn reads_what_aws_sends() {
        const ROOT: &str = "Root=1-0af76519-16cd43dd8448eb211c80319c";
        const PARENT: &str = "Parent=b7ad6b7169203331";
        let zero = Rejection::Zero("trace id");
        let table = [
            (format!("{ROOT};{PARENT};Sampled=1"), Ok(Some(true)), "an SDK"),
            (format!("{ROOT};{PARENT};Sampled=0"), Ok(Some(false)), "not sampled"),
            (format!("{ROOT};{PARENT};Sampled=?"), Ok(None), "the decision is left to us"),
            (format!("{ROOT};{PARENT}"), Ok(None), "no decision"),
            (format!("Sampled=1; {PARENT}; {ROOT}; Lineage=a:1"), Ok(Some(true)), "any order, and more"),
            (
                format!("Self=1-67891234-12456789abcdef012345678;{ROOT}"),
                Err(Rejection::Missing("Parent")),
                "a balancer",
            ),
            (format!("{PARENT};Sampled=1"), Err(Rejection::Missing("Root")), "no root"),
            (format!("Root=0af7651916cd43dd8448eb211c80319c;{PARENT}"), Err(Rejection::FieldCount(1)), "W3C's id"),
            (format!("Root=1-00000000-000000000000000000000000;{PARENT}"), Err(zero), "zeros"),
        ];
        for (header, expected, why) in table {
            let carrier: TraceHeaders = [(HEADER.to_owned(), vec![header.clone()])].into_iter().collect();
            let said = Format::XRay.read(&carrier).map(|said| said.map(|context| context.sampled));
            assert_eq!(said, Some(expected), "{why}: {header}");
        }
    }
}
