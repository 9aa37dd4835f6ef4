//! The part of TraceQL that the lab uses: one spanset of equalities.
//!
//! <https://grafana.com/docs/tempo/latest/traceql/>

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use std::borrow::Cow;

use crate::index::{Scalar, Term};

/// How many conditions a query may have: each is compared with each span that the others leave.
pub(crate) const MAX_CONDITIONS: usize = 32;

/// `{ condition && condition … }`; a span matches when all conditions hold of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    conditions: Vec<Condition>,
}

/// A query that is not understood, or that asks for too much. Positions are in characters, from 1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum QueryError {
    #[error(
        "invalid TraceQL query: expected {expected} at character {position}. Supported is one spanset of conditions \
         joined by &&: {{ span.a = \"x\" && resource.b != 1 && .c = true && name = \"n\" && kind = server && \
         status = error && nestedSetParent < 0 }}"
    )]
    Syntax { expected: &'static str, position: usize },
    #[error("invalid TraceQL query: too many conditions at character {position}: at most {MAX_CONDITIONS} are allowed")]
    TooManyConditions { position: usize },
}

#[derive(Debug, PartialEq)]
enum Condition {
    Compare { field: Field, operator: Operator, value: Literal },
    IsRoot,
}

#[derive(Debug, PartialEq)]
enum Field {
    SpanAttribute(String),
    ResourceAttribute(String),
    /// The span's, or else the resource's.
    AnyAttribute(String),
    Name,
    Kind,
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
}

#[derive(Debug, PartialEq)]
enum Literal {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

struct Parser<'q> {
    query: &'q str,
    rest: &'q str,
}

// === impl Query ===

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, QueryError> {
        Parser { query, rest: query }.query()
    }

    pub(crate) fn matches(&self, resource: &ResourceSpans, span: &Span) -> bool {
        self.conditions.iter().all(|condition| condition.holds(resource, span))
    }

    /// What a trace must hold if a span of it matches: the conditions that the index knows.
    pub(crate) fn terms(&self) -> impl Iterator<Item = Term<'_>> {
        self.conditions.iter().filter_map(|condition| match condition {
            Condition::Compare { field, operator: Operator::Equal, value } => {
                Some(Term { key: field.indexed_key()?, value: value.scalar() })
            }
            _ => None,
        })
    }

    /// What the query asked about, as the span has it; Tempo lists it with each span that matched.
    pub(crate) fn asked_attributes<'a>(
        &'a self,
        resource: &'a ResourceSpans,
        span: &'a Span,
    ) -> Vec<(&'a str, Cow<'a, any_value::Value>)> {
        let mut asked = Vec::<(&str, Cow<'_, any_value::Value>)>::new();
        for condition in &self.conditions {
            let attribute = match condition {
                Condition::IsRoot => Some(("nestedSetParent", Cow::Owned(any_value::Value::IntValue(-1)))),
                Condition::Compare { field: Field::Name, .. } => None,
                Condition::Compare { field, .. } => field.of(resource, span).map(|value| (field.key(), value)),
            };
            asked.extend(attribute.filter(|(key, _)| asked.iter().all(|(known, _)| known != key)));
        }
        asked
    }

    /// Whether the query asks for span names.
    pub(crate) fn asks_name(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition, Condition::Compare { field: Field::Name, .. }))
    }
}

// === impl Condition ===

impl Condition {
    /// As in Tempo, what is absent and what is of another type neither equals nor differs.
    fn holds(&self, resource: &ResourceSpans, span: &Span) -> bool {
        match self {
            Self::IsRoot => is_root(span),
            Self::Compare { field, operator, value } => {
                field.of(resource, span).is_some_and(|actual| operator.holds(&actual, value))
            }
        }
    }
}

/// A root names no parent; a parent of zeros is none.
pub(crate) fn is_root(span: &Span) -> bool {
    span.parent_span_id.iter().all(|byte| *byte == 0)
}

// === impl Field ===

impl Field {
    fn key(&self) -> &str {
        match self {
            Self::SpanAttribute(key) | Self::ResourceAttribute(key) | Self::AnyAttribute(key) => key,
            Self::Name => "name",
            Self::Kind => "kind",
            Self::Status => "status",
        }
    }

    /// The key of [`Term`]; the attribute's scope is not part of it.
    fn indexed_key(&self) -> Option<Option<&str>> {
        match self {
            Self::SpanAttribute(key) | Self::ResourceAttribute(key) | Self::AnyAttribute(key) => Some(Some(key)),
            Self::Name => Some(None),
            Self::Kind | Self::Status => None,
        }
    }

