//! What the spans of one claim show, read once against the topology: facts, and no opinion on them yet.

use chain::{Hop, InsideSpan, ParentUsed, Service, SpanKind, Topology};

use crate::claim::{ClaimEvidence, Collected, Fragment, Position};
use crate::headers::recorded;
use crate::ledger::HopRow;
use crate::span::Span;
use wire::{Context, Format};

pub(crate) use chain::vocabulary::TENANT;

/// One claim, read against the topology.
///
/// It borrows what was collected and lives as long as one look at it: every view of a claim (verdict, diagnosis, picture,
/// ledger, list) that is shown together comes from one reading.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    pub(crate) topology: &'static Topology,
    pub(crate) collected: &'a Collected,
    rows: Vec<HopRow>,
}

/// Something that every claim leaves and that was not received of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReceived {
    /// The front door's span.
    FrontDoor(Service),
    /// The receiver's span of a hop.
    Receiver(&'static Hop),
    /// A span inside a service that may come later than the answer.
    Late(&'static InsideSpan),
}

/// Baggage that left the company and by its key is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak<'a> {
    /// Where it left.
    pub hop: &'static Hop,
    /// Its key.
    pub key: &'a str,
}

/// What became of the baggage on a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BaggageOn {
    /// The sender had none, or let none out of the company.
    None,
    /// The receiver has it.
    Carried,
    /// The sender had it, and the receiver does not.
    Dropped {
        /// Whether either side has some on record.
        on_record: bool,
    },
    /// It arrived where it must not.
    Leaking,
    /// Some is on record; whether all of it arrived, and may have, is not said.
    Seen,
    /// The spans that would show it were not received, or do not say.
    NotKnown,
}

// === impl BaggageOn ===

impl BaggageOn {
    /// The same without a judgement.
    #[must_use]
    pub const fn neutral(self) -> Self {
        match self {
            Self::Carried | Self::Leaking | Self::Dropped { on_record: true } | Self::Seen => Self::Seen,
            Self::None | Self::Dropped { on_record: false } => Self::None,
            Self::NotKnown => Self::NotKnown,
        }
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Reads what was collected of a claim.
    #[must_use]
    pub fn new(topology: &'static Topology, collected: &'a Collected) -> Self {
        let rows = topology.hops.iter().map(|hop| HopRow::new(&collected.evidence, hop)).collect();
        Self { topology, collected, rows }
    }

    /// The claim's spans.
    #[must_use]
    pub fn evidence(&self) -> &'a ClaimEvidence {
        &self.collected.evidence
    }

    /// The ledger: one row for each hop of the chain, in its order.
    #[must_use]
    pub fn rows(&self) -> &[HopRow] {
        &self.rows
    }

    /// The ledger by value.
    #[must_use]
    pub fn into_rows(self) -> Vec<HopRow> {
        self.rows
    }

    /// The row of a hop; `None` if the topology does not have it.
    #[must_use]
    pub fn row(&self, hop: &Hop) -> Option<&HopRow> {
        self.rows.iter().find(|row| row.hop == hop)
    }

    /// The rows whose receiver has spans to show.
    pub(crate) fn inner_rows(&self) -> impl Iterator<Item = &HopRow> {
        self.rows.iter().filter(|row| row.hop.to.has_sdk())
    }

    /// The rows whose sender is this service.
    pub(crate) fn rows_from(&self, service: Service) -> impl Iterator<Item = &HopRow> {
        self.rows.iter().filter(move |row| row.hop.from == service)
    }

    /// The row whose receiver this span is; no hop accounts for the spans of a third party.
    pub(crate) fn row_of_receiver(&self, span: &Span) -> Option<&HopRow> {
        self.inner_rows().find(|row| {
            row.received.span.is_some_and(|side| (side.trace_id, side.span_id) == (span.trace_id, span.span_id))
        })
    }

