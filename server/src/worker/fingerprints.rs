//! A set of 64-bit fingerprints that takes eleven to fifteen bytes for each, also while it grows: many
//! small tables, each of which grows by a quarter and by itself. A sieve of a byte and a half for
//! each answers nearly all that is not there: it stays in the processor's cache where the tables can not.
//! Not here: what is fingerprinted.

/// Tables; the fingerprint's first bits choose one.
const TABLES: usize = 1 << TABLE_BITS;
const TABLE_BITS: u32 = 10;
/// Slots of a table that holds anything.
const SLOTS_MIN: usize = 16;
/// Of so many slots ...
const LOAD_SLOTS: usize = 5;
/// ... at most so many are taken.
const LOAD_TAKEN_MAX: usize = 4;
/// Slots that share a word of the sieve.
const SIEVED_SLOTS: usize = 8;

/// The set.
#[derive(Debug)]
pub struct Fingerprints {
    tables: Vec<Table>,
}

/// Open addressing with linear probing; zero is a free slot.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<u64>,
    /// A Bloom filter of one word for every [`SIEVED_SLOTS`]: the marks of what starts in those slots.
    sieve: Vec<u64>,
    taken: usize,
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect() }
    }
}

impl Fingerprints {
    /// Adds one.
    pub fn insert(&mut self, fingerprint: u64) {
        let table = &mut self.tables[table_of(fingerprint)];
        if (table.taken + 1) * LOAD_SLOTS > table.slots.len() * LOAD_TAKEN_MAX {
            table.grow();
        }
        table.insert(taken(fingerprint));
    }

    /// Whether it was added.
    pub fn contains(&self, fingerprint: u64) -> bool {
        self.tables[table_of(fingerprint)].contains(taken(fingerprint))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.taken).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that hold them.
    pub fn bytes(&self) -> usize {
        let words = |table: &Table| table.slots.capacity() + table.sieve.capacity();
        self.tables.iter().map(|one| words(one) * size_of::<u64>() + size_of::<Table>()).sum()
    }
}

impl Table {
    fn insert(&mut self, fingerprint: u64) {
        let mut slot = self.first_slot(fingerprint);
        self.sieve[slot / SIEVED_SLOTS] |= marks_of(fingerprint);
        while self.slots[slot] != 0 {
            if self.slots[slot] == fingerprint {
                return;
            }
            slot = self.next_slot(slot);
        }
        self.slots[slot] = fingerprint;
        self.taken += 1;
    }

    fn contains(&self, fingerprint: u64) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let slot = self.first_slot(fingerprint);
        let marks = marks_of(fingerprint);
        self.sieve[slot / SIEVED_SLOTS] & marks == marks && self.is_at(slot, fingerprint)
    }

    /// Whether it stands in this slot or one that it was pushed on to. Apart and rare: the sieve alone
    /// is what a look-up of a stranger runs through.
    #[cold]
    fn is_at(&self, mut slot: usize, fingerprint: u64) -> bool {
        while self.slots[slot] != 0 {
            if self.slots[slot] == fingerprint {
                return true;
            }
            slot = self.next_slot(slot);
        }
        false
    }

    /// The bits after those that chose the table, spread over the slots.
    fn first_slot(&self, fingerprint: u64) -> usize {
        let spread = u128::from(fingerprint << TABLE_BITS) * self.slots.len() as u128;
        // Below the number of slots: the product is below it times 2^64.
        (spread >> u64::BITS) as usize
    }

    const fn next_slot(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() + self.slots.len() / 4).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![0; larger]);
        self.sieve = vec![0; larger.div_ceil(SIEVED_SLOTS)];
        self.taken = 0;
        for fingerprint in old.into_iter().filter(|fingerprint| *fingerprint != 0) {
            self.insert(fingerprint);
        }
    }
}

const fn table_of(fingerprint: u64) -> usize {
    (fingerprint >> (u64::BITS - TABLE_BITS)) as usize
}

/// Four of a word's bits, by the last bits of the fingerprint: the first ones chose table and slot.
const fn marks_of(fingerprint: u64) -> u64 {
    1 << (fingerprint & 63)
        | 1 << (fingerprint >> 6 & 63)
        | 1 << (fingerprint >> 12 & 63)
        | 1 << (fingerprint >> 18 & 63)
}

/// As it stands in a slot: zero would be a free one.
const fn taken(fingerprint: u64) -> u64 {
    if fingerprint == 0 { 1 } else { fingerprint }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// A sequence without a pattern that a table could like (SplitMix64).
    fn spread(n: u64) -> u64 {
        let mut mixed = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    proptest! {
        #[test]
        fn it_holds_what_was_added_and_nothing_else(
            added in proptest::collection::vec(prop_oneof![any::<u64>(), 0_u64..64], 0..500),
            asked in proptest::collection::vec(prop_oneof![any::<u64>(), 0_u64..64], 0..100),
        ) {
            let mut set = Fingerprints::default();
            let mut model = HashSet::new();
            for fingerprint in added {
                set.insert(fingerprint);
                model.insert(taken(fingerprint));
            }
            prop_assert_eq!(set.len(), model.len());
            for fingerprint in asked.iter().chain(&model) {
                prop_assert_eq!(set.contains(*fingerprint), model.contains(&taken(*fingerprint)));
            }
        }
    }

    #[test]
    fn each_takes_at_most_sixteen_bytes_at_every_size_and_none_is_lost() {
        const MANY: u64 = 1_000_000;
        let mut set = Fingerprints::default();
        for n in 0..MANY {
            set.insert(spread(n));
            if n % 9_973 == 0 && n > 100_000 {
                assert!(set.bytes() <= 16 * set.len(), "{} bytes at {}", set.bytes(), set.len());
            }
        }
        assert_eq!(set.len() as u64, MANY);
        assert!((0..MANY).all(|n| set.contains(spread(n))));
        assert_eq!((MANY..2 * MANY).filter(|n| set.contains(spread(*n))).count(), 0);
    }
}
