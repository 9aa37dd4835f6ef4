//! Work that moves to another task or thread.
//!
//! The context does not move along by itself: it lives in a thread-local of the thread that runs a task, and a new task
//! or thread starts without. Each function here takes whether it is carried over.

use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use tokio::task::JoinError;

telemetry::choice! {
    /// Whether a spawned task has its spawner's context.
    TaskContext = "AUDIT_TASK" {
        /// It is carried over.
        WithContext = "with-context",
        /// `tokio::spawn` and nothing else.
        Bare = "bare",
    }
}

telemetry::choice! {
    /// Whether work on the blocking pool has its caller's context.
    PoolContext = "LOOKUP_POOL" {
        /// It is carried over.
        WithContext = "with-context",
        /// `spawn_blocking` and nothing else.
        Bare = "bare",
    }
}

/// Starts a task that nobody waits for.
pub fn task(context: TaskContext, work: impl Future<Output = ()> + Send + 'static) {
    match context {
        TaskContext::WithContext => drop(tokio::spawn(work.with_context(Context::current()))),
        TaskContext::Bare => drop(tokio::spawn(work)),
    }
}

/// Runs asynchronous work to its end on the blocking pool.
///
/// # Errors
/// The work panicked, or the runtime ends.
pub async fn on_pool<T: Send + 'static>(
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