    /// The receiver's span of a hop.
    pub(crate) fn receiver(&self, row: &HopRow) -> Option<&'a Span> {
        row.received.span.and_then(|side| self.evidence().span(side.trace_id, side.span_id))
    }

    /// The sender's span of a hop.
    pub(crate) fn sender(&self, row: &HopRow) -> Option<&'a Span> {
        row.sent.span.and_then(|side| self.evidence().span(side.trace_id, side.span_id))
    }

    /// Whether a span is of the kind that a healthy trace is rooted at.
    #[must_use]
    pub fn is_front_door(&self, span: &Span) -> bool {
        span.service == self.topology.front_door.name() && span.kind == SpanKind::Server
    }

    /// The front door's span of this claim.
    pub(crate) fn front(&self) -> Option<&'a Span> {
        self.evidence().receivers(self.topology.front_door.name()).find(|span| self.is_front_door(span))
    }

    /// Every root other than the front door's, and those that are accounted for: a caller's, which is no part of the
    /// chain, and those that are tied to the claim by a link.
    pub(crate) fn stray_roots(&self) -> impl Iterator<Item = &'a Span> {
        let callers: Vec<_> = self.caller().map(|caller| self.evidence().lineage(caller).collect()).unwrap_or_default();
        let tied = self.tied_roots();
        let accounted = move |root: &&Span| callers.contains(root) || tied.contains(root);
        self.evidence().roots().filter(|root| !self.is_front_door(root)).filter(move |root| !accounted(root))
    }

    /// The span above the front door's, if it was received.
    pub(crate) fn caller(&self) -> Option<&'a Span> {
        self.front().and_then(|front| self.evidence().lineage(front).nth(1))
    }

    /// The roots that are tied to the claim by a link of their own or of a receiver below them: a batch begins a trace by
    /// design, and may hold messages of several claims.
    pub(crate) fn tied_roots(&self) -> Vec<&'a Span> {
        let evidence = self.evidence();
        let linked = self.inner_rows().filter(|row| row.linked && row.parent != Some(ParentUsed::Sender));
        let above = linked.filter_map(|row| evidence.lineage(self.receiver(row)?).last());
        above.chain(self.linking_roots()).collect()
    }

    /// The receiving roots that link to a span of the claim themselves.
    pub(crate) fn linking_roots(&self) -> impl Iterator<Item = &'a Span> {
        let evidence = self.evidence();
        let links = |root: &Span| root.links.iter().any(|link| evidence.span(link.trace_id, link.span_id).is_some());
        evidence.roots().filter(move |root| root.receives() && !self.is_front_door(root) && links(root))
    }

    /// Whether the claim came in by this span: the front door's, and not known to be another claim's.
    pub(crate) fn is_entry(&self, span: &Span) -> bool {
        self.is_front_door(span) && span.claim_id().is_none_or(|_| self.evidence().owns(span))
    }

    /// How often the claim came in at the front door as a new trace.
    pub(crate) fn entries(&self) -> usize {
        self.evidence().roots().filter(|root| self.is_entry(root)).count()
    }

    /// Whether this is the front door's span below a span of its caller, which is no part of the chain. A front door that
    /// records its headers says so; another's parent can only be a caller.
    pub(crate) fn has_caller(&self, span: &Span) -> bool {
        let caller =
            |(_, context): (_, Context)| span.parent_span_id.is_some_and(|it| context.names(span.trace_id, it));
        let named = recorded(&span.attributes).contexts().any(caller);
        self.is_front_door(span) && span.parent_span_id.is_some() && (named || !span.records_everything())
    }

    /// The status with which the front door refused the claim: then what was not reached is not missing.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.front()?.response_status().filter(|status| *status >= 400)
    }

    /// What every claim leaves and was not received of this one. Spans inside a service are asked only of services whose
    /// instrumentation is the lab's own: others name their work as they like.
    /// Nothing is missing of a claim that was refused.
    pub fn not_received(&self) -> impl Iterator<Item = NotReceived> {
        let owed = self.refused().is_none();
        let front = self.front().is_none().then_some(NotReceived::FrontDoor(self.topology.front_door));
        let receivers = self.inner_rows().filter(|row| !row.received.is_seen());
        let receivers = receivers.map(|row| NotReceived::Receiver(row.hop));
        let late = self.topology.late_spans.iter().filter(|late| self.expects(late) && !self.has_late(late));
        front.into_iter().chain(receivers).chain(late.map(NotReceived::Late)).filter(move |_| owed)
    }

    fn expects(&self, late: &InsideSpan) -> bool {
        let mut own = self.evidence().spans().filter(|span| span.service == late.service.name()).peekable();
        own.peek().is_none() || own.any(Span::records_everything)
    }

    /// Whether spans of a service were received that are the lab's own: then none of it are found otherwise than by their id.
    pub(crate) fn is_ours(&self, service: Service) -> bool {
        self.evidence().spans().any(|span| span.service == service.name() && span.records_everything())
    }

    fn has_late(&self, late: &InsideSpan) -> bool {
        let is = |span: &Span| span.service == late.service.name() && span.name == late.name;
        self.evidence().spans().any(|span| is(span) && self.evidence().owns(span))
    }

    /// Whether the claim's own spans are all there, judging by what every claim leaves: the front door's, the receiver of every hop
    /// that ends at an SDK and the spans that come late were received, in whichever trace; no parent within the chain is
    /// missing, and the source left nothing out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let arrived = self.evidence().missing_parents().all(|span| self.has_caller(span));
        self.not_received().next().is_none() && arrived && !self.evidence().leaves_out()
    }

    /// The receiver, if its application could not read the tenant though the one that called it could, and what was sent
    /// has a place for baggage: formats of trace identity alone have none. A receiver that records less than our own
    /// tells nothing by its silence.
    pub(crate) fn tenant_lost(&self, row: &HopRow) -> Option<&'a Span> {
        let receiver = self.receiver(row)?;
        let known = self.sender_knows_tenant(row);
        let formats = if row.sent.formats.is_empty() { &row.received.formats } else { &row.sent.formats };
        let identity_alone = |format: &Format| format.is_identity() && *format != Format::TraceContext;
        let has_place = formats.is_empty() || !formats.iter().all(identity_alone);
        let lost = row.is_joined() && known && has_place && !read_tenant(receiver);
        (lost && receiver.records_everything() && receiver.succeeded()).then_some(receiver)
    }

    /// Whether the application that called could read the tenant.
    fn sender_knows_tenant(&self, row: &HopRow) -> bool {
        let could_read = |span: &Span| read_tenant(span) || was_sent_tenant(span);
        self.sender(row).is_some_and(|sender| {
            self.evidence().lineage(sender).take_while(|span| span.service == sender.service).any(could_read)
        })
    }

    /// What became of the baggage on a hop: what the application read at both ends counts more than headers, since a receiver
    /// may drop what arrived. A receiver that records less than our own tells nothing by its silence.
    #[must_use]
    pub fn baggage_on(&self, row: &HopRow) -> BaggageOn {
        let (sent, received) = (!row.sent.baggage.is_empty(), !row.received.baggage.is_empty());
        let tenant = self.sender_knows_tenant(row) || row.sent.baggage.contains_key(TENANT);
        if self.leaks().any(|leak| leak.hop == row.hop) {
            return BaggageOn::Leaking;
        }
        let dropped = BaggageOn::Dropped { on_record: sent || received };
        match self.receiver(row) {
            // What stays inside is not dropped.
            None if !row.hop.to.has_sdk() && !row.is_unseen() => match (sent, row.received.is_seen(), received) {
                (_, _, true) | (true, false, _) => BaggageOn::Carried,
                (true, true, false) => dropped,
                (false, _, false) => BaggageOn::None,
            },
            None => BaggageOn::NotKnown,
            Some(receiver) if read_tenant(receiver) => BaggageOn::Carried,
            Some(receiver) if receiver.records_everything() && receiver.succeeded() => match (tenant, sent, received) {
                (true, _, _) | (false, true, false) => dropped,
                (false, _, true) => BaggageOn::Carried,
                (false, false, false) => BaggageOn::None,
            },
            Some(_) if received => BaggageOn::Carried,
            Some(_) if tenant || sent => BaggageOn::NotKnown,
            Some(_) => BaggageOn::None,
        }
    }

    /// The front door's span, if the caller sent the tenant and the application could not read it.
    pub(crate) fn tenant_unread_at_the_door(&self) -> Option<&'a Span> {
        let sent = |span: &&Span| recorded(&span.attributes).baggage().contains_key(TENANT);
        let reads = |front: &&Span| front.records_everything() && front.succeeded();
        self.front().filter(reads).filter(|front| !read_tenant(front)).filter(sent)
    }

    /// The receivers of this claim whose application read the tenant, and those whose did not: of those that say so.
    pub(crate) fn reads_of_tenant(&self) -> (Vec<&'a Span>, Vec<&'a Span>) {
        let receivers = self.front().into_iter().chain(self.inner_rows().filter_map(|row| self.receiver(row)));
        receivers.filter(|span| read_tenant(span) || span.records_everything()).partition(|span| read_tenant(span))
    }

    /// Baggage that left the company and by its key is a secret; the third party's record counts, without one what was
    /// sent.
    pub fn leaks(&self) -> impl Iterator<Item = Leak<'_>> {
        let outside = self.rows.iter().filter(|row| !row.hop.to.has_sdk());
        let side = outside.map(|row| (row.hop, if row.received.is_seen() { &row.received } else { &row.sent }));
        let leaks = side.flat_map(|(hop, side)| side.baggage.keys().map(move |key| Leak { hop, key }));
        leaks.filter(|leak| is_secret(leak.key))
    }

    /// The roots of a service that receive nothing, and are not known to be another claim's.
    pub(crate) fn roots_inside(&self, service: Service) -> impl Iterator<Item = &'a Span> {
        let evidence = self.evidence();
        let ours = |span: &&Span| span.claim_id().is_none_or(|_| evidence.owns(span));
        let tied = self.tied_roots();
        let roots = evidence.roots().filter(move |span| span.service == service.name() && !span.receives());
        roots.filter(ours).filter(move |root| !tied.contains(root))
    }

    /// The first span of a service that is below a span of another claim, or the other way round, within the
    /// process; with the other claim. Between two services that is a matter of the hop.
    pub(crate) fn stale(&self, service: Service) -> Option<(&'a Span, &'a str)> {
        let mut strays = self.evidence().spans().filter_map(|span| self.below_another_claim(span));
        strays.find(|(stray, _)| stray.service == service.name())
    }

    /// If this span carries one claim and the nearest span above it another: the span below that one, and its claim.
    fn below_another_claim(&self, span: &'a Span) -> Option<(&'a Span, &'a str)> {
        let claim = span.claim_id()?;
        let mut below = span;
        for above in self.evidence().lineage(span).skip(1) {
            if let Some(other) = above.claim_id() {
                let mixed = other != claim && below.service == above.service && !below.receives();
                let ours = [claim, other].contains(&self.evidence().claim_id.as_str());
                return (mixed && ours).then_some((below, other));
            }
            below = above;
        }
        None
    }

    /// Whether a span of one claim is below a span of another in this fragment. Claims beside each other, below a caller
    /// or in a batch, do not mix.
    pub(crate) fn mixes(&self, fragment: &Fragment) -> bool {
        let above = |span: &Span, claim: &str| {
            let mut claims = self.evidence().lineage(span).skip(1).filter_map(Span::claim_id);
            claims.next().is_some_and(|other| other != claim)
        };
        fragment.spans().any(|span| span.claim_id().is_some_and(|claim| above(span, claim)))
    }

    /// The fragments that also hold spans of other claims.
    pub(crate) fn mixed(&self) -> impl Iterator<Item = &'a Fragment> {
        self.evidence().fragments.iter().filter(|fragment| !fragment.other_claims.is_empty())
    }

    /// The fragments in which ancestors lead back to a span.
    pub(crate) fn cyclic(&self) -> impl Iterator<Item = &'a Fragment> {
        self.evidence().fragments.iter().filter(|fragment| fragment.placed(Position::Cycle).next().is_some())
    }
}

fn read_tenant(span: &Span) -> bool {
    span.attributes.contains_key(TENANT)
}

/// A service of somebody else does not say what it read: what it received is all that is known.
fn was_sent_tenant(span: &Span) -> bool {
    !span.records_everything() && span.receives() && recorded(&span.attributes).baggage().contains_key(TENANT)
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key == "authorization" || ["token", "password", "secret", "session"].iter().any(|word| key.contains(word))
}
