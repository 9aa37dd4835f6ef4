//! The crate from outside, in one binary for the sake of link time.

#[cfg(test)]
mod active;
#[cfg(test)]
mod support;
