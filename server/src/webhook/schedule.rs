//! When a delivery is tried again, and what counts as delivered: the documented numbers.
//! Not here: the queue (`store`) and the loop (`worker`).

use std::time::Duration;

/// Attempts in all: the first and five retries.
pub const ATTEMPTS_MAX: u32 = 6;

/// Minutes from the end of each attempt to the start of the next.
const RETRY_DELAY_MINUTES: [u64; 5] = [1, 5, 15, 60, 360];

/// How long after the end of attempt number `attempts_made` the next one is due: 1 min, 5 min,
/// 15 min, 1 h, 6 h; `None` after the sixth, which was the last. Before any attempt it is due at
/// once.
pub fn retry_delay(attempts_made: u32) -> Option<Duration> {
    let Some(retry) = attempts_made.checked_sub(1) else { return Some(Duration::ZERO) };
    let minutes = RETRY_DELAY_MINUTES.get(usize::try_from(retry).ok()?)?;
    Some(Duration::from_secs(minutes * 60))
}

/// Whether the receiver's HTTP status means that it has the event: any 2xx.
pub fn is_delivered(status: u16) -> bool {
    (200..300).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_at_the_documented_times() {
        let seconds: Vec<_> =
            (0..=8).map(|made| retry_delay(made).map(|delay| delay.as_secs())).collect();
        let documented =
            [Some(0), Some(60), Some(300), Some(900), Some(3_600), Some(21_600), None, None, None];
        assert_eq!(seconds, documented);
        assert_eq!(retry_delay(ATTEMPTS_MAX - 1), Some(Duration::from_secs(6 * 3_600)));
        assert_eq!(retry_delay(ATTEMPTS_MAX), None);
        assert_eq!(retry_delay(u32::MAX), None);
    }

    #[test]
    fn any_2xx_is_a_success_and_nothing_else() {
        for (status, delivered) in
            [(199, false), (200, true), (204, true), (299, true), (301, false), (410, false)]
        {
            assert_eq!(is_delivered(status), delivered, "{status}");
        }
    }
}
