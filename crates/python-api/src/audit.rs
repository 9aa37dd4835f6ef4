//! The audit of accepted claims, written by a task that nothing waits for: the answer may be sent before it is done.

use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use service::contract::Claim;

use crate::seams::TaskContext;

/// Starts the task. The context does not follow automatically: it lives in a thread-local of the thread that runs a task.
pub(crate) fn spawn(context: TaskContext, claim: Claim, tenant: Option<String>) {
    let work = write_audit(claim, tenant);
    match context {
        TaskContext::WithContext => drop(tokio::spawn(work.with_context(Context::current()))),
        TaskContext::Bare => drop(tokio::spawn(work)),
    }
}

#[tracing::instrument(skip_all, fields(insurewatch.claim.id = %claim.claim_id))]
async fn write_audit(claim: Claim, tenant: Option<String>) {
    let Claim { claim_id, decision, .. } = claim;
    tracing::info!(%claim_id, tenant, %decision, "claim accepted");
}
