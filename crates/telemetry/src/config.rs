//! What the environment says, checked: the [standard variables], and two of our own.
//!
//! [standard variables]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::trace::TraceState;
use percent_encoding::percent_decode_str;

use crate::propagation::Names;

/// Where settings come from: the process environment, a map in a test, or one laid over the other.
pub trait Environment {
    /// The value of a variable; an empty value counts as unset, as the specification demands.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

/// Some settings laid over others.
#[derive(Debug)]
pub struct Overlay<Over, Base> {
    /// Looked at first.
    pub over: Over,
    /// Looked at second.
    pub base: Base,
}

/// Everything that the SDK is set up from.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `OTEL_SERVICE_NAME`, or `service.name` of the resource attributes.
    pub service_name: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource_attributes: Vec<(String, String)>,
    /// `OTEL_SDK_DISABLED`.
    pub disabled: bool,
    /// What is injected: `INSUREWATCH_INJECT_PROPAGATORS`, else `OTEL_PROPAGATORS`.
    pub inject: Names,
    /// What is extracted: `INSUREWATCH_EXTRACT_PROPAGATORS`, else `OTEL_PROPAGATORS`.
    pub extract: Names,
    /// `OTEL_TRACES_SAMPLER` and its argument.
    pub sampler: SamplerChoice,
    /// `INSUREWATCH_VENDOR_TRACESTATE`: what the sampler of a tracing vendor writes on new roots.
    pub vendor_tracestate: TraceState,
    /// `OTEL_EXPORTER_OTLP_*` and `OTEL_BSP_*`.
    pub export: Export,
}

/// Which spans are sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerChoice {
    /// Whether a parent's decision is followed.
    pub parent_based: bool,
    /// The share of roots (or, if no parent is followed, of all traces) that is sampled, from 0 to 1.
    pub ratio: f64,
}

/// Where spans go and how they wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The OTLP transport.
    pub protocol: Protocol,
    /// The whole URL that is asked.
    pub endpoint: String,
    /// Headers or gRPC metadata sent along.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// How long a span waits at most before it is exported.
    pub schedule_delay: Duration,
    /// How many spans may wait; more are dropped and counted.
    pub max_queue_size: usize,
    /// How many spans are exported at once.
    pub max_export_batch_size: usize,
}

/// An OTLP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in HTTP POST requests.
    HttpProtobuf,
}

/// A variable with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: {reason}; allowed: {allowed}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
    /// What may be written instead.
    pub allowed: &'static str,
}

/// A variable that can be changed while the service runs.
#[derive(Clone, Copy, Debug)]
pub struct LiveVariable {
    /// Its name.
    pub name: &'static str,
    /// For people: what may be written.
    pub allowed: &'static str,
    /// Says what is wrong with a value.
    pub check: fn(&str) -> Result<(), String>,
}

const DURATION: &str = "whole milliseconds";
const COUNT: &str = "a whole number above 0";
const ENDPOINT: &str = "an http:// URL (TLS is not built in: send to a Collector, which can)";
const PROTOCOLS: &str = "grpc, http/protobuf";
const PAIRS: &str = "key=value,key=value with percent-encoded values";
const SAMPLERS: &str =
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio";
const TRACESTATE: &str = "a tracestate list such as vendor=value";
const RATIO: &str = "a number from 0 to 1";

macro_rules! live {
    ($($name:literal: $allowed:expr,)*) => {
        /// What [`Telemetry::apply`](crate::Telemetry::apply) can change; each value is checked alone.
        pub const LIVE_VARIABLES: &[LiveVariable] =
            &[$(LiveVariable { name: $name, allowed: $allowed, check: |value| check($name, value) },)*];
    };
}
live! {
    "OTEL_PROPAGATORS": Names::ALLOWED,
    "INSUREWATCH_INJECT_PROPAGATORS": Names::ALLOWED,
    "INSUREWATCH_EXTRACT_PROPAGATORS": Names::ALLOWED,
    "INSUREWATCH_VENDOR_TRACESTATE": TRACESTATE,
    "OTEL_TRACES_SAMPLER": SAMPLERS,
    "OTEL_TRACES_SAMPLER_ARG": RATIO,
    "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT,
    "OTEL_EXPORTER_OTLP_PROTOCOL": PROTOCOLS,
    "OTEL_EXPORTER_OTLP_HEADERS": PAIRS,
    "OTEL_EXPORTER_OTLP_TIMEOUT": DURATION,
    "OTEL_BSP_SCHEDULE_DELAY": DURATION,
    "OTEL_BSP_MAX_QUEUE_SIZE": COUNT,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": COUNT,
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err("the value is empty".to_owned());
    }
    let alone = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Config::read(&alone).map(drop).map_err(|error| error.reason)
}

