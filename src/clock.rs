//! Time, from a clock that tests can set.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// Where the wall-clock time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now, UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still where it was set.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// How long to wait before asking again about a job that has been running for `elapsed`:
/// 0.3 s at first, then 5 % of the time elapsed, never under 0.3 s nor over 15 s.
pub fn poll_interval(elapsed: Duration) -> Duration {
    (elapsed / 20).clamp(Duration::from_millis(300), Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_slows_down_with_time() {
        let seconds = |value: u64| poll_interval(Duration::from_secs(value));
        assert_eq!(seconds(0), Duration::from_millis(300));
        assert_eq!(seconds(60), Duration::from_secs(3));
        assert_eq!(seconds(3600), Duration::from_secs(15));
    }
}
