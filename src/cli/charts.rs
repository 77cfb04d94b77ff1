//! Amounts as bars and as lines of bars, of letters that every terminal has.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

/// A column filled by so many eighths, from the left.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A column filled by so many eighths, from below; nothing is a dot.
const HEIGHTS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar as long as `amount` beside `most`, which is `width` columns long. What is more than
/// nothing is shown.
pub fn bar(amount: Decimal, most: Decimal, width: usize) -> String {
    let eighths = share_of(amount, most, width * 8);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// One column for each amount, as high as it beside the highest; neighbours are added up where
/// there are more amounts than columns.
pub fn sparkline(amounts: &[Decimal], width: usize) -> String {
    let each = amounts.len().div_ceil(width.max(1)).max(1);
    let columns: Vec<Decimal> =
        amounts.chunks(each).map(|chunk| chunk.iter().copied().sum()).collect();
    let most = columns.iter().copied().max().unwrap_or_default();
    columns.into_iter().map(|amount| HEIGHTS[share_of(amount, most, 8)]).collect()
}

/// How many of `parts` an amount is beside `most`, rounded; at least one of more than nothing.
fn share_of(amount: Decimal, most: Decimal, parts: usize) -> usize {
    if amount <= Decimal::ZERO {
        return 0;
    }
    amount
        .checked_div(most)
        .and_then(|share| share.checked_mul(Decimal::from(parts)))
        .and_then(|share| share.round().to_usize())
        .unwrap_or_default()
        .clamp(1, parts.max(1))
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn bars_are_as_long_as_their_amounts() {
        assert_eq!(bar(dec!(10), dec!(10), 4), "████");
        assert_eq!(bar(dec!(5), dec!(10), 3), "█▌");
        assert_eq!(bar(dec!(0.0001), dec!(10), 4), "▏");
        assert_eq!(bar(dec!(0), dec!(10), 4), "");
        assert_eq!(bar(dec!(0), dec!(0), 4), "");
        assert_eq!(bar(dec!(-1), dec!(10), 4), "");
    }

    #[test]
    fn lines_show_what_is_there_and_fit() {
        assert_eq!(sparkline(&[dec!(0), dec!(1), dec!(4), dec!(8), dec!(0.001)], 80), "·▁▄█▁");
        assert_eq!(sparkline(&[dec!(1), dec!(1), dec!(2), dec!(2)], 2), "▄█");
        assert_eq!(sparkline(&[dec!(1), dec!(1), dec!(2)], 2), "██");
        assert_eq!(sparkline(&[], 10), "");
        assert_eq!(sparkline(&[dec!(0)], 10), "·");
    }
}
