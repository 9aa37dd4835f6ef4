//! The values that are set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use chain::Service;

static NONE: BTreeMap<String, String> = BTreeMap::new();

/// Service → key → value. What is absent is left to the process environment of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<Service, BTreeMap<String, String>>);

// === impl Settings ===

impl Settings {
    /// The value of one key of one service.
    #[must_use]
    pub fn get(&self, service: Service, key: &str) -> Option<&str> {
        self.of(service).get(key).map(String::as_str)
    }

    /// Sets one key of one service. It checks nothing: that is [`Schema::check`](crate::schema::Schema::check).
    pub fn set(&mut self, service: Service, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(service).or_default().insert(key.into(), value.into());
    }

    /// Leaves one key of one service to its process environment again.
    pub fn unset(&mut self, service: Service, key: &str) {
        if let Some(values) = self.0.get_mut(&service) {
            values.remove(key);
            if values.is_empty() {
                self.0.remove(&service);
            }
        }
    }

    /// Sets all that `other` sets.
    pub fn merge(&mut self, other: &Self) {
        for (service, key, value) in other.iter() {
            self.set(service, key, value);
        }
    }

    /// Everything that is set, in the order of services, then keys.
    pub fn iter(&self) -> impl Iterator<Item = (Service, &str, &str)> {
        self.0
            .iter()
            .flat_map(|(service, table)| table.iter().map(|(key, value)| (*service, key.as_str(), value.as_str())))
    }

    /// What is set for one service.
    #[must_use]
    pub fn of(&self, service: Service) -> &BTreeMap<String, String> {
        self.0.get(&service).unwrap_or(&NONE)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
