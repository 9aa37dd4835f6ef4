//! What travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What travels through a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The publisher's own id, by which repeated publications are recognised: one line, not empty.
    pub id: String,
    /// The payload.
    pub body: String,
    /// Named values beside the payload: the carrier of trace context.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute, in the form of SQS: `{"DataType": "String", "StringValue": "…"}`.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// Always `String`, the only type that every adapter carries.
    pub data_type: String,
    /// One line of text.
    pub string_value: String,
}

/// Why a message was refused: one of the adapters could not carry it unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// NATS carries the id as a header.
    #[error("the message id `{}` must be one line of text, not empty and without white space around it", .0.escape_debug())]
    Id(String),
    /// The names are those of SQS; `Nats-` is reserved for NATS itself.
    #[error(
        "the attribute name `{}` must be 1 to 256 letters, digits, `_`, `-` and `.`, and not begin with `Nats-`",
        .0.escape_debug()
    )]
    AttributeName(String),
    /// NATS has no types.
    #[error("the attribute `{name}` is of the type `{}`; only `String` is carried", data_type.escape_debug())]
    DataType {
        /// The attribute.
        name: String,
        /// Its type.
        data_type: String,
    },
    /// NATS carries the value as a header.
    #[error("the value of the attribute `{0}` must be one line of text without white space around it")]
    AttributeValue(String),
}

// === impl Attribute ===

impl Attribute {
    /// An attribute of the type `String`.
    pub fn string(value: impl Into<String>) -> Self {
        Self { data_type: "String".to_owned(), string_value: value.into() }
    }
}

// === impl Message ===

impl Message {
    pub(crate) fn check(&self) -> Result<(), InvalidMessage> {
        if self.id.is_empty() || !is_header_value(&self.id) {
            return Err(InvalidMessage::Id(self.id.clone()));
        }
        for (name, Attribute { data_type, string_value }) in &self.attributes {
            if !is_attribute_name(name) {
                return Err(InvalidMessage::AttributeName(name.clone()));
            }
            if data_type != "String" {
                return Err(InvalidMessage::DataType { name: name.clone(), data_type: data_type.clone() });
            }
            if !is_header_value(string_value) {
                return Err(InvalidMessage::AttributeValue(name.clone()));
            }
        }
        Ok(())
    }
}

/// What adapters that write attributes as headers keep for themselves.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"))
}

fn is_attribute_name(name: &str) -> bool {
    let name_char = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    (1..=256).contains(&name.len()) && name.chars().all(name_char) && !is_reserved(name)
}

fn is_header_value(value: &str) -> bool {
    value.trim() == value && !value.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_adapter_carries_is_published() {
        let attribute = |name: &str, data_type: &str, value: &str| Message {
            id: "1".to_owned(),
            body: String::new(),
            attributes: BTreeMap::from([(
                name.to_owned(),
                Attribute { data_type: data_type.to_owned(), string_value: value.to_owned() },
            )]),
        };
        let id = |id: &str| Message { id: id.to_owned(), ..Message::default() };
        let bad_name = |name: &str| Err(InvalidMessage::AttributeName(name.to_owned()));
        let bad_value = Err(InvalidMessage::AttributeValue("a".to_owned()));
        for (message, expected, why) in [
            (id("CLM 1/é"), Ok(()), "an id is any line of text"),
            (id(""), Err(InvalidMessage::Id(String::new())), "an empty id names nothing"),
            (id("a\nb"), Err(InvalidMessage::Id("a\nb".to_owned())), "a second line would be another header"),
            (id(" a"), Err(InvalidMessage::Id(" a".to_owned())), "headers lose the white space around them"),
            (attribute("x-b3-traceid", "String", "ü 1"), Ok(()), "headers are UTF-8"),
            (attribute("a", "String", ""), Ok(()), "an empty tracestate is no reason to lose a claim"),
            (attribute("", "String", "1"), bad_name(""), "a header has a name"),
            (attribute("a b", "String", "1"), bad_name("a b"), "a header name has no space"),
            (attribute("a:b", "String", "1"), bad_name("a:b"), "the colon ends a header name"),
            (attribute("ä", "String", "1"), bad_name("ä"), "a header name is ASCII"),
            (attribute("nats-msg-id", "String", "1"), bad_name("nats-msg-id"), "NATS would act on it"),
            (attribute("a", "String", "1\r\nb: 2"), bad_value.clone(), "it would smuggle in a header"),
            (attribute("a", "String", "1 "), bad_value, "headers lose the white space around them"),
            (
                attribute("a", "Number", "1"),
                Err(InvalidMessage::DataType { name: "a".to_owned(), data_type: "Number".to_owned() }),
                "the type would not arrive",
            ),
        ] {
            assert_eq!(message.check(), expected, "{why}");
        }
    }

    #[test]
    fn an_attribute_is_written_as_sqs_does() {
        let json = r#"{"DataType":"String","StringValue":"00-ab-cd-01"}"#;
        let attribute = Attribute::string("00-ab-cd-01");
        assert_eq!(serde_json::to_string(&attribute).unwrap(), json);
        assert_eq!(serde_json::from_str::<Attribute>(json).unwrap(), attribute);
    }
}
