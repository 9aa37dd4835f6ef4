//! The chain: which services there are and which hops a claim must take.
//!
//! This is the one place that knows it. Evidence is judged against this static knowledge and never against settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spelling::did_you_mean;

/// A service of the chain; its [`name`](Service::name) is its `service.name`, crate, folder and compose service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The front door, a stand-in for a Flask API.
    PythonApi,
    /// A plain reverse proxy; like an unconfigured nginx it makes no spans.
    Gateway,
    /// Decides and keeps claims, a stand-in for a Spring service.
    JavaClaims,
    /// Answers for policies, a stand-in for an Express service.
    NodePolicyStore,
    /// Consumes the claims queue and has each claim checked for fraud.
    ClaimsWorker,
    /// A third party: exports nothing, remembers the headers that it was sent.
    FraudPartner,
}

/// One directed call or message between two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who calls.
    pub from: Service,
    /// Who is called.
    pub to: Service,
    /// What passes the call on without a span of its own.
    pub via: Option<Service>,
    /// How the call travels.
    pub carrier: CarrierKind,
    /// Name of the receiver's span for this hop when a claim is submitted.
    pub receiver_span: &'static str,
}

/// What carries the context over a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierKind {
    /// Request headers: a CLIENT span calls a SERVER span.
    Http,
    /// Message attributes: a PRODUCER span sends to a CONSUMER span.
    Queue,
}

/// A span inside a service that every submitted claim leaves, apart from the receivers of hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideSpan {
    /// Whose span.
    pub service: Service,
    /// Its name.
    pub name: &'static str,
}

/// The spans that may come later than the answer, and so must be waited for.
pub const LATE_SPANS: &[InsideSpan] = &[
    InsideSpan { service: Service::PythonApi, name: "write_audit" },
    InsideSpan { service: Service::JavaClaims, name: "notify_claimant" },
];

/// The hops that every submitted claim takes, in order.
pub const HOPS: &[Hop] = &[
    Hop {
        from: Service::PythonApi,
        to: Service::JavaClaims,
        via: Some(Service::Gateway),
        carrier: CarrierKind::Http,
        receiver_span: "POST /api/claims",
    },
    Hop {
        from: Service::JavaClaims,
        to: Service::NodePolicyStore,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "GET /policies/:id",
    },
    Hop {
        from: Service::JavaClaims,
        to: Service::ClaimsWorker,
        via: None,
        carrier: CarrierKind::Queue,
        receiver_span: "process claim",
    },
    Hop {
        from: Service::ClaimsWorker,
        to: Service::FraudPartner,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "POST /checks",
    },
    Hop {
        from: Service::ClaimsWorker,
        to: Service::JavaClaims,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "PUT /api/claims/{id}/fraud-check",
    },
];

// === impl Service ===

impl Service {
    /// Every service, in the order in which a claim meets them.
    pub const ALL: &[Self] = &[
        Self::PythonApi,
        Self::Gateway,
        Self::JavaClaims,
        Self::NodePolicyStore,
        Self::ClaimsWorker,
        Self::FraudPartner,
    ];

    /// The one spelling used everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PythonApi => "python-api",
            Self::Gateway => "gateway",
            Self::JavaClaims => "java-claims",
            Self::NodePolicyStore => "node-policy-store",
            Self::ClaimsWorker => "claims-worker",
            Self::FraudPartner => "fraud-partner",
        }
    }

    /// Whether the service carries an OpenTelemetry SDK and so has spans to show.
    #[must_use]
    pub const fn has_sdk(self) -> bool {
        !matches!(self, Self::Gateway | Self::FraudPartner)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no service of the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown service `{0}`; services are {all}{near}", all = service_names(), near = nearest_service(.0))]
pub struct UnknownService(String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|service| service.name() == name).ok_or_else(|| UnknownService(name.to_owned()))
    }
}

pub(crate) fn service_names() -> String {
    Service::ALL.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}

fn nearest_service(name: &str) -> String {
    did_you_mean(name, Service::ALL.iter().map(|service| service.name()))
}

pub(crate) fn hop_names() -> String {
    HOPS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

// === impl Hop ===

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

impl Hop {
    /// The hop written `from -> to`, if the chain has it.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        HOPS.iter().find(|hop| hop.to_string() == name)
    }
}
