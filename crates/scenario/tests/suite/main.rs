//! The crate from outside, in one binary for the sake of link time.

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod glossary;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod page;
#[cfg(test)]
mod support;
#[cfg(test)]
mod words;