// === impl Environment ===

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl<T: Environment + ?Sized> Environment for &T {
    fn get(&self, name: &str) -> Option<String> {
        (**self).get(name)
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).filter(|value| !value.is_empty()).cloned()
    }
}

impl<Over: Environment, Base: Environment> Environment for Overlay<Over, Base> {
    fn get(&self, name: &str) -> Option<String> {
        self.over.get(name).or_else(|| self.base.get(name))
    }
}

// === impl Config ===

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// The first variable whose value cannot be used.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let resource_attributes = read(env, "OTEL_RESOURCE_ATTRIBUTES", PAIRS, pairs)?.unwrap_or_default();
        let named = resource_attributes.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.clone());
        let both = read(env, "OTEL_PROPAGATORS", Names::ALLOWED, names)?.unwrap_or_default();
        let inject = read(env, "INSUREWATCH_INJECT_PROPAGATORS", Names::ALLOWED, names)?;
        let extract = read(env, "INSUREWATCH_EXTRACT_PROPAGATORS", Names::ALLOWED, names)?;
        let disabled = env.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Self {
            service_name: env.get("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| "unknown_service".to_owned()),
            resource_attributes,
            disabled,
            inject: inject.unwrap_or_else(|| both.clone()),
            extract: extract.unwrap_or(both),
            sampler: SamplerChoice::read(env)?,
            vendor_tracestate: read(env, "INSUREWATCH_VENDOR_TRACESTATE", TRACESTATE, |list| {
                list.parse().map_err(|_| "not such a list".to_owned())
            })?
            .unwrap_or_default(),
            export: Export::read(env)?,
        })
    }
}

impl SamplerChoice {
    fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let ratio = read(env, "OTEL_TRACES_SAMPLER_ARG", RATIO, |text| match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err("not such a number".to_owned()),
        })?
        .unwrap_or(1.0);
        let choice = read(env, "OTEL_TRACES_SAMPLER", SAMPLERS, |name| {
            let (parent_based, root) = match name.strip_prefix("parentbased_") {
                Some(root) => (true, root),
                None => (false, name),
            };
            let ratio = match root {
                "always_on" => 1.0,
                "always_off" => 0.0,
                "traceidratio" => ratio,
                _ => return Err("unknown sampler".to_owned()),
            };
            Ok(Self { parent_based, ratio })
        })?;
        Ok(choice.unwrap_or(Self { parent_based: true, ratio: 1.0 }))
    }
}

impl Export {
    fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let protocol = read(env, "OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOLS, |name| match name {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            _ => Err("unknown protocol".to_owned()),
        })?
        .unwrap_or(Protocol::HttpProtobuf);
        let base = read(env, "OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT, http_url)?;
        let traces = read(env, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ENDPOINT, http_url)?;
        let endpoint = match (traces, protocol) {
            (Some(whole), _) => whole,
            (None, Protocol::Grpc) => base.unwrap_or_else(|| "http://localhost:4317".to_owned()),
            (None, Protocol::HttpProtobuf) => {
                let base = base.unwrap_or_else(|| "http://localhost:4318".to_owned());
                format!("{}/v1/traces", base.trim_end_matches('/'))
            }
        };
        let millis = |name, default| Ok(Duration::from_millis(read(env, name, DURATION, number)?.unwrap_or(default)));
        let count = |name, default| {
            let count = read(env, name, COUNT, |text| match number(text)? {
                0 => Err("must be above 0".to_owned()),
                count => Ok(count),
            })?;
            Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(default))
        };
        let max_queue_size = count("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?;
        Ok(Self {
            protocol,
            endpoint,
            headers: read(env, "OTEL_EXPORTER_OTLP_HEADERS", PAIRS, pairs)?.unwrap_or_default(),
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000)?,
            schedule_delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            max_queue_size,
            // A batch larger than the queue could never fill.
            max_export_batch_size: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?.min(max_queue_size),
        })
    }
}

