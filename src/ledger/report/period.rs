//! Stretches of time as people name them, and the days, weeks and months of a time zone.

use jiff::civil::{Date, Weekday};
use jiff::{Span, Timestamp, ToSpan as _};

use crate::clock::Zone;
use crate::store::charges::{Grouping, Level};

/// Reads when a report begins: `today`, `yesterday`, a number of hours back (`24h`), a number of
/// whole days, weeks or months that end with today (`7d`, `2w`, `3mo`), a date (from its first
/// moment in `zone`) or a time with its offset.
pub fn since(text: &str, now: Timestamp, zone: &Zone) -> Result<Timestamp, String> {
    let begins = match read(text, now, zone)? {
        Named::Day(day) | Named::Stretch(day) => start_of(day, text, zone)?,
        Named::Moment(moment) => moment,
    };
    if begins > now {
        return Err(format!("'{text}' lies in the future"));
    }
    Ok(begins)
}

/// Reads when a report ends, exclusive: with the end of a day that is named, at a time, and
/// for a stretch such as `7d` where it begins, so that `--since 14d --until 7d` is the week
/// before `--since 7d`.
pub fn until(text: &str, now: Timestamp, zone: &Zone) -> Result<Timestamp, String> {
    match read(text, now, zone)? {
        Named::Day(day) => start_of(day.tomorrow().map_err(|_| unreadable(text))?, text, zone),
        Named::Stretch(day) => start_of(day, text, zone),
        Named::Moment(moment) => Ok(moment),
    }
}

/// When the last so many days of a zone began, today among them.
pub fn last_days(days: i32, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let first = zone.at(now).date().checked_sub((days - 1).days()).ok()?;
    zone.start_of(first).ok()
}

/// What a text names.
enum Named {
    /// A day.
    Day(Date),
    /// The days from this one to today.
    Stretch(Date),
    /// A moment.
    Moment(Timestamp),
}

fn read(text: &str, now: Timestamp, zone: &Zone) -> Result<Named, String> {
    let wrong = || unreadable(text);
    let text = text.trim();
    let today = zone.at(now).date();
    match text {
        "today" => return Ok(Named::Day(today)),
        "yesterday" => return Ok(Named::Day(today.yesterday().map_err(|_| wrong())?)),
        _ => {}
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if matches!(unit, "h" | "d" | "w" | "mo") {
        let number: i64 = number.parse().map_err(|_| wrong())?;
        if number == 0 {
            return Err(wrong());
        }
        let span = |span: Result<Span, jiff::Error>| span.map_err(|_| wrong());
        if unit == "h" {
            let back = span(Span::new().try_hours(number))?;
            let moment = now.checked_sub(back).map_err(|_| wrong())?;
            return if zone.at(moment).year() < 1 {
                Err(wrong())
            } else {
                Ok(Named::Moment(moment))
            };
        }
        let back = span(match unit {
            "d" => Span::new().try_days(number),
            "w" => Span::new().try_weeks(number),
            _ => Span::new().try_months(number),
        })?;
        // Today is one of the days.
        let first = today.checked_sub(back).and_then(Date::tomorrow).map_err(|_| wrong())?;
        if first.year() < 1 {
            return Err(wrong());
        }
        return Ok(Named::Stretch(first));
    }
    match text.parse::<Timestamp>() {
        // No film is older than that, and no database's calendar need be.
        Ok(moment) if zone.at(moment).year() < 1 => Err(wrong()),
        Ok(moment) => Ok(Named::Moment(moment)),
        // A date with a time but without an offset is refused: nobody knows whose time it is.
        Err(_) if text.len() > "2026-11-01".len() => Err(wrong()),
        Err(_) => {
            let day: Date = text.parse().map_err(|_| wrong())?;
            if day.year() < 1 { Err(wrong()) } else { Ok(Named::Day(day)) }
        }
    }
}

fn start_of(day: Date, text: &str, zone: &Zone) -> Result<Timestamp, String> {
    zone.start_of(day).map_err(|_| unreadable(text))
}

fn unreadable(text: &str) -> String {
    format!(
        "'{text}' is none of: today, yesterday, 24h, 7d, 2w, 3mo, 2026-11-01, 2026-11-01T09:30Z"
    )
}

/// The days, weeks or months of a zone from one moment to another, with their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    starts: Vec<Timestamp>,
    keys: Vec<String>,
}

impl Calendar {
    /// The stretches of a level that hold the moments from `from` to `to`; none for a level that
    /// is not a stretch of time.
    pub(super) fn new(level: Level, zone: &Zone, from: Timestamp, to: Timestamp) -> Self {
        let mut calendar = Self::default();
        let first = zone.at(from).date();
        let (first, step) = match level {
            Level::Day => (first, 1.day()),
            Level::Week => (monday_of(first), 1.week()),
            Level::Month => (first.first_of_month(), 1.month()),
            _ => return calendar,
        };
        for day in first.series(step) {
            // The calendar ends in the year 9999, and so do the books.
            let Ok(start) = zone.start_of(day) else { break };
            if start > to && !calendar.starts.is_empty() {
                break;
            }
            calendar.starts.push(start);
            calendar.keys.push(key(level, day));
        }
        calendar
    }

