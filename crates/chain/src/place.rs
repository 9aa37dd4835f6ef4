//! Where something can go wrong.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hop::Hop;
use crate::service::{Service, service_names};

/// Where a fault is: a hop, written `from -> to`, or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// Between two services.
    Hop(&'static Hop),
    /// Inside one service.
    Service(Service),
}

/// A name that is neither a hop nor a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a hop nor a service; hops are {hops}; services are {services}",
    hops = Hop::names(),
    services = service_names()
)]
pub struct UnknownPlace(String);

// === impl Place ===

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let hop = Hop::find(name).map(Self::Hop);
        hop.or_else(|| Service::named(name).map(Self::Service)).ok_or_else(|| UnknownPlace(name.to_owned()))
    }
}

impl TryFrom<String> for Place {
    type Error = UnknownPlace;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hop(hop) => hop.fmt(f),
            Self::Service(service) => service.fmt(f),
        }
    }
}
