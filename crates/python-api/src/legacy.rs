//! An old tracing library, still in the call path, that does not use the SDK and sends B3 ids that it generates.

use async_trait::async_trait;
use http::{Extensions, HeaderValue};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};
use settings::Live;
use uuid::Uuid;

use crate::seams::{ClaimsClient, Seams};

/// Stands before the instrumented client, which then has both headers on record.
#[derive(Debug)]
pub(crate) struct LegacyB3(pub(crate) Live<Seams>);

// === impl LegacyB3 ===

#[async_trait]
impl Middleware for LegacyB3 {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        if self.0.get().claims_client == ClaimsClient::WithLegacyB3 {
            let span = Uuid::new_v4().as_u64_pair().0;
            let value = format!("{}-{span:016x}-1", Uuid::new_v4().simple());
            if let Ok(value) = HeaderValue::try_from(value) {
                request.headers_mut().insert("b3", value);
            }
        }
        next.run(request, extensions).await
    }
}
