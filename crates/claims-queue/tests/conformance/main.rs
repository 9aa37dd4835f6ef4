//! What every adapter promises, checked against each of them, and what is special to one.

#[cfg(test)]
#[cfg(feature = "nats")]
mod nats;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod url;
