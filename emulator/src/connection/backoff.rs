//! How long a server waits before it dials again: the two tables of the real server
//! (protocol document 1.7), each delay spread uniformly over 50 % to 150 %.

use std::time::Duration;

/// Waits between first connections, in milliseconds.
const FIVE_SECONDS: [u64; 11] = [500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000];

/// Waits between reconnections, in milliseconds.
const TWENTY_SECONDS: [u64; 44] = [
    500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 5750, 6000, 6500, 7000,
    7500, 8000, 8500, 9000, 9500, 10000, 10500, 10750, 11000, 11500, 12000, 12500, 13000, 13500,
    14000, 14500, 15000, 15500, 15750, 16000, 16500, 17000, 17500, 18000, 18500, 19000, 19500,
    20000,
];

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Before the first connection ever.
    First,
    /// After a connection was lost.
    Again,
}

impl Policy {
    /// The wait number `n`, counted from 1, spread by `dice` (any 64 random bits).
    #[must_use]
    pub fn delay(self, n: u32, dice: u64) -> Duration {
        let table: &[u64] = match self {
            Self::First => &FIVE_SECONDS,
            Self::Again => &TWENTY_SECONDS,
        };
        let middle = table[(n as usize).min(table.len() - 1)];
        Duration::from_millis(middle / 2 + dice % middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: Policy, n: u32, low_ms: u64, high_ms: u64) {
        assert_eq!(policy.delay(n, 0), Duration::from_millis(low_ms));
        let middle = high_ms - low_ms;
        assert_eq!(policy.delay(n, middle - 1), Duration::from_millis(high_ms - 1));
        for dice in (0..u64::MAX).step_by(usize::MAX / 100) {
            let delay = policy.delay(n, dice);
            assert!(delay >= Duration::from_millis(low_ms));
            assert!(delay < Duration::from_millis(high_ms));
        }
    }

    #[test]
    fn waits_follow_the_tables_and_stay_within_half_and_one_and_a_half() {
        check(Policy::First, 1, 375, 1125);
        check(Policy::First, 10, 2500, 7500);
        check(Policy::First, 1000, 2500, 7500);
        check(Policy::Again, 1, 375, 1125);
        check(Policy::Again, 12, 2875, 8625);
        check(Policy::Again, 43, 10000, 30000);
        check(Policy::Again, 1000, 10000, 30000);
    }
}
