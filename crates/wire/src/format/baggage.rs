//! W3C [Baggage](https://www.w3.org/TR/baggage/), as it is recorded on spans. A service reads its own with its SDK, whose
//! limits are part of a lesson.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::piece::{Field, Piece, Role, Says, listed, member};

/// The header of baggage.
pub const BAGGAGE: &str = "baggage";

/// One member of a `baggage` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaggageMember {
    /// Its value, percent-decoded.
    pub value: String,
    /// The size of the value on the wire, so still percent-encoded, in bytes: what limits count.
    pub bytes: usize,
}

/// The members by key (<https://www.w3.org/TR/baggage/#header-content>). Properties after `;` are left out, bytes that
/// are no UTF-8 are replaced, and of two members with one key the last counts.
pub(crate) fn members<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, BaggageMember> {
    lines
        .flat_map(|line| line.split(','))
        .filter_map(|member| {
            let (key, value) = member.split(';').next()?.split_once('=')?;
            let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
            let value =
                BaggageMember { value: String::from_utf8_lossy(&decoded).into_owned(), bytes: value.trim().len() };
            Some((key.trim().to_owned(), value)).filter(|(key, _)| !key.is_empty())
        })
        .collect()
}

/// Nothing is judged: what a receiver makes of it is up to its SDK.
pub(crate) fn pieces(value: &str) -> Vec<Piece<'_>> {
    const KEY: Field = Field { role: Role::Key, may_hold: |_| true, read: |_| Ok(Says::Other) };
    const VALUE: Field = Field { role: Role::Value, ..KEY };
    listed(value, ',', |text, pieces| {
        let mut parts = text.split_inclusive(';');
        let first = parts.next().unwrap_or_default();
        member(first.trim_end_matches(';'), [KEY, VALUE], Ok(Says::Other), pieces);
        let mut between = first.get(first.trim_end_matches(';').len()..).unwrap_or_default();
        for part in parts {
            let property = part.trim_end_matches(';');
            pieces.push(Piece::new(Role::Separator, between));
            pieces.push(Piece::new(Role::Property, property));
            between = part.get(property.len()..).unwrap_or_default();
        }
        if !between.is_empty() {
            pieces.push(Piece::new(Role::Separator, between));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baggage_is_decoded_and_measured_as_it_is_on_the_wire() {
        let baggage = members(["tenant.id=acme%20corp;p=1, empty= ,=x,bad%zz=%4,é=%C3%A9"].into_iter());
        let members: Vec<_> = baggage.iter().map(|(key, it)| (key.as_str(), it.value.as_str(), it.bytes)).collect();
        let expected = [("bad%zz", "%4", 2), ("empty", "", 0), ("tenant.id", "acme corp", 11), ("é", "é", 6)];
        assert_eq!(members, expected, "properties go, escapes are decoded, a member without a key is none");
    }
}
