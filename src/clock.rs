//! Time, from a clock that tests can set.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

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

/// A time zone with the name that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// The zone that this machine is set to; UTC where it does not say by name.
    pub fn of_this_machine() -> Self {
        let zone = TimeZone::system();
        match zone.iana_name().filter(|name| !is_utc(name)) {
            Some(name) => Self { name: name.to_owned(), zone },
            None => Self::utc(),
        }
    }

    /// The zone of a name such as `Europe/Berlin`, as the IANA database has it.
    pub fn named(name: &str) -> Option<Self> {
        if is_utc(name) {
            return Some(Self::utc());
        }
        let zone = TimeZone::get(name).ok()?;
        let name = zone.iana_name()?.to_owned();
        Some(Self { zone, name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A moment as the clocks of this zone show it.
    pub fn at(&self, moment: Timestamp) -> Zoned {
        moment.to_zoned(self.zone.clone())
    }

    /// The first moment of a day in this zone.
    pub fn start_of(&self, day: jiff::civil::Date) -> Result<Timestamp, jiff::Error> {
        Ok(day.to_zoned(self.zone.clone())?.start_of_day()?.timestamp())
    }
}

fn is_utc(name: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "Etc/Unknown"].iter().any(|utc| utc.eq_ignore_ascii_case(name))
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
    fn days_begin_where_their_zone_says() {
        let berlin = Zone::named("europe/berlin").unwrap();
        assert_eq!(berlin.name(), "Europe/Berlin");
        let start = |day: &str| berlin.start_of(day.parse().unwrap()).unwrap().to_string();
        assert_eq!(start("2026-07-01"), "2026-06-30T22:00:00Z");
        assert_eq!(start("2026-12-01"), "2026-11-30T23:00:00Z");
        assert_eq!(Zone::named("etc/utc"), Some(Zone::utc()));
        assert_eq!(Zone::named("Mars/Olympus"), None);
    }

    #[test]
    fn polling_slows_down_with_time() {
        let seconds = |value: u64| poll_interval(Duration::from_secs(value));
        assert_eq!(seconds(0), Duration::from_millis(300));
        assert_eq!(seconds(60), Duration::from_secs(3));
        assert_eq!(seconds(3600), Duration::from_secs(15));
    }
}
