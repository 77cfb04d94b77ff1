//! Reports as tables that fit the terminal, and as CSV.

use std::borrow::Cow;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use console::{measure_text_width, truncate_str};

use crate::error::Error;
use crate::printable::printable;

/// A column of a [`Grid`].
#[derive(Debug, Clone)]
pub struct Column {
    title: Cow<'static, str>,
    right: bool,
    /// The narrowest that it may become; fixed columns keep the width of their content.
    least: Option<usize>,
}

impl Column {
    /// Words.
    pub const fn left(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: false, least: None }
    }

    /// Numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: true, least: None }
    }

    /// Long words, cut with `…` where the line would be too long, but not below `least` columns.
    pub fn flexible(title: impl Into<Cow<'static, str>>, least: usize) -> Self {
        Self { title: title.into(), right: false, least: Some(least) }
    }
}

/// A table in the making: columns, rows, and perhaps a row of totals.
#[derive(Debug, Clone)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    footer: Option<Vec<String>>,
}

/// Columns between two columns of text.
const GAP: usize = 2;

impl Grid {
    /// A table of these columns.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), footer: None }
    }

    /// Adds a row, one text for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        self.rows.push(cells.into_iter().map(one_line).collect());
        self
    }

    /// Sets the row of totals, which stands under a line.
    pub fn footer(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        self.footer = Some(cells.into_iter().map(one_line).collect());
        self
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many columns its lines take at least.
    pub fn least_width(&self) -> usize {
        self.widths(0).iter().sum::<usize>() + GAP * self.columns.len().saturating_sub(1)
    }

    /// The table as text of lines at most `width` columns wide, ending in a line feed.
    pub fn render(&self, width: u16) -> String {
        let widths = self.widths(usize::from(width));
        let mut table = Table::new();
        table
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')))
            .set_content_arrangement(ContentArrangement::Disabled)
            .force_no_tty();
        let cells = |texts: &[String]| -> Vec<Cell> {
            self.columns
                .iter()
                .zip(&widths)
                .zip(texts)
                .map(|((column, &width), text)| {
                    Cell::new(truncate_str(text, width, "…")).set_alignment(if column.right {
                        CellAlignment::Right
                    } else {
                        CellAlignment::Left
                    })
                })
                .collect()
        };
        let titles: Vec<_> =
            self.columns.iter().map(|column| column.title.clone().into_owned()).collect();
        table.set_header(cells(&titles));
        for row in self.rows.iter().chain(&self.footer) {
            table.add_row(cells(row));
        }
        let last = self.columns.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            let gap = if index == last { 0 } else { GAP };
            column.set_padding((0, u16::try_from(gap).unwrap_or(0)));
        }
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        if self.footer.is_some()
            && let (Some(rule), Some(position)) =
                (lines.get(1).cloned(), lines.len().checked_sub(1))
        {
            lines.insert(position, rule);
        }
        lines.join("\n") + "\n"
    }

    /// How wide each column is: its content, with flexible columns sharing what must be saved.
    fn widths(&self, available: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                self.rows
                    .iter()
                    .chain(&self.footer)
                    .filter_map(|row| row.get(index))
                    .map(|text| measure_text_width(text))
                    .chain([measure_text_width(&column.title)])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(available);
        // The widest flexible column gives way first.
        while excess > 0 {
            let widest = self
                .columns
                .iter()
                .enumerate()
                .filter_map(|(index, column)| {
                    column.least.filter(|&least| widths[index] > least).map(|_| index)
                })
                .max_by_key(|&index| widths[index]);
            let Some(index) = widest else { break };
            widths[index] -= 1;
            excess -= 1;
        }
        widths
    }
}

/// Text as it fits a cell: on one line, without what could move the cursor or turn the writing.
pub fn one_line(text: String) -> String {
    let text = if text.chars().any(char::is_control) {
        text.split(|character: char| character.is_control())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    } else {
        text
    };
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

/// Breaks a text at spaces into lines of at most `width` columns; a longer word
/// stands on a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| measure_text_width(line));
        if line > 0 && line + 1 + measure_text_width(word) > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Rows as CSV with a line of names, each row a line.
pub fn csv<R: serde::Serialize>(rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer
            .serialize(row)
            .map_err(|error| Error::internal("a row does not fit CSV").because(error))?;
    }
    writer
        .into_inner()
        .map_err(|error| Error::internal("the CSV was not finished").because(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid =
            Grid::new([Column::left("date"), Column::flexible("title", 8), Column::right("total")]);
        grid.row(["2026-11-22", "A very long title about food", "1.25"].map(str::to_owned));
        grid.row(["2026-11-21", "Läufer\nüber\x1b[31m Nacht", "10.00"].map(str::to_owned));
        grid.footer(["", "2 videos", "11.25"].map(str::to_owned));
        grid
    }

    #[test]
    fn tables_fit_and_line_up() {
        insta::assert_snapshot!(grid().render(36), @r"
        date        title              total
        ────────────────────────────────────
        2026-11-22  A very long titl…   1.25
        2026-11-21  Läufer über [31m…  10.00
        ────────────────────────────────────
                    2 videos           11.25
        ");
        for width in [36, 50, 80] {
            for line in grid().render(width).lines() {
                assert!(measure_text_width(line) <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        #[derive(serde::Serialize)]
        struct Row {
            title: &'static str,
            usd: rust_decimal::Decimal,
        }
        let rows = [Row { title: "a, \"b\"", usd: rust_decimal::Decimal::new(1, 7) }];
        let text = String::from_utf8(csv(rows).unwrap()).unwrap();
        assert_eq!(text, "title,usd\n\"a, \"\"b\"\"\",0.0000001\n");
    }
}
