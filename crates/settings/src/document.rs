//! A TOML text that is being read: it gathers every problem with its place, instead of stopping at the first.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, ValueDeserializer};

use crate::problem::{FileError, Problem};
use crate::schema::{Schema, SettingError};
use crate::values::Settings;
use chain::Service;
use chain::spelling::did_you_mean;

/// More than these do not help, and each costs a pass over the text.
const SYNTAX_PROBLEMS_LIMIT: usize = 20;

/// A value of the text, with its place.
pub type Value<'t> = Spanned<DeValue<'t>>;

/// The text, and the problems found so far. A reader asks for values and [`report`](Self::report)s what is wrong
/// with them; [`finish`](Self::finish) ends it.
#[derive(Debug)]
pub struct Document<'t> {
    path: &'t Path,
    text: &'t str,
    problems: Vec<Problem>,
}

// === impl Document ===

impl<'t> Document<'t> {
    /// The document and its root table. Syntax errors end the reading here: what follows from them is only noise.
    ///
    /// # Errors
    /// [`FileError::Wrong`] with every syntax error.
    pub fn parse(path: &'t Path, text: &'t str) -> Result<(Self, Value<'t>), FileError> {
        let mut document = Self { path, text, problems: Vec::new() };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors.iter().take(SYNTAX_PROBLEMS_LIMIT) {
            let span = error.span().unwrap_or_default();
            let message = format!("{} in `{}`", error.message(), document.line_at(span.start));
            document.report(span, message);
        }
        let span = root.span();
        let root = Spanned::new(span, DeValue::Table(root.into_inner()));
        if document.problems.is_empty() { Ok((document, root)) } else { Err(document.refused()) }
    }

    /// What was read, unless there was a problem. A reader that has `None` has reported why.
    ///
    /// # Errors
    /// [`FileError::Wrong`] with every problem, in the order of the text.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, FileError> {
        read.filter(|_| self.problems.is_empty()).ok_or_else(|| self.refused())
    }

    /// How many problems were found so far.
    pub fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// Notes a problem at a range of bytes.
    pub fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let problem = Problem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reads a value; what is wrong with it is reported.
    pub fn read<T: DeserializeOwned>(&mut self, value: Value<'_>) -> Option<T> {
        let span = value.span();
        T::deserialize(ValueDeserializer::from(value))
            .map_err(|error| self.report(error.span().unwrap_or(span), friendly(&error)))
            .ok()
    }

    /// Reads a table whose keys may all be absent: first each key and each array element alone, so that one problem
    /// does not hide the next, then the whole.
    pub fn read_in_pieces<T: DeserializeOwned>(&mut self, value: &Value<'_>) -> Option<T> {
        let known_problems = self.problems.len();
        for (key, inner) in value.get_ref().as_table().into_iter().flatten() {
            for piece in pieces(inner) {
                let mut table = DeTable::new();
                table.insert(key.clone(), piece);
                self.read::<T>(Spanned::new(value.span(), DeValue::Table(table)));
            }
        }
        if self.problems.len() > known_problems { None } else { self.read(value.clone()) }
    }

    /// Reads a table of settings; what is refused is reported and left out.
    pub fn read_settings(&mut self, value: &Value<'_>, schema: &Schema) -> Settings {
        let mut settings = Settings::default();
        for (name, table) in self.entries(value, "settings") {
            let service = match name.get_ref().parse::<Service>() {
                Ok(service) => service,
                Err(unknown) => {
                    self.report(name.span(), unknown.to_string());
                    continue;
                }
            };
            for (key, value) in self.entries(table, service.name()) {
                let Some(text) = value.get_ref().as_str() else {
                    let found = value.get_ref().type_str();
                    self.report(value.span(), format!("`{}` must be a string in quotes, found {found}", key.get_ref()));
                    continue;
                };
                match schema.check(service.name(), key.get_ref(), text) {
                    Ok(()) => settings.set(service, key.get_ref().as_ref(), text),
                    Err(refusal @ SettingError::Value { .. }) => self.report(value.span(), refusal.to_string()),
                    Err(refusal) => self.report(key.span(), refusal.to_string()),
                }
            }
        }
        settings
    }

    fn entries<'v, 'i>(
        &mut self,
        value: &'v Value<'i>,
        name: &str,
    ) -> impl Iterator<Item = (&'v Spanned<DeString<'i>>, &'v Value<'i>)> + use<'v, 'i> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.report(value.span(), format!("`{name}` must be a table, found {}", value.get_ref().type_str()));
        }
        table.into_iter().flatten()
    }

    fn refused(mut self) -> FileError {
        self.problems.sort();
        FileError::Wrong { path: self.path.to_owned(), problems: self.problems }
    }

    fn line_at(&self, offset: usize) -> &'t str {
        let start = self.text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim()
    }
}

fn pieces<'i>(value: &Value<'i>) -> Vec<Value<'i>> {
    let DeValue::Array(items) = value.get_ref() else { return vec![value.clone()] };
    let alone = |item: &Value<'i>| {
        let mut array = DeArray::new();
        array.push(item.clone());
        Spanned::new(item.span(), DeValue::Array(array))
    };
    items.iter().map(alone).collect()
}

/// Serde's words in ours: the key path in front, "key" and "value" for "field" and "variant", and a suggestion.
fn friendly(error: &toml::de::Error) -> String {
    let message = error.message();
    let shown = error.to_string();
    let keys = shown.trim_end().strip_prefix(message).and_then(|rest| rest.strip_prefix("\nin "));
    let message = message.replacen("missing field", "missing key", 1);
    let message = unknown(&message, "unknown field `", "unknown key")
        .or_else(|| unknown(&message, "unknown variant `", "unknown value"))
        .unwrap_or(message);
    keys.map_or_else(|| message.clone(), |keys| format!("{keys}: {message}"))
}

fn unknown(message: &str, prefix: &str, what: &str) -> Option<String> {
    let (word, expected) = message.strip_prefix(prefix)?.rsplit_once("`, expected ")?;
    let allowed: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    let suggestion = did_you_mean(word, allowed.iter().copied());
    Some(format!("{what} `{word}`; allowed: {}{suggestion}", allowed.join(", ")))
}