    fn of<'a>(&self, resource: &'a ResourceSpans, span: &'a Span) -> Option<Cow<'a, any_value::Value>> {
        let of_span = |key: &str| attribute(&span.attributes, key).map(Cow::Borrowed);
        let of_resource = |key: &str| resource_attribute(resource, key).map(Cow::Borrowed);
        let text = |text: &str| Some(Cow::Owned(any_value::Value::StringValue(text.to_owned())));
        match self {
            Self::SpanAttribute(key) => of_span(key),
            Self::ResourceAttribute(key) => of_resource(key),
            Self::AnyAttribute(key) => of_span(key).or_else(|| of_resource(key)),
            Self::Name => text(&span.name),
            Self::Kind => text(kind_word(span.kind())),
            Self::Status => text(status_word(span)),
        }
    }
}

pub(crate) fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a any_value::Value> {
    attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()
}

pub(crate) fn resource_attribute<'a>(resource: &'a ResourceSpans, key: &str) -> Option<&'a any_value::Value> {
    attribute(&resource.resource.as_ref()?.attributes, key)
}

const fn kind_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

pub(crate) fn status_word(span: &Span) -> &'static str {
    match span.status.as_ref().map(|status| status.code()) {
        None | Some(StatusCode::Unset) => "unset",
        Some(StatusCode::Ok) => "ok",
        Some(StatusCode::Error) => "error",
    }
}

/// All that attributes can be asked for by `=`, in the sense of [`Operator::holds`].
pub(crate) fn for_each_term<'a>(attributes: &'a [KeyValue], mut note: impl FnMut(Term<'a>)) {
    for pair in attributes {
        if let Some(value) = pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            for_each_scalar(value, &mut |value| note(Term { key: Some(&pair.key), value }));
        }
    }
}

fn for_each_scalar<'a>(value: &'a any_value::Value, note: &mut dyn FnMut(Scalar<'a>)) {
    match value {
        any_value::Value::StringValue(text) => note(Scalar::Text(text)),
        any_value::Value::BoolValue(flag) => note(Scalar::Bool(*flag)),
        any_value::Value::IntValue(number) => note(Scalar::number(*number as f64)),
        any_value::Value::DoubleValue(number) => note(Scalar::number(*number)),
        any_value::Value::ArrayValue(array) => {
            array
                .values
                .iter()
                .filter_map(|element| element.value.as_ref())
                .for_each(|value| for_each_scalar(value, note));
        }
        any_value::Value::KvlistValue(_)
        | any_value::Value::BytesValue(_)
        | any_value::Value::StringValueStrindex(_) => {}
    }
}

// === impl Operator ===

impl Operator {
    fn holds(self, actual: &any_value::Value, expected: &Literal) -> bool {
        let element_holds =
            |element: &AnyValue| element.value.as_ref().is_some_and(|value| self.holds(value, expected));
        match (self, actual) {
            (Self::Equal, any_value::Value::ArrayValue(array)) => array.values.iter().any(element_holds),
            (Self::NotEqual, any_value::Value::ArrayValue(array)) => array.values.iter().all(element_holds),
            _ => equal(actual, expected).is_some_and(|equal| equal == (self == Self::Equal)),
        }
    }
}

/// `None` when the types cannot be compared.
fn equal(actual: &any_value::Value, expected: &Literal) -> Option<bool> {
    match (actual, expected) {
        (any_value::Value::StringValue(actual), Literal::Text(expected)) => Some(actual == expected),
        (any_value::Value::BoolValue(actual), Literal::Bool(expected)) => Some(actual == expected),
        (any_value::Value::IntValue(actual), Literal::Int(expected)) => Some(actual == expected),
        (any_value::Value::IntValue(actual), Literal::Float(expected)) => Some(*actual as f64 == *expected),
        (any_value::Value::DoubleValue(actual), Literal::Int(expected)) => Some(*actual == *expected as f64),
        (any_value::Value::DoubleValue(actual), Literal::Float(expected)) => Some(actual == expected),
        _ => None,
    }
}

// === impl Literal ===

impl Literal {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Text(text) => Scalar::Text(text),
            Self::Int(number) => Scalar::number(*number as f64),
            Self::Float(number) => Scalar::number(*number),
            Self::Bool(flag) => Scalar::Bool(*flag),
        }
    }
}

// === impl Parser ===

