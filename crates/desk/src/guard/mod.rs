//! Who may ask, how much, and for what.
//!
//! - `site`: only programs and the desk's own pages, by origin and Fetch Metadata; the pages' security headers
//! - [`token`]: the bearer token, and the cookie that a browser has instead
//! - `limits`: writes per second, bytes per body
//! - [`backends`]: where services may be told to send their spans

pub mod backends;
pub(crate) mod limits;
pub(crate) mod site;
pub mod token;
