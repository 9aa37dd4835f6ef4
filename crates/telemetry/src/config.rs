//! What the environment says, checked: the [standard variables], and two of our own.
//!
//! [standard variables]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::trace::TraceState;
use settings::{ConfigError, Environment, Number, PAIRS, Setting, Values, number, pairs, read};

use crate::propagation::Names;

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

// An exporter that wakes without pause would starve its service, one that waits for longer than a minute looks like lost
// spans, and a queue takes memory from its service.
number!(
    /// How long one export may take.
    TIMEOUT = "OTEL_EXPORTER_OTLP_TIMEOUT", "milliseconds", 1, 60000, 10000
);
number!(
    /// How long a span waits at most before it is exported.
    SCHEDULE_DELAY = "OTEL_BSP_SCHEDULE_DELAY", "milliseconds", 10, 60000, 5000
);
number!(
    /// How many spans may wait for export; more are dropped.
    MAX_QUEUE_SIZE = "OTEL_BSP_MAX_QUEUE_SIZE", "spans", 1, 131072, 2048
);
number!(
    /// How many spans are exported at once.
    MAX_EXPORT_BATCH_SIZE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "spans", 1, 131072, 512
);
const ENDPOINT: &str = "an http:// URL (TLS is not built in: send to a Collector that has it)";
const PROTOCOLS: &str = "grpc, http/protobuf";
const SAMPLERS: &str =
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio";
const SAMPLER_NAMES: Values = Values::Only(&[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]);
const PROPAGATORS: Values = Values::SuchAs(&[
    "tracecontext,baggage",
    "tracecontext",
    "b3,tracecontext,baggage",
    "b3",
    "b3,baggage",
    "b3multi",
    "jaeger",
    "xray",
    "none",
]);
const TRACESTATE: &str = "a tracestate list such as vendor=value";
const RATIO: &str = "a number from 0 to 1";

macro_rules! live {
    ($($name:literal: $about:literal, $allowed:expr, $values:expr, $default:literal;)*) => {
        /// What can change while the process runs; each value is checked alone.
        pub const LIVE_SETTINGS: &[Setting] = &[
            $(Setting::new($name, $about, $allowed, |value| check($name, value)).with($values).or($default),)*
            TIMEOUT.setting,
            SCHEDULE_DELAY.setting,
            MAX_QUEUE_SIZE.setting,
            MAX_EXPORT_BATCH_SIZE.setting,
        ];
    };
}
live! {
    "OTEL_PROPAGATORS": "Which header formats the service reads and writes.", Names::ALLOWED, PROPAGATORS, "tracecontext,baggage";
    "INSUREWATCH_INJECT_PROPAGATORS": "Which header formats the service writes, if not those of OTEL_PROPAGATORS.", Names::ALLOWED, PROPAGATORS, "as OTEL_PROPAGATORS";
    "INSUREWATCH_EXTRACT_PROPAGATORS": "Which header formats the service reads, if not those of OTEL_PROPAGATORS.", Names::ALLOWED, PROPAGATORS, "as OTEL_PROPAGATORS";
    "INSUREWATCH_VENDOR_TRACESTATE": "The entries that the service adds to tracestate, as a vendor's SDK does.", TRACESTATE, Values::SuchAs(&[]), "none";
    "OTEL_TRACES_SAMPLER": "Who decides whether a span is recorded and exported: the parent, or the service itself.", SAMPLERS, SAMPLER_NAMES, "parentbased_always_on";
    "OTEL_TRACES_SAMPLER_ARG": "The share of traces that a traceidratio sampler takes.", RATIO, Values::SuchAs(&["0", "0.1", "0.5", "1"]), "1";
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where spans are sent.", ENDPOINT, Values::SuchAs(&[]), "http://localhost:4318";
    "OTEL_EXPORTER_OTLP_PROTOCOL": "How spans are sent.", PROTOCOLS, Values::Only(&["grpc", "http/protobuf"]), "http/protobuf";
    "OTEL_EXPORTER_OTLP_HEADERS": "Headers that are sent with each export.", PAIRS, Values::SuchAs(&[]), "none";
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err("the value is empty".to_owned());
    }
    let alone = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Config::read(&alone).map(drop).map_err(|error| error.reason)
}

// === impl Config ===

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// The first variable whose value cannot be used.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
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
                list.parse().map_err(|_| "not a tracestate list".to_owned())
            })?
            .unwrap_or_default(),
            export: Export::read(env)?,
        })
    }
}

impl SamplerChoice {
    fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        let ratio = read(env, "OTEL_TRACES_SAMPLER_ARG", RATIO, |text| match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err("not a number in this range".to_owned()),
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
    fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
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
        let millis = |number: Number| Ok(Duration::from_millis(number.read(env)?));
        let count = |number: Number| Ok(usize::try_from(number.read(env)?).unwrap_or(usize::MAX));
        let max_queue_size = count(MAX_QUEUE_SIZE)?;
        Ok(Self {
            protocol,
            endpoint,
            headers: read(env, "OTEL_EXPORTER_OTLP_HEADERS", PAIRS, pairs)?.unwrap_or_default(),
            timeout: millis(TIMEOUT)?,
            schedule_delay: millis(SCHEDULE_DELAY)?,
            max_queue_size,
            // A batch larger than the queue could never fill.
            max_export_batch_size: count(MAX_EXPORT_BATCH_SIZE)?.min(max_queue_size),
        })
    }
}

fn names(list: &str) -> Result<Names, String> {
    list.parse().map_err(|error: crate::propagation::NamesError| error.to_string())
}

fn http_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(text.to_owned()),
        _ => Err("not an http:// URL".to_owned()),
    }
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
                "OTEL_TRACES_SAMPLER_ARG=1.5: not a number in this range; allowed: a number from 0 to 1",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://a",
                "OTEL_EXPORTER_OTLP_ENDPOINT=https://a: not an http:// URL; allowed: an http:// URL (TLS is not built in: send to a Collector that has it)",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "http/json",
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: unknown protocol; allowed: grpc, http/protobuf",
            ),
            (
                "OTEL_BSP_SCHEDULE_DELAY",
                "2s",
                "OTEL_BSP_SCHEDULE_DELAY=2s: not a whole number; allowed: a whole number of milliseconds from 10 to 60000",
            ),
            (
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "0",
                "OTEL_BSP_MAX_QUEUE_SIZE=0: too small; allowed: a whole number of spans from 1 to 131072",
            ),
            (
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "18446744073709551615",
                "OTEL_BSP_MAX_QUEUE_SIZE=18446744073709551615: too large; allowed: a whole number of spans from 1 to 131072",
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
    fn every_live_setting_checks_its_own_value() {
        for setting in LIVE_SETTINGS {
            let checked = (setting.check)("%%");
            assert!(checked.is_err(), "{} accepts anything", setting.key);
        }
    }
}
