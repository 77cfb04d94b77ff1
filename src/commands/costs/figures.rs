//! Amounts, shares, numbers and stretches of time as people read them.

use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::clock::Zone;
use crate::ledger::money::Usd;

/// An amount without its sign, as it stands in a column of amounts. Whole dollars are enough
/// for ten thousand of them and more, and three digits for a million.
pub(super) fn amount(amount: Usd) -> String {
    let dollars = amount.dollars();
    if dollars > Decimal::ZERO && dollars < Decimal::new(1, 4) {
        return "<0.0001".to_owned();
    }
    if dollars < Decimal::from(10_000) {
        return amount.human().trim_start_matches('$').to_owned();
    }
    let whole = dollars.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven);
    match whole.to_i64() {
        Some(whole) if whole >= 1_000_000 => short(whole),
        _ => grouped(&whole.to_string()),
    }
}

/// A share as people read it. It is cut, not rounded, so that a rate under its target never
/// reads as if it had met it.
pub(super) fn percent(share: Decimal) -> String {
    let percent = share * Decimal::ONE_HUNDRED;
    format!("{}%", percent.round_dp_with_strategy(1, RoundingStrategy::ToZero).normalize())
}

/// A share, or that there is none.
pub(super) fn percent_or_none(share: Option<Decimal>) -> String {
    share.map_or_else(|| "N/A".to_owned(), percent)
}

/// A number of things.
pub(super) fn plural(number: i64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A whole number in groups of three digits.
pub(super) fn thousands(number: i64) -> String {
    let text = grouped(&number.unsigned_abs().to_string());
    if number < 0 { format!("-{text}") } else { text }
}

/// A whole number as it fits a narrow column: in full below a hundred thousand, with three
/// digits and a unit from there on.
pub(super) fn short(number: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if number.abs() < 100_000 {
        return thousands(number);
    }
    let (unit, name) =
        UNITS.into_iter().find(|(unit, _)| number.abs() >= *unit).unwrap_or((1_000, "k"));
    let value = Decimal::from(number) / Decimal::from(unit);
    let digits = if value.abs() >= Decimal::ONE_HUNDRED {
        0
    } else if value.abs() >= Decimal::TEN {
        1
    } else {
        2
    };
    let value = value.round_dp_with_strategy(digits, RoundingStrategy::ToZero);
    format!("{value:.*}{name}", digits as usize)
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The time of a report in words, such as `2026-11-01 to 2026-11-30`; none for all time. An end
/// at midnight is told by the day that it ends.
pub(super) fn stretch(
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    zone: &Zone,
) -> Option<String> {
    let is_midnight = |moment: Timestamp| {
        zone.start_of(zone.at(moment).date()).is_ok_and(|midnight| midnight == moment)
    };
    let time = |moment: Timestamp| zone.at(moment).strftime("%Y-%m-%d %H:%M").to_string();
    let day = |moment: Timestamp| zone.at(moment).date().to_string();
    let begins = since.map(|since| if is_midnight(since) { day(since) } else { time(since) });
    let ends = until.map(|until| {
        let last = until.saturating_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(until);
        if is_midnight(until) { day(last) } else { time(until) }
    });
    match (begins, ends) {
        (Some(begins), Some(ends)) if begins == ends => Some(begins),
        (Some(begins), Some(ends)) => Some(format!("{begins} to {ends}")),
        (Some(begins), None) => Some(format!("since {begins}")),
        (None, Some(ends)) => Some(format!("until {ends}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn numbers_fit_their_columns() {
        assert_eq!(short(0), "0");
        assert_eq!(short(99_999), "99,999");
        assert_eq!(short(100_000), "100k");
        assert_eq!(short(999_999), "999k");
        assert_eq!(short(1_234_567), "1.23M");
        assert_eq!(short(45_678_901), "45.6M");
        assert_eq!(short(-2_500_000_000), "-2.50G");
        assert_eq!(thousands(-1_234_567), "-1,234,567");
        assert_eq!(plural(1, "call"), "1 call");
        let text = |dollars| amount(Usd::new(dollars));
        assert_eq!(text(dec!(0)), "0.00");
        assert_eq!(text(dec!(0.00001)), "<0.0001");
        assert_eq!(text(dec!(9999.99)), "9999.99");
        assert_eq!(text(dec!(12345.67)), "12,346");
        assert_eq!(text(dec!(999999.9)), "1.00M");
        assert_eq!(text(dec!(12345678.9)), "12.3M");
    }

    #[test]
    fn a_share_under_its_target_never_reads_as_met() {
        assert_eq!(percent(dec!(0.5999)), "59.9%");
        assert_eq!(percent(dec!(0.6)), "60%");
        assert_eq!(percent_or_none(None), "N/A");
    }

    #[test]
    fn stretches_are_told_in_days_where_they_are_days() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let told = |since: Option<&str>, until: Option<&str>| {
            let moment = |text: &str| text.parse().unwrap();
            stretch(since.map(moment), until.map(moment), &berlin)
        };
        let (begins, ends) = (Some("2026-10-31T23:00:00Z"), Some("2026-11-30T23:00:00Z"));
        assert_eq!(told(begins, ends).as_deref(), Some("2026-11-01 to 2026-11-30"));
        assert_eq!(told(begins, None).as_deref(), Some("since 2026-11-01"));
        assert_eq!(told(None, ends).as_deref(), Some("until 2026-11-30"));
        assert_eq!(told(begins, Some("2026-11-01T23:00:00Z")).as_deref(), Some("2026-11-01"));
        assert_eq!(
            told(Some("2026-11-01T10:30:00Z"), None).as_deref(),
            Some("since 2026-11-01 11:30")
        );
        assert_eq!(told(None, None), None);
    }
}