    /// What the statement needs to know.
    pub(super) fn grouping(&self, level: Level) -> Grouping {
        Grouping { level, starts: self.starts.clone() }
    }

    /// The key of a stretch by its place, counted from 1 as the statement does. What was booked
    /// before the first, while the report was asked for, counts with it.
    pub(super) fn key(&self, place: &str) -> Option<String> {
        let place: usize = place.parse().ok()?;
        self.keys.get(place.saturating_sub(1)).cloned()
    }

    /// All keys, the oldest first.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }
}

/// The Monday of a day's week.
fn monday_of(day: Date) -> Date {
    // The first days of the calendar have no Monday, and no charges.
    day.checked_sub(day.weekday().since(Weekday::Monday).days()).unwrap_or(day)
}

fn key(level: Level, day: Date) -> String {
    match level {
        Level::Week => {
            let week = day.iso_week_date();
            format!("{:04}-W{:02}", week.year(), week.week())
        }
        Level::Month => day.strftime("%Y-%m").to_string(),
        _ => day.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn beginnings_are_read() {
        let now = moment("2026-11-22T11:30:00Z");
        let begins = |text| since(text, now, &Zone::utc()).map(|time| time.to_string());
        for (text, expected) in [
            ("today", "2026-11-22T00:00:00Z"),
            ("yesterday", "2026-11-21T00:00:00Z"),
            ("1d", "2026-11-22T00:00:00Z"),
            ("7d", "2026-11-16T00:00:00Z"),
            ("24h", "2026-11-21T11:30:00Z"),
            ("2w", "2026-11-09T00:00:00Z"),
            ("3mo", "2026-08-23T00:00:00Z"),
            (" 2026-11-01 ", "2026-11-01T00:00:00Z"),
            ("2026-11-01T09:30:00+02:00", "2026-11-01T07:30:00Z"),
        ] {
            assert_eq!(begins(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "d",
            "0d",
            "-7d",
            "7 d",
            "7y",
            "2026-13-01",
            "soon",
            "2026-11-01T09:30",
            "99999999999w",
            "4000000000w",
            "99999999999999999999d",
            "é",
        ] {
            assert!(begins(wrong).is_err(), "{wrong}");
        }
        assert!(begins("2027-01-01").unwrap_err().contains("future"));
    }

    #[test]
    fn ends_hold_the_day_that_is_named() {
        let now = moment("2026-11-22T11:30:00Z");
        let ends = |text| until(text, now, &Zone::utc()).map(|time| time.to_string());
        for (text, expected) in [
            ("today", "2026-11-23T00:00:00Z"),
            ("yesterday", "2026-11-22T00:00:00Z"),
            ("2026-11-30", "2026-12-01T00:00:00Z"),
            ("2026-11-01T09:30:00Z", "2026-11-01T09:30:00Z"),
            ("24h", "2026-11-21T11:30:00Z"),
            ("7d", "2026-11-16T00:00:00Z"),
        ] {
            assert_eq!(ends(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(ends("9999-12-31").is_err());
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let now = moment("2026-11-22T23:30:00Z");
        let begins = |text| since(text, now, &berlin()).unwrap().to_string();
        assert_eq!(begins("today"), "2026-11-22T23:00:00Z");
        // Seven whole days, one of which has 25 hours.
        let now = moment("2026-10-27T12:00:00Z");
        assert_eq!(since("7d", now, &berlin()).unwrap().to_string(), "2026-10-20T22:00:00Z");
        assert_eq!(last_days(7, now, &berlin()), Some(moment("2026-10-20T22:00:00Z")));
    }

    #[test]
    fn stretches_are_named_as_the_calendar_has_them() {
        let keys = |level, from: &str, to: &str| {
            Calendar::new(level, &berlin(), moment(from), moment(to)).keys
        };
        assert_eq!(
            keys(Level::Day, "2026-10-24T21:59:00Z", "2026-10-26T23:00:00Z"),
            ["2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"]
        );
        assert_eq!(
            keys(Level::Week, "2026-12-30T00:00:00Z", "2027-01-05T00:00:00Z"),
            ["2026-W53", "2027-W01"]
        );
        assert_eq!(
            keys(Level::Month, "2026-11-30T23:00:00Z", "2027-01-01T00:00:00Z"),
            ["2026-12", "2027-01"]
        );
        assert_eq!(keys(Level::Model, "2026-11-30T23:00:00Z", "2027-01-01T00:00:00Z").len(), 0);
        let calendar = Calendar::new(
            Level::Day,
            &berlin(),
            moment("2026-10-24T00:00:00Z"),
            moment("2026-10-26T12:00:00Z"),
        );
        let starts: Vec<_> = calendar.starts.iter().map(ToString::to_string).collect();
        assert_eq!(
            starts,
            ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
        );
        assert_eq!(calendar.key("0").as_deref(), Some("2026-10-24"));
        assert_eq!(calendar.key("3").as_deref(), Some("2026-10-26"));
    }
}
