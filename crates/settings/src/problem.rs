//! What is wrong with a file, with the place where its author can fix it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It could not be read as text.
    #[error("{}: cannot be read: {kind}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// It was read, and is wrong; displayed as one line `path:line:column: message` for each problem.
    #[error("{}", lines(path, problems))]
    Wrong {
        path: PathBuf,
        /// Every problem that could be found, in the order of the file; at least one.
        problems: Vec<Problem>,
    },
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The offending text or key, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

fn lines(path: &std::path::Path, problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect::<Vec<_>>().join("\n")
}
