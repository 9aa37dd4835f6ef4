//! What the services of the chain share: how they listen, fail, report their health, and name claims.
//!
//! - [`baggage`]: what the application puts into baggage and reads from it
//! - [`contract`]: the bodies of requests between services
//! - [`claim_id`]: the application key that joins a claim's traces
//! - [`problem`]: errors as `application/problem+json`
//! - [`body`]: JSON request bodies, with errors that name the field
//! - [`health`]: `GET /healthz`
//! - [`serve`]: every listener: who gets an answer, what a peer may use, and graceful shutdown
//! - [`hosts`]: the host names that requests may use; `connections`: which one makes room for another
//! - [`url`]: the URLs of other services and of databases
//!
//! It knows no scenario, and services only by the rows of the chain.

pub mod baggage;
pub mod body;
pub mod claim_id;
mod connections;
pub mod contract;
pub mod health;
pub mod hosts;
mod outgoing;
pub mod problem;
pub mod serve;
pub mod url;

pub use claim_id::ClaimId;
pub use problem::Problem;
