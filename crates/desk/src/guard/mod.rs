//! Which requests are allowed: from where, how many, and for what.
//!
//! - `site`: only programs and the desk's own pages, by origin and Fetch Metadata; the pages' security headers
//! - [`token`]: the bearer token, and the cookie that a browser has instead
//! - `limits`: writes per second, bytes per body
//! - [`backends`]: the endpoints that a setting may name for spans

pub mod backends;
pub(crate) mod limits;
pub(crate) mod site;
pub mod token;
