//! Which traces may hold an attribute of some value: an inverted index, in blocks of traces as they arrived.
//!
//! Traces go in the order in which they came, so a block is dropped whole and nothing is ever taken out of one.

use std::collections::{HashMap, VecDeque, hash_map};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

const BLOCK_TRACES: u64 = 256;
const BLOCK_WORDS: usize = BLOCK_TRACES as usize / 64;
/// How many values a block indexes, so that its memory is bounded even if its traces come and go with gigabytes.
const MAX_BLOCK_VALUES: usize = 1 << 16;

/// The value of an attribute, in a form that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    /// The bits of a double: in TraceQL an integer can equal a double.
    Number(u64),
    Bool(bool),
}

/// What a trace may hold and a search may ask for: a value, of an attribute or (without a key) of a span's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) value: Scalar<'a>,
}

/// A term's hash. That two terms share one costs a look at a trace and changes no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u64);

/// Makes fingerprints, by a secret of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints(RandomState);

/// Traces are known by their place in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Index {
    blocks: VecDeque<Block>,
}

/// Where an index notes what one trace holds.
#[derive(Debug)]
pub(crate) struct Entry<'i> {
    block: &'i mut Block,
    slot: u8,
}

#[derive(Debug)]
struct Block {
    first: u64,
    last: u64,
    postings: HashMap<Fingerprint, Posting, RandomState>,
    shared: Vec<Bits>,
    /// Traces that hold more than is indexed: every search has to look at them.
    incomplete: Bits,
}

/// The traces of a block that hold a value; most values are in one.
#[derive(Clone, Copy, Debug)]
enum Posting {
    One(u8),
    /// Their places in [`Block::shared`].
    Many(u32),
}

/// A bit for each trace of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Bits([u64; BLOCK_WORDS]);

// === impl Scalar ===

impl Scalar<'_> {
    pub(crate) fn number(number: f64) -> Self {
        // Adding zero makes -0 the zero that it equals.
        Self::Number((number + 0.0).to_bits())
    }
}

// === impl Fingerprints ===

impl Fingerprints {
    pub(crate) fn of(&self, term: Term<'_>) -> Fingerprint {
        Fingerprint(self.0.hash_one(term))
    }
}

// === impl Index ===

impl Index {
    /// A trace that is new must be the last in the order of arrival.
    pub(crate) fn entry(&mut self, arrival: u64) -> Option<Entry<'_>> {
        if self.blocks.back().is_none_or(|block| block.has_no_room_for(arrival)) {
            self.blocks.push_back(Block::new(arrival));
        }
        let after = self.blocks.partition_point(|block| block.first <= arrival);
        let block = self.blocks.get_mut(after.checked_sub(1)?)?;
        block.last = block.last.max(arrival);
        let slot = u8::try_from(arrival - block.first).ok()?;
        Some(Entry { block, slot })
    }

    /// Forgets the traces before this one, or some of them.
    pub(crate) fn forget_before(&mut self, arrival: u64) {
        while self.blocks.front().is_some_and(|block| block.last < arrival) {
            self.blocks.pop_front();
        }
    }

    /// Every trace that holds all of `wanted`, which must not be empty, among some that do not.
    pub(crate) fn candidates(&self, wanted: &[Fingerprint]) -> impl Iterator<Item = u64> {
        self.blocks.iter().flat_map(|block| {
            let Bits(words) = block.candidates(wanted);
            let bits = words.into_iter().zip((0..).step_by(64)).filter(|(word, _)| *word != 0);
            bits.flat_map(move |(word, offset)| {
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| block.first + offset + bit)
            })
        })
    }
}

// === impl Entry ===

