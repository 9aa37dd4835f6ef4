//! The binary from outside: real processes, real sockets, and the traces that become of real claims.
//!
//! - `lab`: starts a separate lab for each test, runs the command line against it, and ends it
//! - `scenarios`: every file of `scenarios/`, broken, diagnosed and healed
//! - `agreement`: list, picture, check, diagnose and grading say the same of a claim
//! - `silence`: no telemetry gives the answer away
//! - `learner`: one container of a class
//! - `lessons`: hints, and the answer
//! - `walk`: Lab 1 as a learner does it, while claims stream
//! - `tree`: the spans of a healthy claim, one by one
//! - `door`: the HTTP contract of the front door
//! - `caller`: callers who have a trace and baggage of their own
//! - `messaging`: the queue, the fraud check behind it, and the third party
//! - `formats`: who can read which wire format, against a model
//! - `endings`: processes that die, end, or find nobody to export to
//! - `seats`: services that know nothing of the lab, in seats of the chain
//! - `tempo`: what our client reads, from a real Tempo's recorded answers and from the embedded store
//! - `guards`: who is answered, and what nobody can break from outside
//! - `settings`: bad settings, busy ports, and what the command line says of mistakes
//!
//! A lab starts in some 50 ms and ends in less, so that tests share none: nothing needs to be reset.

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod answer_key;
#[cfg(test)]
mod caller;
#[cfg(test)]
mod door;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod learner;
#[cfg(test)]
mod lessons;
#[cfg(test)]
mod messaging;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod seats;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod tempo;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod walk;