impl<'q> Parser<'q> {
    fn query(mut self) -> Result<Query, QueryError> {
        let mut conditions = Vec::new();
        self.require("{", "`{`")?;
        if !self.take("}") {
            conditions.push(self.condition()?);
            while self.take("&&") {
                if conditions.len() == MAX_CONDITIONS {
                    return Err(QueryError::TooManyConditions { position: self.position() });
                }
                conditions.push(self.condition()?);
            }
            self.require("}", "`&&` or `}`")?;
        }
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() { Ok(Query { conditions }) } else { Err(self.error("the end of the query")) }
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        let field = if self.take("span.") {
            Field::SpanAttribute(self.attribute_name()?)
        } else if self.take("resource.") {
            Field::ResourceAttribute(self.attribute_name()?)
        } else if self.take(".") {
            Field::AnyAttribute(self.attribute_name()?)
        } else {
            let before = self.rest;
            match self.word() {
                "name" => Field::Name,
                "kind" => Field::Kind,
                "status" => Field::Status,
                "nestedSetParent" => return self.below_zero(),
                _ => {
                    self.rest = before;
                    return Err(self.error("span., resource., `.`, name, kind, status or nestedSetParent"));
                }
            }
        };
        let operator = if self.take("!=") {
            Operator::NotEqual
        } else {
            self.require("=", "`=` or `!=`")?;
            Operator::Equal
        };
        let value = match field {
            Field::Kind => self.keyword(
                &["unspecified", "internal", "server", "client", "producer", "consumer"],
                "unspecified, internal, server, client, producer or consumer",
            )?,
            Field::Status => self.keyword(&["unset", "ok", "error"], "unset, ok or error")?,
            Field::Name => Literal::Text(self.text("a quoted text")?),
            _ => self.literal()?,
        };
        Ok(Condition::Compare { field, operator, value })
    }

    /// Tempo numbers the spans of a trace; a root's parent has the number -1, of a missing parent it is 0.
    fn below_zero(&mut self) -> Result<Condition, QueryError> {
        self.require("<", "`< 0`")?;
        match self.literal() {
            Ok(Literal::Int(0)) => Ok(Condition::IsRoot),
            _ => Err(self.error("`< 0`")),
        }
    }

    /// Up to what ends an attribute in TraceQL; parts of it may be quoted.
    fn attribute_name(&mut self) -> Result<String, QueryError> {
        let mut name = String::new();
        loop {
            if self.rest.starts_with('"') {
                name.push_str(&self.text("an attribute name")?);
            }
            let part =
                self.take_while(|character| !character.is_whitespace() && !"{}()=~!<>&|^,\"".contains(character));
            name.push_str(part);
            if !self.rest.starts_with('"') {
                break;
            }
        }
        if name.is_empty() { Err(self.error("an attribute name")) } else { Ok(name) }
    }

    fn literal(&mut self) -> Result<Literal, QueryError> {
        const EXPECTED: &str = "a quoted text, a number, true or false";
        self.rest = self.rest.trim_start();
        let before = self.rest;
        if before.starts_with(['"', '`']) {
            return self.text(EXPECTED).map(Literal::Text);
        }
        let token = self.take_while(|character| character.is_ascii_alphanumeric() || "+-._".contains(character));
        let literal = match token {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            // Rust would also read `inf` and `nan`.
            _ if token.contains(|character: char| character.is_ascii_digit()) => {
                token.parse().map(Literal::Int).or_else(|_| token.parse().map(Literal::Float)).ok()
            }
            _ => None,
        };
        literal.ok_or_else(|| {
            self.rest = before;
            self.error(EXPECTED)
        })
    }

    fn keyword(&mut self, words: &[&str], expected: &'static str) -> Result<Literal, QueryError> {
        self.rest = self.rest.trim_start();
        let before = self.rest;
        let word = self.word();
        if words.contains(&word) {
            return Ok(Literal::Text(word.to_owned()));
        }
        self.rest = before;
        Err(self.error(expected))
    }

    /// A text in double quotes with escapes, or in backticks without.
    fn text(&mut self, expected: &'static str) -> Result<String, QueryError> {
        self.rest = self.rest.trim_start();
        if self.take("`") {
            let text = self.take_while(|character| character != '`').to_owned();
            self.require("`", "a closing backtick")?;
            return Ok(text);
        }
        self.require("\"", expected)?;
        let mut text = String::new();
        loop {
            let mut characters = self.rest.chars();
            match characters.next() {
                None => return Err(self.error("a closing quote")),
                Some('"') => {
                    self.rest = characters.as_str();
                    return Ok(text);
                }
                Some('\\') => text.push(match characters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(quoted @ ('"' | '\\')) => quoted,
                    _ => return Err(self.error("one of \\n, \\t, \\r, \\\" and \\\\")),
                }),
                Some(character) => text.push(character),
            }
            self.rest = characters.as_str();
        }
    }

    fn word(&mut self) -> &'q str {
        self.take_while(|character| character.is_ascii_alphanumeric() || character == '_')
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'q str {
        let end = self.rest.find(|character| !accept(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    fn require(&mut self, token: &str, expected: &'static str) -> Result<(), QueryError> {
        if self.take(token) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn error(&self, expected: &'static str) -> QueryError {
        QueryError::Syntax { expected, position: self.position() }
    }

    fn position(&self) -> usize {
        1 + self.query.chars().count() - self.rest.chars().count()
    }
}
