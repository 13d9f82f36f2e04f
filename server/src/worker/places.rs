//! The places of deliveries under way in this process, and which merchants hold them: receivers that do
//! not answer hold up their own merchant and leave places for all others. Not here: sending (`deliver`).

use uuid::Uuid;

use crate::held::{Counts, Held, Hold};

/// Places, some of which are held.
#[derive(Clone)]
pub struct Places {
    places_max: usize,
    held: Held<Uuid>,
}

/// What may be begun now.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    /// How many deliveries.
    pub places: usize,
    /// Merchants that hold as many places as are left for everybody: nothing of theirs.
    pub crowding: Vec<Uuid>,
}

/// A held place, free again when this is dropped.
pub type Place = Hold<Uuid>;

impl Places {
    /// `places_max` places, at least one.
    pub fn new(places_max: usize) -> Self {
        Self { places_max: places_max.max(1), held: Held::default() }
    }

    /// What may be begun: half of what is free at the most, and nothing of a merchant that holds as much
    /// as is free. So whoever takes all that it may leaves a part of the places, the next one a part of
    /// that, and the one after them finds some.
    pub fn room(&self) -> Room {
        self.held.read(|held| {
            let free = self.free(held);
            let crowds = |(merchant, count): (&Uuid, usize)| (count >= free).then_some(*merchant);
            Room { places: free.div_ceil(2), crowding: held.iter().filter_map(crowds).collect() }
        })
    }

    /// Gives a place of this merchant's back. Whether somebody may begin something who could not before, or
    /// the merchant could all along: what waited for the delivery that ended may be due.
    pub fn give_back(&self, place: Place, merchant_id: Uuid) -> bool {
        let before = self.room().crowding;
        drop(place);
        let after = self.room().crowding;
        !after.contains(&merchant_id) || before.iter().any(|merchant| !after.contains(merchant))
    }

    fn free(&self, held: &Counts<Uuid>) -> usize {
        self.places_max.saturating_sub(held.iter().map(|(_, count)| count).sum())
    }

    /// Takes a place for a delivery of this merchant's.
    pub fn take(&self, merchant_id: Uuid) -> Place {
        self.held.take(merchant_id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Takes all that this merchant may have, as one claim after the other would.
    fn greedy(places: &Places, merchant: Uuid) -> Vec<Place> {
        let mut taken = Vec::new();
        loop {
            let room = places.room();
            if room.places == 0 || room.crowding.contains(&merchant) {
                return taken;
            }
            taken.extend((0..room.places).map(|_| places.take(merchant)));
        }
    }

    #[test]
    fn whoever_takes_all_it_may_leaves_places_for_the_next() {
        let places = Places::new(64);
        let merchants: Vec<Uuid> = (1..=7).map(Uuid::from_u128).collect();
        let taken: Vec<Vec<Place>> =
            merchants.iter().map(|merchant| greedy(&places, *merchant)).collect();
        let counts: Vec<usize> = taken.iter().map(Vec::len).collect();
        assert_eq!(counts, [32, 16, 8, 4, 2, 1, 1]);
        assert_eq!(places.room().places, 0);
        drop(taken);
        assert_eq!(places.room(), Room { places: 32, crowding: Vec::new() });
    }

    #[test]
    fn a_place_that_comes_back_is_news_for_whoever_may_begin_something_by_it() {
        let places = Places::new(64);
        let [much, little] = [1, 2].map(Uuid::from_u128);
        let mut of_much: Vec<Place> = (0..60).map(|_| places.take(much)).collect();
        let _of_little = [places.take(little), places.take(little)];
        assert_eq!(places.room().crowding.len(), 2);
        let mut back = || places.give_back(of_much.pop().unwrap(), much);
        assert!(back(), "three are free: the other holds but two");
        assert!(!back(), "nobody may begin what could not be begun before");
        while places.room().crowding.contains(&much) {
            assert_eq!(back(), !places.room().crowding.contains(&much));
        }
        assert!(back(), "what waited for it may be due");
    }

    #[test]
    fn one_place_serves_everybody_in_turn() {
        let places = Places::new(0);
        for merchant in [1, 1, 2].map(Uuid::from_u128) {
            assert_eq!(greedy(&places, merchant).len(), 1);
        }
    }
}
