//! What a store may take beside the traces that it holds: each share stands here, and together they are what is promised.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Resident memory is promised to be at most twice the bound of all traces and 64 MiB, so that at the usual 64 MiB of traces
/// this is left for everything else.
const BESIDE_BYTES: usize = 128 * MIB;
const _: () = assert!(
    PROCESS_BYTES + DECODING_BYTES + RECEIVING_BYTES + SENDING_BYTES + READING_BYTES + CONNECTIONS_BYTES
        <= BESIDE_BYTES,
    "the shares must add up to what is promised"
);

/// Code, threads, and what the allocator keeps.
const PROCESS_BYTES: usize = 11 * MIB;

/// The largest request taken, in bytes after decompression: twice what the Collector takes unless told otherwise.
pub const MAX_REQUEST_BYTES: usize = 8 * MIB;
/// The most that a request may take decoded, without its texts: 8,192 spans (a batch of the Collector) of 18 attributes.
pub(crate) const MAX_DECODED_BYTES: usize = 32 * MIB;
/// One request at a time: decompressed, its texts once more, and the structures around them.
const DECODING_BYTES: usize = 2 * MAX_REQUEST_BYTES + MAX_DECODED_BYTES;

/// Of each body and each answer so much is small: it has its own room, which nothing large can take.
pub(crate) const SMALL_BYTES: usize = 32 * KIB;
/// The bodies of all requests.
pub(crate) const RECEIVING: Shares = Shares { small: 2 * MIB, large: 9 * MIB };
const RECEIVING_BYTES: usize = RECEIVING.small + RECEIVING.large;
/// All answers that are being made or that clients have not taken yet.
pub(crate) const SENDING: Shares = Shares { small: 2 * MIB, large: 16 * MIB };
const SENDING_BYTES: usize = SENDING.small + SENDING.large;

/// How many reads run at once; the others wait.
pub(crate) const MAX_READS: usize = 1;
/// The longest answer of a search, which gets room once it is made.
pub(crate) const MAX_SEARCH_ANSWER_BYTES: usize = 8 * MIB;
/// The bound of one trace unless told otherwise. A read may look at one that is evicted meanwhile.
pub(crate) const MAX_TRACE_BYTES: usize = 16 * MIB;
const READING_BYTES: usize = MAX_READS * (MAX_SEARCH_ANSWER_BYTES + MAX_TRACE_BYTES);

/// How many connections the owner of the listeners should allow, over all of them,
pub const CONNECTIONS: usize = 64;
/// and how many requests at once on one of HTTP/2,
pub const STREAMS: u32 = 4;
/// and how many bytes to read ahead, which a head may not exceed.
pub const READ_AHEAD_BYTES: usize = 16 * KIB;
/// A window of HTTP/2, and the headers of each request, which take about three times their length.
const CONNECTION_BYTES: usize = 64 * KIB + STREAMS as usize * 3 * READ_AHEAD_BYTES;
const CONNECTIONS_BYTES: usize = CONNECTIONS * CONNECTION_BYTES;

/// How much there is for what is small and for what is large, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    pub(crate) small: usize,
    pub(crate) large: usize,
}

/// What is left of the two shares; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    shares: Shares,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Room that is taken, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

// === impl Room ===

impl Room {
    pub(crate) fn new(shares: Shares) -> Self {
        let share = |bytes| Arc::new(Semaphore::new(bytes));
        Self { shares, small: share(shares.small), large: share(shares.large) }
    }

    /// Waits until `bytes` more are free for something that is `length` bytes long with them. What could never be had is cut
    /// to the whole share.
    pub(crate) async fn take(&self, taken: &mut Taken, length: usize, bytes: usize) {
        let (share, most, permit) = match length <= SMALL_BYTES {
            true => (&self.small, SMALL_BYTES, &mut taken.small),
            false => (&self.large, self.shares.large, &mut taken.large),
        };
        let bytes = u32::try_from(bytes.min(most)).unwrap_or(u32::MAX);
        // The semaphores are never closed.
        if let Ok(more) = Arc::clone(share).acquire_many_owned(bytes).await {
            match permit {
                Some(all) => all.merge(more),
                none => *none = Some(more),
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> (usize, usize) {
        (self.small.available_permits(), self.large.available_permits())
    }
}

// === impl Taken ===

impl Taken {
    /// Gives back what something that is `length` bytes long does not need.
    pub(crate) fn shrink_to(&mut self, length: usize) {
        if let Some(large) = &mut self.large {
            drop(large.num_permits().checked_sub(length).and_then(|unused| large.split(unused)));
        }
    }
}
