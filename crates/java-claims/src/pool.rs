//! Work that moves to the blocking pool, as a blocking client would be called.

use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use tokio::task::JoinError;

use crate::seams::PoolContext;

/// Runs asynchronous work to its end on the blocking pool. The context does not follow automatically: it lives in a
/// thread-local, and the pool's threads start without.
///
/// # Errors
/// The work panicked, or the runtime ends.
pub(crate) async fn run<T: Send + 'static>(
    context: PoolContext,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let runtime = tokio::runtime::Handle::current();
    match context {
        PoolContext::WithContext => {
            let cx = Context::current();
            tokio::task::spawn_blocking(move || runtime.block_on(work.with_context(cx))).await
        }
        PoolContext::Bare => tokio::task::spawn_blocking(move || runtime.block_on(work)).await,
    }
}
