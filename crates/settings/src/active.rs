//! The one file of active settings, which every service watches.
//!
//! ```toml
//! generation = 7
//! scenario = "lab-1-b3-vs-w3c"
//!
//! [settings.python-api]
//! OTEL_PROPAGATORS = "b3"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::sync::watch::{self, Receiver};

use crate::atomic;
use crate::changes::Changes;
use crate::document::Document;
use crate::problem::FileError;
use crate::schema::Schema;
use crate::values::Settings;
use chain::Service;

/// The active settings. The default, generation 0 with no settings, is what an absent file means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Active {
    /// Grows with every change, so that it shows which services have applied it.
    pub generation: u64,
    /// Which scenario was chosen; services ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// What is set on top of each service's process environment.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
}

/// What a watch has seen last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last good settings.
    pub active: Arc<Active>,
    /// Why the current file was refused, if it was.
    pub problem: Option<Arc<FileError>>,
}

/// The settings as they change. The watch ends when its last receiver is gone.
pub type Watch = Receiver<Seen>;

/// The active settings could not be written; the file is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    generation: u64,
    scenario: Option<String>,
    #[serde(rename = "settings")]
    _settings: IgnoredAny,
}

/// The text of the file, or why there is none.
type Content = Result<String, ErrorKind>;

// === impl Active ===

impl Active {
    /// Reads the text of such a file; `path` is for messages only.
    ///
    /// # Errors
    /// [`FileError::Wrong`] with every problem that could be found.
    pub fn parse(path: &Path, text: &str, schema: &Schema) -> Result<Self, FileError> {
        let (mut document, root) = Document::parse(path, text)?;
        if root.get_ref().get("generation").is_none() {
            document.report(0..0, "missing key `generation`");
        }
        let settings = root.get_ref().get("settings").map(|value| document.read_settings(value, schema));
        let settings = settings.unwrap_or_default();
        let written = document.read_in_pieces::<Written>(&root);
        document.finish(written.map(|Written { generation, scenario, .. }| Self { generation, scenario, settings }))
    }

    /// Reads the file. An absent one is no error: it means generation 0 and no settings.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be read or is wrong.
    pub fn load(path: &Path, schema: &Schema) -> Result<Self, FileError> {
        match read(path) {
            Err(ErrorKind::NotFound) => Ok(Self::default()),
            content => Self::from_content(path, content, schema),
        }
    }

    /// The generation that a file gives itself, however wrong the rest of it may be; `None` if it gives none.
    #[must_use]
    pub fn generation_in(path: &Path) -> Option<u64> {
        let text = read(path).ok()?;
        let top = text.lines().take_while(|line| !line.trim_start().starts_with('['));
        let mut assignments = top.filter_map(|line| line.split_once('='));
        let (_, generation) = assignments.find(|(key, _)| key.trim() == "generation")?;
        generation.split('#').next()?.trim().parse().ok()
    }

    /// Replaces the file as [`atomic::replace`] does.
    ///
    /// # Errors
    /// [`WriteError`] when the folder is missing, full or read-only, for example.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let write = || {
            let text = toml::to_string(self).map_err(io::Error::other)?;
            atomic::replace(path, text.as_bytes())
        };
        write().map_err(|source| WriteError { path: path.to_owned(), source })
    }

    /// What is set for one service, on top of its process environment.
    #[must_use]
    pub fn for_service(&self, service: Service) -> &BTreeMap<String, String> {
        self.settings.of(service)
    }

    fn from_content(path: &Path, content: Content, schema: &Schema) -> Result<Self, FileError> {
        match content {
            Ok(text) => Self::parse(path, &text, schema),
            Err(kind) => Err(FileError::Unreadable { path: path.to_owned(), kind }),
        }
    }
}

/// Watches the file by its content. It reads the file once before it returns; then a task reads it again when it may have
/// changed, at least every second. A file that turns bad or vanishes leaves the last good settings.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn watch(path: PathBuf, schema: Arc<Schema>) -> Watch {
    // Before the first look, so that no change falls between the two.
    let mut changes = Changes::of(&path);
    let mut last = read(&path);
    let first = match &last {
        Err(ErrorKind::NotFound) => Seen::default(),
        content => Seen::default().next(&path, content.clone(), &schema),
    };
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = changes.wait() => {}
            }
            let content = tokio::fs::read_to_string(&path).await.map_err(|error| error.kind());
            if content != last {
                last.clone_from(&content);
                sender.send_modify(|seen| *seen = seen.next(&path, content, &schema));
            }
        }
    });
    receiver
}

// === impl Seen ===

impl Seen {
    fn next(&self, path: &Path, content: Content, schema: &Schema) -> Self {
        match Active::from_content(path, content, schema) {
            Ok(active) => Self { active: Arc::new(active), problem: None },
            Err(problem) => Self { active: Arc::clone(&self.active), problem: Some(Arc::new(problem)) },
        }
    }
}

fn read(path: &Path) -> Content {
    fs::read_to_string(path).map_err(|error| error.kind())
}
