//! How the OpenTelemetry SDKs of each language are told to put on record what they leave out by themselves: as data, for those
//! who set a service up and for those who miss something in its spans.
//!
//! Sources: [Python], [Java], [.NET]; Node, Go and Rust have no variable for it, which their instrumentations' options
//! ([Node], [Go]) show.
//!
//! [Python]: https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/flask/flask.html
//! [Java]: https://opentelemetry.io/docs/zero-code/java/agent/instrumentation/http/
//! [.NET]: https://opentelemetry.io/docs/zero-code/dotnet/configuration/
//! [Node]: https://www.npmjs.com/package/@opentelemetry/instrumentation-http
//! [Go]: https://pkg.go.dev/go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp

use std::fmt;
use std::str::FromStr;

/// A language whose SDK may be in a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    Python,
    Node,
    Java,
    Go,
    Dotnet,
    Rust,
}

/// What is known of an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdkRow {
    /// As it is written on the command line.
    pub name: &'static str,
    /// The value of `telemetry.sdk.language`
    /// (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/telemetry/>).
    pub attribute: &'static str,
    /// How it is told to record headers.
    pub capture: Capture,
    /// Further variables with which its spans are like the lab's: name, value, and why.
    pub variables: &'static [(&'static str, &'static str, &'static str)],
    /// What no variable does, in a sentence; empty if there is nothing.
    pub by_code: &'static str,
}

/// How an SDK is told to record headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// By variables, each a list of header names.
    Variables {
        /// What a server received.
        server_request: &'static str,
        /// What a server answered.
        server_response: &'static str,
        /// What a client sent.
        client_request: &'static str,
    },
    /// By code alone: what to write, as the end of a sentence.
    Code(&'static str),
}

/// No [`Language`] has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language `{0}`; languages are {all}", all = Language::ALL.map(|it| it.row().name).join(", "))]
pub struct UnknownLanguage(String);

// === impl Language ===

impl Language {
    /// Every language.
    pub const ALL: [Self; 6] = [Self::Python, Self::Node, Self::Java, Self::Go, Self::Dotnet, Self::Rust];

    /// What is known of its SDK.
    #[must_use]
    pub const fn row(self) -> &'static SdkRow {
        match self {
            Self::Python => &SdkRow {
                name: "python",
                attribute: "python",
                capture: Capture::Variables {
                    server_request: "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
                    server_response: "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
                    client_request: "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST",
                },
                variables: &[("OTEL_PYTHON_EXCLUDED_URLS", "healthz", "no spans of health checks")],
                by_code: "requests and httpx record the headers before the context is injected, so what they send is never on record",
            },
            Self::Node => &SdkRow {
                name: "node",
                attribute: "nodejs",
                capture: Capture::Code(
                    "`headersToSpanAttributes` of @opentelemetry/instrumentation-http and -undici, as in \
                     originals/express/telemetry.js",
                ),
                variables: &[],
                by_code: "with variables alone no header is on record",
            },
            Self::Java => &SdkRow {
                name: "java",
                attribute: "java",
                capture: Capture::Variables {
                    server_request: "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS",
                    server_response: "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_RESPONSE_HEADERS",
                    client_request: "OTEL_INSTRUMENTATION_HTTP_CLIENT_CAPTURE_REQUEST_HEADERS",
                },
                variables: &[(
                    "OTEL_JAVA_EXPERIMENTAL_SPAN_ATTRIBUTES_COPY_FROM_BAGGAGE_INCLUDE",
                    "tenant.id",
                    "shows where the tenant was readable",
                )],
                by_code: "HttpURLConnection records nothing that it sends, and the JDK client the span above its own",
            },
            Self::Go => &SdkRow {
                name: "go",
                attribute: "go",
                capture: Capture::Code("a span attribute `http.request.header.<name>` in a handler of your own"),
                variables: &[],
                by_code: "OTEL_PROPAGATORS is read by the contrib package `propagators/autoprop` alone",
            },
            Self::Dotnet => &SdkRow {
                name: "dotnet",
                attribute: "dotnet",
                capture: Capture::Variables {
                    server_request: "OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS",
                    server_response: "OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_CAPTURE_RESPONSE_HEADERS",
                    client_request: "OTEL_DOTNET_AUTO_TRACES_HTTP_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS",
                },
                variables: &[],
                by_code: "these variables are those of the automatic instrumentation; the SDK alone reads none of them",
            },
            Self::Rust => &SdkRow {
                name: "rust",
                attribute: "rust",
                capture: Capture::Code("a span attribute `http.request.header.<name>` in a layer of your own"),
                variables: &[],
                by_code: "the SDK reads no OTEL_PROPAGATORS: the application sets its propagator",
            },
        }
    }

    /// The language that `telemetry.sdk.language` names.
    #[must_use]
    pub fn of_attribute(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.row().attribute == value)
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(name: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|it| it.row().name == name).ok_or_else(|| UnknownLanguage(name.to_owned()))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name)
    }
}
