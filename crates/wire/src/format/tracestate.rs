//! `tracestate` of W3C Trace Context, [level 2](https://www.w3.org/TR/trace-context-2/), strictly.
//!
//! Section numbers in this file are that document's.

use crate::format::Carrier;
use crate::piece::{Field, Piece, Role, Says, listed, member};

/// The header that carries the state of vendors.
pub const TRACESTATE: &str = "tracestate";

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

/// The `tracestate` of `carrier` as one list; empty if it has none.
///
/// # Errors
/// The rule of § 3.3 that it breaks.
pub fn read(carrier: &dyn Carrier) -> Result<String, StateRejection> {
    // § 3.3.2: several lines are one list, joined in order.
    let joined = carrier.lines(TRACESTATE).join(",");
    let members: Vec<&str> =
        joined.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()).collect();
    if members.len() > 32 {
        return Err(StateRejection::TooManyMembers);
    }
    // A key that came twice is passed on as it came: its uniqueness is the duty of the one who adds it (§ 3.5).
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

pub(crate) fn pieces(value: &str) -> Vec<Piece<'_>> {
    const KEY: Field = Field {
        role: Role::Key,
        may_hold: |it| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-*/@".contains(it),
        read: |text| if is_state_key(text) { Ok(Says::Other) } else { Err(StateRejection::Key.into()) },
    };
    const VALUE: Field = Field {
        role: Role::Value,
        may_hold: |it| (' '..='~').contains(&it) && !",=".contains(it),
        read: |text| if is_state_value(text) { Ok(Says::Other) } else { Err(StateRejection::Value.into()) },
    };
    listed(value, ',', |text, pieces| member(text, [KEY, VALUE], Err(StateRejection::Member.into()), pieces))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::headers::TraceHeaders;

    fn carrier(state: &str) -> TraceHeaders {
        [(TRACESTATE.to_owned(), vec![state.to_owned()])].into_iter().collect()
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
            assert_eq!(read(&carrier(header)), Err(*reason), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(state in ".*") {
            let _ = read(&carrier(&state));
        }
    }
}