impl Entry<'_> {
    pub(crate) fn note(&mut self, fingerprint: Fingerprint) {
        let is_full = self.block.postings.len() >= MAX_BLOCK_VALUES;
        match self.block.postings.entry(fingerprint) {
            hash_map::Entry::Vacant(_) if is_full => self.block.incomplete.set(self.slot),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Posting::One(self.slot));
            }
            hash_map::Entry::Occupied(mut occupied) => match *occupied.get() {
                Posting::One(only) if only == self.slot => {}
                Posting::One(only) => {
                    let Ok(index) = u32::try_from(self.block.shared.len()) else { return };
                    self.block.shared.push(Bits::of(&[only, self.slot]));
                    occupied.insert(Posting::Many(index));
                }
                Posting::Many(index) => {
                    if let Some(bits) = self.block.shared.get_mut(index as usize) {
                        bits.set(self.slot);
                    }
                }
            },
        }
    }

    /// The trace holds more than can be noted.
    pub(crate) fn note_incomplete(&mut self) {
        self.block.incomplete.set(self.slot);
    }
}

// === impl Block ===

impl Block {
    fn new(first: u64) -> Self {
        Self { first, last: first, postings: HashMap::default(), shared: Vec::new(), incomplete: Bits::default() }
    }

    /// Half of the values are for those that its traces receive later.
    fn has_no_room_for(&self, arrival: u64) -> bool {
        arrival > self.last && (arrival - self.first >= BLOCK_TRACES || self.postings.len() >= MAX_BLOCK_VALUES / 2)
    }

    fn candidates(&self, wanted: &[Fingerprint]) -> Bits {
        let mut all = Bits([u64::MAX; BLOCK_WORDS]);
        for fingerprint in wanted {
            let mut some = self.incomplete;
            match self.postings.get(fingerprint) {
                None => {}
                Some(Posting::One(slot)) => some.set(*slot),
                Some(Posting::Many(index)) => some.add(self.shared.get(*index as usize).copied().unwrap_or_default()),
            }
            all.keep(some);
        }
        all
    }
}

// === impl Bits ===

impl Bits {
    fn of(slots: &[u8]) -> Self {
        let mut bits = Self::default();
        slots.iter().for_each(|slot| bits.set(*slot));
        bits
    }

    fn set(&mut self, slot: u8) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    fn keep(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: &Index, wanted: &[u64]) -> Vec<u64> {
        let wanted = wanted.iter().map(|value| Fingerprint(*value)).collect::<Vec<_>>();
        index.candidates(&wanted).collect()
    }

    #[test]
    fn a_value_leads_to_its_traces_and_to_no_others() {
        let mut index = Index::default();
        for arrival in 0..1_000 {
            let mut entry = index.entry(arrival).unwrap();
            entry.note(Fingerprint(arrival / 2));
            entry.note(Fingerprint(10_000 + arrival % 300));
        }
        assert_eq!(found(&index, &[150]), [300, 301], "two traces of one block");
        assert_eq!(found(&index, &[10_001]), [1, 301, 601, 901], "traces of several blocks");
        assert_eq!(found(&index, &[150, 10_001]), [301], "only those that hold both");
        assert_eq!(found(&index, &[20_000]), [0; 0], "nobody holds it");
        index.entry(3).unwrap().note(Fingerprint(20_000));
        assert_eq!(found(&index, &[20_000]), [3], "what comes late is noted with its trace");
        index.forget_before(600);
        assert_eq!(found(&index, &[10_001]), [601, 901], "whole blocks are gone");
    }

    #[test]
    fn the_memory_of_a_block_is_bounded() {
        let mut index = Index::default();
        let mut entry = index.entry(0).unwrap();
        let more = MAX_BLOCK_VALUES as u64 + 1;
        (0..more).for_each(|value| entry.note(Fingerprint(value)));
        assert_eq!(index.blocks[0].postings.len(), MAX_BLOCK_VALUES, "no more are noted");
        assert_eq!(found(&index, &[more]), [0], "and so the trace must be looked at");
        index.entry(1).unwrap().note(Fingerprint(more));
        assert_eq!(index.blocks.len(), 2, "the next trace has its own block");
        assert_eq!(found(&index, &[more]), [0, 1], "where its values are noted");
    }
}
