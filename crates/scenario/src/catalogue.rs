//! All scenarios.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, slice};

use chain::Topology;
use chain::spelling::did_you_mean;
use evidence::Expectation;
use settings::Schema;
use settings::problem::FileError;

use crate::file::{Group, Scenario};

/// Stem and text of every file in `scenarios/` when this was built.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Scenarios in the order of their groups, then of their ids.
#[derive(Clone, Debug)]
pub struct Catalogue {
    scenarios: Vec<Scenario>,
    healthy: Expectation,
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Files are wrong.
    #[error("{}", lines(.0))]
    Files(Vec<FileError>),
    /// The folder could not be listed.
    #[error("{}: cannot be listed", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No file says what a healthy chain looks like, so it is unknown when a scenario is healed.
    #[error("there is no scenario of the group `healthy`")]
    NoHealthy,
}

/// There is no scenario of this id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scenario `{id}`; scenarios are {known}{suggestion}")]
pub struct UnknownScenario {
    id: String,
    suggestion: String,
    known: String,
}

// === impl Catalogue ===

impl Catalogue {
    /// The scenarios that were built in.
    ///
    /// # Errors
    /// [`CatalogueError`] when a file is wrong by this `schema`, or none is of the group `healthy`.
    pub fn embedded(schema: &Schema) -> Result<Self, CatalogueError> {
        Self::collect(EMBEDDED.iter().map(|(id, text)| {
            let path = PathBuf::from(format!("scenarios/{id}.toml"));
            Scenario::parse(id, &path, text, schema)
        }))
    }

    /// The scenarios in a folder, for authors; files that do not end in `.toml` are passed over.
    ///
    /// # Errors
    /// [`CatalogueError`] when the folder cannot be listed, a file is wrong, or none is of the group `healthy`.
    pub fn from_dir(folder: &Path, schema: &Schema) -> Result<Self, CatalogueError> {
        let mut files = list(folder).map_err(|source| CatalogueError::Folder { path: folder.to_owned(), source })?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        Self::collect(files.iter().map(|path| {
            let text = fs::read_to_string(path)
                .map_err(|error| FileError::Unreadable { path: path.clone(), kind: error.kind() })?;
            let id = path.file_stem().unwrap_or_default().to_string_lossy();
            Scenario::parse(&id, path, &text, schema)
        }))
    }

    /// The scenario of this id.
    ///
    /// # Errors
    /// [`UnknownScenario`] names those that there are, and the nearest.
    pub fn get(&self, id: &str) -> Result<&Scenario, UnknownScenario> {
        self.iter().find(|scenario| scenario.id == id).ok_or_else(|| UnknownScenario {
            id: id.to_owned(),
            suggestion: did_you_mean(id, self.iter().map(|scenario| scenario.id.as_str())),
            known: self.iter().map(|scenario| scenario.id.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Every scenario, in the order of groups, then of ids.
    pub fn iter(&self) -> slice::Iter<'_, Scenario> {
        self.scenarios.iter()
    }

    /// What a healthy chain must look like.
    #[must_use]
    pub fn healthy(&self) -> &Expectation {
        &self.healthy
    }

    /// What must be seen once `scenario` is fixed: its own demand, or else that of the healthy chain.
    #[must_use]
    pub fn healed<'a>(&'a self, scenario: &'a Scenario) -> &'a Expectation {
        scenario.healed.as_ref().unwrap_or(&self.healthy)
    }

    fn collect(files: impl Iterator<Item = Result<Scenario, FileError>>) -> Result<Self, CatalogueError> {
        let (mut scenarios, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match file {
                Ok(scenario) => scenarios.push(scenario),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(CatalogueError::Files(errors));
        }
        scenarios.sort_by(|a, b| (a.group, &a.id).cmp(&(b.group, &b.id)));
        // A file adds to what the topology demands of every claim.
        for healed in scenarios.iter_mut().filter_map(|scenario| scenario.healed.as_mut()) {
            *healed = Expectation::healthy(Topology::LAB).and(healed);
        }
        let healthy = scenarios.iter().find(|scenario| scenario.group == Group::Healthy);
        let healthy = healthy.and_then(|scenario| scenario.healed.clone()).ok_or(CatalogueError::NoHealthy)?;
        Ok(Self { scenarios, healthy })
    }
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a Scenario;
    type IntoIter = slice::Iter<'a, Scenario>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn lines(errors: &[FileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
