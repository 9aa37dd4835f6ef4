//! How the command line finds a lab and talks to its desk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::Problem;
use settings::atomic;

use crate::cli;
use crate::process::variable_or_file;

/// The default address of a desk.
const DEFAULT_DESK: &str = "http://127.0.0.1:7700/";
/// Longer than any single answer of the desk takes.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// `lab.json`: what `up` started, for other commands and for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LabFile {
    pub(crate) desk: Url,
    /// The URL of the front door.
    pub(crate) front_door: Url,
    /// Where traces are read: Tempo's HTTP API.
    pub(crate) traces: Url,
    /// Where the built-in trace store takes OTLP over gRPC; absent if it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_grpc: Option<Url>,
    /// Where it takes OTLP over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_http: Option<Url>,
    pub(crate) supervisor_pid: u32,
    /// Every process that it started.
    pub(crate) processes: Vec<ProcessEntry>,
    /// Whether the file says something else, since it could not be written.
    #[serde(skip)]
    pub(crate) stale: bool,
}

/// One process of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessEntry {
    pub(crate) service: String,
    /// Where it listens.
    pub(crate) url: Url,
    /// Its process id; absent while it is down.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

/// Tells labs apart that share a trace store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabName(String);

/// A client of the desk.
#[derive(Debug)]
pub(crate) struct DeskClient {
    url: Url,
    token: Option<String>,
    client: reqwest::Client,
}

// === impl LabFile ===

impl LabFile {
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("lab.json")
    }

    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(data_dir);
        match std::fs::read(&path) {
            Ok(text) => {
                Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{} cannot be read", path.display()))?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// Writes it as it is now; what cannot be written is reported once, and is to be tried again.
    pub(crate) fn write(&mut self, data_dir: &Path) {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let written = text.and_then(|text| atomic::replace(&Self::path(data_dir), &text));
        if let (Err(error), false) = (&written, self.stale) {
            anstream::eprintln!("lab.json cannot be written; trying again every second: {error:#}");
        }
        self.stale = written.is_err();
    }

    pub(crate) fn write_if_stale(&mut self, data_dir: &Path) {
        if self.stale {
            self.write(data_dir);
        }
    }
}

// === impl LabName ===

impl LabName {
    pub(crate) const ALLOWED: &str = "1 to 63 ASCII letters, digits, dots, dashes and underscores";

    /// The name in the form of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) fn resource_attribute(&self) -> String {
        format!("deployment.environment.name={}", self.0)
    }
}

impl std::str::FromStr for LabName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=63).contains(&text.len()) && text.bytes().all(plain);
        is_name.then(|| Self(text.to_owned())).ok_or_else(|| format!("must be {}", Self::ALLOWED))
    }
}

// === impl DeskClient ===

impl DeskClient {
    /// The desk of the lab that the options name.
    pub(crate) fn find(lab: &cli::Lab) -> anyhow::Result<Self> {
        let url = match &lab.lab {
            Some(url) => url.clone(),
            None => match LabFile::read(&lab.data_dir)? {
                Some(file) => file.desk,
                // Who names a folder means the lab in it, and no other that runs on the usual port.
                None if lab.data_dir == Path::new(cli::DEFAULT_DATA_DIR) => DEFAULT_DESK.parse()?,
                None => bail!(
                    "no lab runs in {}; start one there with `insurewatch up`, or name its desk with --lab",
                    lab.data_dir.display()
                ),
            },
        };
        Self::at(url)
    }

    pub(crate) fn at(url: Url) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().read_timeout(READ_TIMEOUT).build()?;
        Ok(Self { url, token: desk_token()?, client })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        Ok(self.ask(Method::GET, path, None::<&()>).await?.json().await?)
    }

    /// Like `get`, but that there is nothing to be found is an answer.
    pub(crate) async fn find_one<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Result<T, Problem>> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Err(response.json().await?));
        }
        Ok(Ok(accepted(response).await?.json().await?))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        Ok(self.ask(Method::POST, path, Some(body)).await?.json().await?)
    }

    /// Posts, and passes on each line of the answer as it arrives.
    pub(crate) async fn lines<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        mut each: impl FnMut(T),
    ) -> anyhow::Result<()> {
        let mut response = self.ask(Method::POST, path, Some(body)).await?;
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the desk closed the connection during its answer")? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                each(serde_json::from_slice(&line).context("the desk gave an unexpected answer")?);
            }
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> anyhow::Result<Response> {
        accepted(self.send(method, path, body).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> anyhow::Result<Response> {
        let mut request = self.client.request(method, self.url.join(path)?);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| {
            if error.is_connect() {
                anyhow!("no lab answers at {}; start one with `insurewatch up`", self.url)
            } else {
                anyhow!(error)
            }
        })
    }
}

/// What the desk demands, and its clients show.
pub(crate) fn desk_token() -> anyhow::Result<Option<String>> {
    variable_or_file("INSUREWATCH_DESK_TOKEN", "a token")
}

/// The answer if it is one, else what the desk says against it.
async fn accepted(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match response.json::<Problem>().await {
        Ok(problem) => bail!("{}", problem.detail),
        Err(_) => bail!("the desk answered {status}"),
    }
}
