//! The time of day, as the desk writes it down.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn unix_millis() -> u64 {
    millis_of(SystemTime::now())
}

pub(crate) fn unix_seconds() -> u64 {
    unix_millis() / 1000
}

fn millis_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
