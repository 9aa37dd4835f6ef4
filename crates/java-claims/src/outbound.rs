//! A message about a claim, before the outbox stores it.

use opentelemetry::Context;
use opentelemetry::trace::{Status, TraceContextExt};
use service::contract::{Claim, FraudQuestion};
use telemetry::messaging::{self, Attributes, Operation};

use crate::seams::OutboxAttributes;

const CREATE: Operation = Operation { name: "create", kind: "create", system: "insurewatch", destination: "claims" };

/// A message about a claim, with the PRODUCER span that creates it: only once it is certain that it will be sent.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) body: String,
    /// Absent: the row keeps none.
    pub(crate) attributes: Option<Attributes>,
    pub(crate) creation: Creation,
}

/// The PRODUCER span of a message that is being created. Its status is an error unless the message is reported as stored.
#[derive(Debug)]
pub(crate) struct Creation {
    cx: Context,
    stored: bool,
}

// === impl Outbound ===

impl Outbound {
    pub(crate) fn new(mode: OutboxAttributes, claim: &Claim) -> Result<Self, serde_json::Error> {
        let question = FraudQuestion { claim_id: claim.claim_id.clone(), amount_cents: claim.submission.amount_cents };
        let body = serde_json::to_string(&question)?;
        let cx = messaging::create(CREATE, claim.claim_id.as_str());
        claim.claim_id.mark(&cx.span());
        let mut attributes = Attributes::new();
        if mode == OutboxAttributes::Stored {
            messaging::inject(&cx, &mut attributes);
        }
        let attributes = (mode != OutboxAttributes::FromRelay).then_some(attributes);
        Ok(Self { body, attributes, creation: Creation { cx, stored: false } })
    }
}

// === impl Creation ===

impl Creation {
    pub(crate) fn cx(&self) -> &Context {
        &self.cx
    }

    /// The transaction is committed.
    pub(crate) fn committed(mut self) {
        self.stored = true;
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        if !self.stored {
            self.cx.span().set_status(Status::error("the message was not stored"));
        }
        self.cx.span().end();
    }
}