/// Reads one variable; `None` if it is unset.
///
/// # Errors
/// What `parse` says of the value, together with what is allowed.
pub fn read<T>(
    env: &impl Environment,
    variable: &'static str,
    allowed: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = env.get(variable) else { return Ok(None) };
    parse(value.trim()).map(Some).map_err(|reason| ConfigError { variable, value, reason, allowed })
}

fn names(list: &str) -> Result<Names, String> {
    list.parse().map_err(|error: crate::propagation::NamesError| error.to_string())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "not a whole number".to_owned())
}

fn http_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(text.to_owned()),
        _ => Err("not an http:// URL".to_owned()),
    }
}

/// Reads `key=value,key=value`, values percent-encoded: the W3C Baggage form, which the [specification] prescribes for resource attributes and headers.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = Config::read(&env(&[("OTEL_PROPAGATORS", "")])).unwrap();
        assert_eq!(config.service_name, "unknown_service");
        assert_eq!(config.inject.to_string(), "tracecontext,baggage");
        assert_eq!(config.sampler, SamplerChoice { parent_based: true, ratio: 1.0 });
        assert_eq!(config.export.endpoint, "http://localhost:4318/v1/traces");
        assert_eq!(config.export.schedule_delay, Duration::from_secs(5));
    }

    #[test]
    fn inject_and_extract_can_differ() {
        let config =
            Config::read(&env(&[("OTEL_PROPAGATORS", "b3"), ("INSUREWATCH_EXTRACT_PROPAGATORS", "tracecontext")]))
                .unwrap();
        assert_eq!((config.inject.to_string(), config.extract.to_string()), ("b3".into(), "tracecontext".into()));
    }

    #[test]
    fn an_overlay_wins() {
        let (over, base) =
            (env(&[("OTEL_PROPAGATORS", "b3")]), env(&[("OTEL_PROPAGATORS", "none"), ("OTEL_SERVICE_NAME", "a")]));
        let config = Config::read(&Overlay { over, base }).unwrap();
        assert_eq!((config.inject.to_string(), config.service_name), ("b3".into(), "a".into()));
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        let table = [
            (
                "OTEL_PROPAGATORS",
                "zipkin",
                "OTEL_PROPAGATORS=zipkin: unknown propagator `zipkin`; allowed: `none`, or a comma list of tracecontext, baggage, b3, b3multi, jaeger, xray",
            ),
            (
                "OTEL_TRACES_SAMPLER",
                "sometimes",
                "OTEL_TRACES_SAMPLER=sometimes: unknown sampler; allowed: always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
            ),
            (
                "OTEL_TRACES_SAMPLER_ARG",
                "1.5",
                "OTEL_TRACES_SAMPLER_ARG=1.5: not such a number; allowed: a number from 0 to 1",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://a",
                "OTEL_EXPORTER_OTLP_ENDPOINT=https://a: not an http:// URL; allowed: an http:// URL (TLS is not built in: send to a Collector, which can)",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "http/json",
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: unknown protocol; allowed: grpc, http/protobuf",
            ),
            (
                "OTEL_BSP_SCHEDULE_DELAY",
                "2s",
                "OTEL_BSP_SCHEDULE_DELAY=2s: not a whole number; allowed: whole milliseconds",
            ),
            (
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "0",
                "OTEL_BSP_MAX_QUEUE_SIZE=0: must be above 0; allowed: a whole number above 0",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "a=%zz",
                "OTEL_RESOURCE_ATTRIBUTES=a=%zz: `%zz` has a `%` without two hex digits; allowed: key=value,key=value with percent-encoded values",
            ),
        ];
        for (name, value, message) in table {
            assert_eq!(Config::read(&env(&[(name, value)])).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn every_live_variable_checks_its_own_value() {
        for variable in LIVE_VARIABLES {
            let refused = (variable.check)("%%");
            assert!(refused.is_err(), "{} accepts anything", variable.name);
        }
    }
}
