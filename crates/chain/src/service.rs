//! One row per service.

use std::fmt;
use std::str::FromStr;

use anstyle::AnsiColor;
use serde::{Deserialize, Serialize};

use crate::route::RouteSyntax;
use crate::spelling::did_you_mean;

/// What is known of a service, apart from its hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// The one spelling used everywhere: `service.name`, crate, folder and compose service.
    pub name: &'static str,
    /// The usual port.
    pub port: u16,
    /// The variable with its URL, for other services.
    pub url_variable: &'static str,
    /// Whether it carries an OpenTelemetry SDK and so has spans to show.
    pub has_sdk: bool,
    /// The route syntax of the framework that it stands in for; `None` if it has no SERVER spans.
    pub routes: Option<RouteSyntax>,
    /// Its colour, the same in every drawing, always shown together with its name.
    pub colour: Colour,
    /// The place of its box in the picture.
    pub place: BoxPlace,
}

/// A colour for a page with a light and with a dark background, for a chart on either, and for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// On a light page, in CSS.
    pub light: &'static str,
    /// On a dark page, in CSS.
    pub dark: &'static str,
    /// In a chart on either background, beside the other services; also for eyes that confuse red and green.
    pub chart: &'static str,
    /// In a terminal.
    pub terminal: AnsiColor,
}

/// A box in the picture, in the picture's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxPlace {
    /// The left edge.
    pub left: i32,
    /// The top edge.
    pub top: i32,
    /// The width.
    pub width: i32,
}

macro_rules! services {
    ($(#[doc = $about:literal] $service:ident = $row:expr,)*) => {
        /// A service of the chain, in the order in which a claim meets them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Service {
            $(#[doc = $about] $service,)*
        }

        impl Service {
            /// Every service, in the order in which a claim meets them.
            pub const ALL: &[Self] = &[$(Self::$service,)*];

            /// What is known of it.
            #[must_use]
            pub const fn row(self) -> &'static ServiceRow {
                match self {
                    $(Self::$service => const { &$row },)*
                }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$service => $about.trim_ascii(),)*
                }
            }
        }
    };
}

services! {
    /// The front door, a stand-in for a Flask API.
    PythonApi = ServiceRow {
        name: "python-api",
        port: 7701,
        url_variable: "PYTHON_API_URL",
        has_sdk: true,
        routes: Some(RouteSyntax::Flask),
        colour: Colour { light: "#1f6fd0", dark: "#6aa9f5", chart: "#4079c4", terminal: AnsiColor::Cyan },
        place: BoxPlace { left: 0, top: 20, width: 150 },
    },
    /// A plain reverse proxy; like an unconfigured nginx it creates no spans.
    Gateway = ServiceRow {
        name: "gateway",
        port: 7702,
        url_variable: "GATEWAY_URL",
        has_sdk: false,
        routes: None,
        colour: Colour { light: "#6b7280", dark: "#9aa3b2", chart: "#878b99", terminal: AnsiColor::White },
        place: BoxPlace { left: 225, top: 20, width: 130 },
    },
    /// Decides and stores claims, a stand-in for a Spring service.
    JavaClaims = ServiceRow {
        name: "java-claims",
        port: 7703,
        url_variable: "JAVA_CLAIMS_URL",
        has_sdk: true,
        routes: Some(RouteSyntax::Spring),
        colour: Colour { light: "#c2570c", dark: "#f59a57", chart: "#c57132", terminal: AnsiColor::Magenta },
        place: BoxPlace { left: 430, top: 20, width: 180 },
    },
    /// Serves policies, a stand-in for an Express service.
    NodePolicyStore = ServiceRow {
        name: "node-policy-store",
        port: 7704,
        url_variable: "NODE_POLICY_STORE_URL",
        has_sdk: true,
        routes: Some(RouteSyntax::Express),
        colour: Colour { light: "#2c8a3e", dark: "#6ccb80", chart: "#477166", terminal: AnsiColor::Green },
        place: BoxPlace { left: 850, top: 20, width: 190 },
    },
    /// Consumes the claims queue and has each claim checked for fraud.
    ClaimsWorker = ServiceRow {
        name: "claims-worker",
        port: 7705,
        url_variable: "CLAIMS_WORKER_URL",
        has_sdk: true,
        routes: None,
        colour: Colour { light: "#8a3fc0", dark: "#c58cf0", chart: "#e514f9", terminal: AnsiColor::Blue },
        place: BoxPlace { left: 430, top: 260, width: 180 },
    },
    /// A third party: exports nothing, remembers the headers that it was sent.
    FraudPartner = ServiceRow {
        name: "fraud-partner",
        port: 7706,
        url_variable: "FRAUD_PARTNER_URL",
        has_sdk: false,
        routes: None,
        colour: Colour { light: "#a3195b", dark: "#f07fb4", chart: "#a3195b", terminal: AnsiColor::BrightMagenta },
        place: BoxPlace { left: 850, top: 260, width: 190 },
    },
}

/// The height of every box in the picture.
pub const BOX_HEIGHT: i32 = 46;

/// A name that is no service of the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown service `{0}`; services are {all}{near}", all = service_names(), near = nearest_service(.0))]
pub struct UnknownService(String);

// === impl Service ===

impl Service {
    /// The one spelling used everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the service carries an OpenTelemetry SDK and so has spans to show.
    #[must_use]
    pub const fn has_sdk(self) -> bool {
        self.row().has_sdk
    }

    /// The service of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|service| service.name() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name).ok_or_else(|| UnknownService(name.to_owned()))
    }
}

/// Every service, in words.
#[must_use]
pub fn service_names() -> String {
    Service::ALL.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}

fn nearest_service(name: &str) -> String {
    did_you_mean(name, Service::ALL.iter().map(|service| service.name()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_services_share_what_tells_them_apart() {
        let distinct = |what: &str, of: fn(&ServiceRow) -> String| {
            let values: BTreeSet<_> = Service::ALL.iter().map(|service| of(service.row())).collect();
            assert_eq!(values.len(), Service::ALL.len(), "two services have one {what}: {values:?}");
        };
        distinct("name", |row| row.name.to_owned());
        distinct("port", |row| row.port.to_string());
        distinct("variable", |row| row.url_variable.to_owned());
        distinct("colour on a light page", |row| row.colour.light.to_owned());
        distinct("colour on a dark page", |row| row.colour.dark.to_owned());
        distinct("colour in a terminal", |row| format!("{:?}", row.colour.terminal));
        distinct("place", |row| format!("{:?}", row.place));
    }

    #[test]
    fn boxes_do_not_overlap() {
        for (at, one) in Service::ALL.iter().enumerate() {
            for other in Service::ALL.iter().skip(at + 1) {
                let (a, b) = (one.row().place, other.row().place);
                let beside = a.left + a.width < b.left || b.left + b.width < a.left;
                let below = a.top + BOX_HEIGHT < b.top || b.top + BOX_HEIGHT < a.top;
                assert!(beside || below, "{one} and {other} overlap in the picture");
            }
        }
    }

    #[test]
    fn serde_writes_the_one_spelling() {
        for service in Service::ALL {
            assert_eq!(service.to_string().parse(), Ok(*service), "{service} is read again");
        }
    }
}
