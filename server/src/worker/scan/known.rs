//! Up to when every payment of a network is known, decided from turn to turn of its scanner. Not here:
//! reading the chain, and the cursor that the answer is written to.

use std::time::Duration;

use crate::domain::time::Micros;

/// Seconds without a turn that was answered after which it is not known any more what the node itself missed
/// meanwhile: it may have been down, and still lack blocks that it has not heard of.
const SILENCE_SECONDS_MAX: u64 = 60;

/// What one turn found out.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Business time at which it began.
    pub began: Micros,
    /// The system's time at which it ended.
    pub ended: Micros,
    /// See `ChainReader::is_current`.
    pub is_current: bool,
    /// Whether what a block took out of the mempool while it was read was seen too.
    pub is_whole: bool,
    /// The time that the newest block states.
    pub tip_at: Micros,
    /// See `ChainReader::settles_after`.
    pub settles_after: Option<Duration>,
    /// Business time up to which everything was known before.
    pub read_at: Micros,
}

/// What is remembered between turns.
#[derive(Debug, Default)]
pub struct Known {
    /// When the last turn began that saw everything the chain had by then, but for one block.
    began_before: Option<Micros>,
    /// The system's time at which the last turn ended that was read from a current node.
    ended_before: Option<Micros>,
    /// The system's time at which a silence was over, until the chain has shown that it goes on.
    resumed: Option<Micros>,
}

impl Known {
    /// The business time up to which every payment is known after this turn.
    pub fn after(&mut self, turn: &Turn) -> Micros {
        if !turn.is_current {
            // What was paid on the chain meanwhile is found when the node has it, by its blocks' time.
            self.began_before = None;
            return turn.read_at;
        }
        // What a block took out of the mempool before it was read was in neither, and is found when that
        // block is: by then everything is known up to the time at which this turn began.
        let before = self.began_before.replace(turn.began);
        let until = if turn.is_whole { turn.began } else { before.unwrap_or(turn.read_at) };
        if self.has_resumed(turn) { until.min(turn.tip_at).max(turn.read_at) } else { until }
    }

    /// Whether nobody can say yet that the node has what it missed in a silence: it has once it gives a block
    /// from after that, or when none came for so long that none was missed.
    fn has_resumed(&mut self, turn: &Turn) -> bool {
        let silence = match self.ended_before.replace(turn.ended) {
            Some(before) => turn.ended.since(before),
            None => turn.began.since(turn.read_at),
        };
        if silence > Duration::from_secs(SILENCE_SECONDS_MAX) {
            self.resumed = Some(turn.ended);
        }
        let waits = self.resumed.zip(turn.settles_after).is_some_and(|(resumed, settles_after)| {
            turn.tip_at < resumed && turn.ended.since(resumed) < settles_after
        });
        if !waits {
            self.resumed = None;
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLES_AFTER: Duration = Duration::from_secs(600);

    const fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    /// A turn of a node that keeps up, at this second, whose newest block is from that one.
    const fn turn(second: i64, tip: i64, read: i64) -> Turn {
        Turn {
            began: at(second),
            ended: at(second),
            is_current: true,
            is_whole: true,
            tip_at: at(tip),
            settles_after: Some(SETTLES_AFTER),
            read_at: at(read),
        }
    }

    #[test]
    fn after_a_silence_the_newest_block_says_how_much_is_known() {
        let mut known = Known::default();
        assert_eq!(known.after(&turn(1_000, 900, 990)), at(1_000));
        assert_eq!(known.after(&turn(1_060, 900, 1_000)), at(1_060));
        // Three hours away. What it missed comes block by block.
        assert_eq!(known.after(&turn(12_000, 900, 1_060)), at(1_060));
        assert_eq!(known.after(&turn(12_010, 5_000, 1_060)), at(5_000));
        assert_eq!(known.after(&turn(12_020, 11_999, 5_000)), at(11_999));
        assert_eq!(known.after(&turn(12_070, 12_001, 11_999)), at(12_070));
        assert_eq!(known.after(&turn(12_110, 12_001, 12_070)), at(12_110));
    }

    #[test]
    fn a_chain_without_a_new_block_for_long_has_missed_none() {
        let mut known = Known::default();
        assert_eq!(known.after(&turn(1_000, 900, 990)), at(1_000));
        assert_eq!(known.after(&turn(2_000, 900, 1_000)), at(1_000));
        for second in (2_060..2_600).step_by(60) {
            assert_eq!(known.after(&turn(second, 900, 1_000)), at(1_000), "{second}");
        }
        assert_eq!(known.after(&turn(2_600, 900, 1_000)), at(2_600));
    }

    #[test]
    fn a_start_after_a_silence_is_one() {
        assert_eq!(Known::default().after(&turn(2_000, 900, 1_000)), at(1_000));
        assert_eq!(Known::default().after(&turn(2_000, 1_500, 1_000)), at(1_500));
        assert_eq!(Known::default().after(&turn(1_060, 900, 1_000)), at(1_060), "a short one");
        let on_demand = Turn { settles_after: None, ..turn(2_000, 900, 1_000) };
        assert_eq!(Known::default().after(&on_demand), at(2_000), "no block need come");
    }

    #[test]
    fn turns_of_a_node_that_stands_still_are_no_answer() {
        let mut known = Known::default();
        assert_eq!(known.after(&turn(1_000, 900, 990)), at(1_000));
        for second in (1_050..=2_000).step_by(50) {
            let stalled = Turn { is_current: false, ..turn(second, 900, 1_000) };
            assert_eq!(known.after(&stalled), at(1_000));
        }
        assert_eq!(known.after(&turn(2_050, 1_500, 1_000)), at(1_500));
        assert_eq!(known.after(&turn(2_060, 2_055, 1_500)), at(2_060));
    }

    #[test]
    fn a_block_before_the_mempool_was_read_leaves_the_time_since_the_turn_before_open() {
        let mut known = Known::default();
        let broken = |second, read| Turn { is_whole: false, ..turn(second, second, read) };
        assert_eq!(known.after(&broken(1_000, 990)), at(990));
        assert_eq!(known.after(&broken(1_010, 990)), at(1_000));
        assert_eq!(
            known.after(&Turn { is_current: false, ..turn(1_020, 1_020, 1_000) }),
            at(1_000)
        );
        assert_eq!(known.after(&broken(1_030, 1_000)), at(1_000), "nothing was seen of it before");
        assert_eq!(known.after(&broken(1_040, 1_000)), at(1_030));
    }
}
