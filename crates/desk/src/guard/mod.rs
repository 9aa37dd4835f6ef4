//! Who may ask, and how much.
//!
//! - `site`: only programs and the desk's own pages, by host, origin and Fetch Metadata; the pages' security headers
//! - [`token`]: the bearer token, and the cookie that a browser has instead
//! - `limits`: writes per second, bytes per body

pub(crate) mod limits;
pub(crate) mod site;
pub mod token;
