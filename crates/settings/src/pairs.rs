//! Lists of keys and values in one text.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What [`pairs`] reads, in words for people.
pub const PAIRS: &str = "key=value,key=value with percent-encoded values";

/// Reads `key=value,key=value`, values percent-encoded: the W3C Baggage form, which the [specification] prescribes for
/// resource attributes and headers.
///
/// # Errors
/// The pair that cannot be read, and why.
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), percent_decoded(value.trim())?)),
            _ => Err(format!("`{pair}` is not key=value")),
        })
        .collect()
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return Err(format!("`{text}` has a `%` without two hex digits"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| format!("`{text}` does not decode to UTF-8"))
}
