//! Plain tables, as `kubectl get` writes them: a header, aligned columns, no frame.
//!
//! On a terminal a table is as wide as the terminal at most. Texts wrap by words, and no column is narrower
//! than its header and its longest word of up to [`LONG_WORD`] characters. If the columns do not fit, the
//! optional ones are left out by their rank; if they still do not fit, the last ones are cut with `…`.
//! Without a terminal nothing is wrapped, left out or cut.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};
use console::measure_text_width;

use super::{Console, Paint, control};

/// Ends all colours.
const RESET: &str = "\x1b[0m";
/// Spaces between two columns.
const GAP: usize = 2;
/// A word of up to this many characters has room in each column.
const LONG_WORD: usize = 12;

/// A column of a table: how its cells are aligned, and what happens to them if the terminal is narrow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a> {
    header: &'a str,
    narrow: Narrow,
    is_masked: bool,
    is_right: bool,
    /// The column with the highest rank is left out first; 0: it is never left out.
    rank: u8,
}

/// What happens to a cell that is longer than its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrow {
    /// The column is as wide as its longest cell.
    Whole,
    Wrap,
    Cut,
}

impl<'a> Column<'a> {
    const fn new(header: &'a str, narrow: Narrow, is_masked: bool) -> Self {
        Self {
            header,
            narrow,
            is_masked,
            is_right: false,
            rank: 0,
        }
    }

    /// Names, ids and Caravan's own words: shown whole, so that they can be copied, and not masked.
    pub(crate) const fn name(header: &'a str) -> Self {
        Self::new(header, Narrow::Whole, false)
    }

    /// Numbers, durations and sizes: whole, aligned to the right, not masked.
    pub(crate) const fn number(header: &'a str) -> Self {
        Self {
            is_right: true,
            ..Self::name(header)
        }
    }

    /// Lists of names: cut with `…`, not masked.
    pub(crate) const fn names(header: &'a str) -> Self {
        Self::new(header, Narrow::Cut, false)
    }

    /// Texts, masked, which wrap by words.
    pub(crate) const fn text(header: &'a str) -> Self {
        Self::new(header, Narrow::Wrap, true)
    }

    /// Texts, masked, which stay on one line and are cut with `…`.
    pub(crate) const fn line(header: &'a str) -> Self {
        Self::new(header, Narrow::Cut, true)
    }

    /// Left out where the terminal is too narrow; the highest `rank` first.
    pub(crate) const fn optional(self, rank: u8) -> Self {
        Self { rank, ..self }
    }
}

/// A cell of a table. Its colour is no part of its text, which may be wrapped or cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    /// A cell in a colour.
    pub(crate) fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint: Some(paint),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, paint: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A table of `rows`, without a line end. A row may have fewer cells than there are columns.
pub(crate) fn table<C: Into<Cell>>(
    console: &Console,
    columns: &[Column<'_>],
    rows: Vec<Vec<C>>,
) -> String {
    let rows = rows.into_iter().map(|row| {
        let cells = row.into_iter().zip(columns);
        let cells = cells.map(|(cell, column)| prepared(console, column, cell.into()));
        cells.collect()
    });
    Table {
        console,
        columns,
        rows: rows.collect(),
    }
    .text(console.width().map(usize::from))
}

/// The cell with its secrets masked and its control characters escaped, before anything wraps or cuts it.
fn prepared(console: &Console, column: &Column<'_>, cell: Cell) -> Cell {
    let text = match column.is_masked {
        true => console.masked(&cell.text),
        false => cell.text,
    };
    Cell {
        text: control::cell(text),
        ..cell
    }
}

struct Table<'a> {
    console: &'a Console,
    columns: &'a [Column<'a>],
    rows: Vec<Vec<Cell>>,
}

impl Table<'_> {
    fn text(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let shown: Vec<_> = (0..widths.len()).filter(|n| widths[*n] > 0).collect();
        let header = self.columns.iter();
        let header = header.map(|column| Cell::painted(Paint::Faint, column.header));
        let header: Vec<Cell> = header.collect();
        let mut grid = comfy_table::Table::new();
        grid.load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells = shown.iter().map(|n| self.cell(row.get(*n), *n, widths[*n]));
            grid.add_row(cells);
        }
        for (n, column) in shown.iter().zip(grid.column_iter_mut()) {
            let gap = if shown.last() == Some(n) { 0 } else { GAP };
            column.set_padding((0, u16::try_from(gap).unwrap_or_default()));
            if let Ok(width) = u16::try_from(widths[*n] + gap) {
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
            column.set_cell_alignment(match self.columns[*n].is_right {
                true => CellAlignment::Right,
                false => CellAlignment::Left,
            });
        }
        // The library ends colours once more, with a code of its own. Cells have no others: theirs are escaped.
        let lines = grid.lines().map(|line| line.replace(RESET, ""));
        let lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    /// A cell of column `n`, broken into lines that fit and painted.
    fn cell(&self, cell: Option<&Cell>, n: usize, width: usize) -> String {
        let Some(Cell { text, paint }) = cell else {
            return String::new();
        };
        let lines = self.broken(text, &self.columns[n], width).into_iter();
        let painted = lines.map(|line| match paint {
            Some(paint) if !line.is_empty() => self.console.out(*paint, &line),
            _ => line,
        });
        painted.collect::<Vec<_>>().join("\n")
    }

    /// The width of each column; 0: the column is left out.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let natural: Vec<_> = (0..self.columns.len())
            .map(|n| self.longest(n, |cell| cell.lines().map(measure_text_width).max()))
            .collect();
        let Some(width) = width else {
            return natural;
        };
        let words: Vec<_> = (0..self.columns.len())
            .map(|n| self.longest(n, |cell| cell.split(' ').map(measure_text_width).max()))
            .collect();
        let mut least: Vec<_> = (0..self.columns.len())
            .map(|n| match self.columns[n].narrow {
                Narrow::Whole => natural[n],
                Narrow::Wrap | Narrow::Cut => {
                    let header = measure_text_width(self.columns[n].header);
                    header.max(words[n].min(LONG_WORD))
                }
            })
            .collect();
        self.leave_out(&mut least, width);
        self.cut_last(&mut least, width);
        // What is left belongs to the words that are longer, then to whole cells.
        for wanted in [words, natural] {
            widen(&mut least, &wanted, width);
        }
        least
    }

    /// The largest `of` of the cells of column `n`, and of its header.
    fn longest(&self, n: usize, of: impl Fn(&str) -> Option<usize>) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(n));
        let texts = cells.map(|cell| cell.text.as_str());
        let texts = texts.chain([self.columns[n].header]);
        texts.filter_map(of).max().unwrap_or(0)
    }

    /// Leaves out optional columns until the others fit.
    fn leave_out(&self, widths: &mut [usize], width: usize) {
        let mut optional: Vec<_> = (0..self.columns.len())
            .filter(|n| self.columns[*n].rank > 0)
            .collect();
        optional.sort_by_key(|n| self.columns[*n].rank);
        while total(widths) > width {
            let Some(n) = optional.pop() else { return };
            widths[n] = 0;
        }
    }

    /// Makes the last columns narrower until all fit.
    fn cut_last(&self, widths: &mut [usize], width: usize) {
        for n in (0..widths.len()).rev() {
            let excess = total(widths).saturating_sub(width);
            if excess == 0 {
                return;
            }
            // A part of a number is another number.
            let is_first = self.columns[..n].iter().all(|c| c.header.is_empty());
            let is_number = self.columns[n].is_right && !is_first;
            // Less than a letter and `…` says nothing: the column goes, with the gap before it.
            widths[n] = match widths[n].saturating_sub(excess) {
                0 | 1 => 0,
                _ if is_number => 0,
                left => left,
            };
        }
    }

    /// The lines of a cell in a column of this width.
    fn broken(&self, text: &str, column: &Column<'_>, width: usize) -> Vec<String> {
        let lines = match column.narrow {
            Narrow::Wrap => text.lines().flat_map(|line| wrapped(line, width)).collect(),
            Narrow::Whole | Narrow::Cut => text.lines().map(str::to_owned).collect::<Vec<_>>(),
        };
        let cut = |line: String| cut(line, width, &self.console.marks("…"));
        lines.into_iter().map(cut).collect()
    }
}

/// The width of a table with columns of these widths.
fn total(widths: &[usize]) -> usize {
    let shown: Vec<_> = widths.iter().filter(|width| **width > 0).collect();
    shown.iter().copied().sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

/// Widens the columns evenly, those that want the least first, as far as `width` goes.
fn widen(widths: &mut [usize], wanted: &[usize], width: usize) {
    let mut left = width.saturating_sub(total(widths));
    while left > 0 {
        let wanting = (0..widths.len()).filter(|n| widths[*n] > 0 && widths[*n] < wanted[*n]);
        let Some(narrowest) = wanting.min_by_key(|n| widths[*n]) else {
            return;
        };
        widths[narrowest] += 1;
        left -= 1;
    }
}

/// `line` in lines of up to `width` columns. A longer word has a line to itself.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace() {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if measure_text_width(last) + 1 + measure_text_width(word) <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `text` in `width` columns; its end is replaced by `ellipsis` if it is longer.
fn cut(text: String, width: usize, ellipsis: &str) -> String {
    if measure_text_width(&text) <= width {
        return text;
    }
    console::truncate_str(&text, width, ellipsis).into_owned()
}

/// A line below a table, wrapped by words at the width of the terminal: `lead`, which may be coloured, then
/// `text`; further lines are indented by `indent`. A command is not to be wrapped: it has a line to itself.
pub(crate) fn paragraph(console: &Console, lead: &str, indent: usize, text: &str) -> String {
    let Some(width) = console.width().map(usize::from) else {
        return format!("{lead}{text}");
    };
    let first = measure_text_width(lead);
    let mut lines = vec![(first, String::new())];
    for word in text.split_whitespace() {
        let Some((start, last)) = lines.last_mut() else {
            break;
        };
        let needed = *start + measure_text_width(last) + 1 + measure_text_width(word);
        if last.is_empty() && (needed <= width + 1 || *start <= indent) {
            last.push_str(word);
        } else if !last.is_empty() && needed <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push((indent, word.to_owned()));
        }
    }
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    let lead = match lines[0].is_empty() {
        true => lead.trim_end(),
        false => lead,
    };
    format!("{lead}{}", lines.join(&format!("\n{}", " ".repeat(indent))))
}

/// Lines below or above a table, each wrapped by words at the width of the terminal and indented as it is. A command
/// stays whole.
pub(crate) fn prose(console: &Console, text: &str) -> String {
    let Some(width) = console.width().map(usize::from) else {
        return text.to_owned();
    };
    let lines = text.lines().map(|line| {
        let content = line.trim_start();
        let is_command = diagnostics::commands(content) == [content];
        if measure_text_width(line) <= width || is_command {
            return line.to_owned();
        }
        let indent = line.len() - content.len();
        paragraph(console, &" ".repeat(indent), indent + 2, content)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line that is cut with `…` at the width of the terminal, less `taken` columns.
pub(crate) fn fitted(console: &Console, line: &str, taken: usize) -> String {
    match console.width().map(usize::from) {
        Some(width) => cut(
            line.to_owned(),
            width.saturating_sub(taken),
            &console.marks("…"),
        ),
        None => line.to_owned(),
    }
}

/// The columns that a text takes on a terminal.
pub(crate) fn width_of(text: &str) -> usize {
    measure_text_width(text)
}

/// `3 topics`, `1 topic`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// A measured duration: `0.8ms`, `12ms`, `3.2s`, `1m44s`.
pub(crate) fn duration(duration: std::time::Duration) -> String {
    declaration::units::shown(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: Option<usize>, columns: &[Column<'_>], rows: &[&[&str]]) -> String {
        let cells = |row: &&[&str]| row.iter().map(|cell| Cell::from(*cell)).collect();
        Table {
            console: &Console::plain(),
            columns,
            rows: rows.iter().map(cells).collect(),
        }
        .text(width)
    }

    fn longest(text: &str) -> usize {
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    }

    const CHECKS: [Column<'_>; 3] = [
        Column::name("CHECK"),
        Column::text("EXPECTED").optional(1),
        Column::text("SEEN"),
    ];
    const FINDINGS: [&[&str]; 2] = [
        &[
            "groups.session-worker.assigned",
            "every partition assigned to a running container",
            "3 of 3",
        ],
        &["groups.cache-worker.lag", "lag 0", "0"],
    ];

    #[test]
    fn texts_wrap_by_words_and_names_stay_whole() {
        assert_eq!(
            shown(Some(62), &CHECKS, &FINDINGS),
            "CHECK                           EXPECTED                SEEN
groups.session-worker.assigned  every partition         3 of 3
                                assigned to a running
                                container
groups.cache-worker.lag         lag 0                   0"
        );
        let unbound = shown(None, &CHECKS, &FINDINGS);
        assert!(unbound.contains("assigned to a running container  3 of 3"));
    }

    #[test]
    fn a_column_is_left_out_before_another_is_narrower_than_its_words() {
        // 30 + 2 + 9 + 2 + 4 would be enough for all three.
        assert!(shown(Some(47), &CHECKS, &FINDINGS).contains("partition"));
        assert_eq!(
            shown(Some(46), &CHECKS, &FINDINGS),
            "CHECK                           SEEN
groups.session-worker.assigned  3 of 3
groups.cache-worker.lag         0"
        );
    }

    #[test]
    fn columns_are_left_out_by_rank_and_the_last_is_cut() {
        let columns = [
            Column::name("IMAGE"),
            Column::number("SIZE").optional(1),
            Column::name("ID").optional(2),
            Column::names("SERVICES"),
        ];
        let rows: [&[&str]; 2] = [
            &[
                "shop/orders:1",
                "98 KiB",
                "0123456789ab",
                "billing, stock, a-long-name",
            ],
            &["shop/web", "1.2 MiB", "ba9876543210", "web"],
        ];
        assert_eq!(
            shown(Some(54), &columns, &rows),
            "IMAGE             SIZE  ID            SERVICES
shop/orders:1   98 KiB  0123456789ab  billing, stock,…
shop/web       1.2 MiB  ba9876543210  web"
        );
        assert_eq!(
            shown(Some(48), &columns, &rows),
            "IMAGE             SIZE  SERVICES
shop/orders:1   98 KiB  billing, stock, a-long-…
shop/web       1.2 MiB  web"
        );
        assert_eq!(
            shown(Some(30), &columns, &rows),
            "IMAGE          SERVICES
shop/orders:1  billing, stock…
shop/web       web"
        );
    }

    #[test]
    fn no_table_is_wider_than_the_terminal_and_none_breaks_a_word() {
        let columns = [
            Column::name("NAME"),
            Column::text("TEXT"),
            Column::number("LAG"),
            Column::line("ERROR"),
        ];
        let row: &[&str] = &[
            "allocation-worker",
            "some words and one-that-is-much-too-long",
            "1234",
            "cannot parse",
        ];
        let words: Vec<&str> = row.iter().flat_map(|cell| cell.split(' ')).collect();
        for width in 1..100 {
            let text = shown(Some(width), &columns, &[row]);
            assert!(longest(&text) <= width, "{width}:\n{text}");
            let fragments = text.split_whitespace();
            for fragment in fragments.filter(|f| {
                !columns
                    .iter()
                    .any(|c| c.header.starts_with(f.trim_end_matches('…')))
            }) {
                let is_cut = fragment.ends_with('…');
                assert!(
                    is_cut || words.contains(&fragment),
                    "{fragment} at {width}:\n{text}"
                );
            }
        }
    }

    #[test]
    fn the_colour_of_a_cell_is_no_part_of_its_width() {
        let console = Console::coloured();
        let rows = vec![
            vec![Cell::painted(Paint::Bad, "not deployed"), "1".into()],
            vec![Cell::painted(Paint::Good, "healthy"), "20".into()],
        ];
        let columns = [Column::name("STATE"), Column::number("LAG")];
        assert_eq!(
            control::shown(&table(&console, &columns, rows)),
            "\x1b[2mSTATE\x1b[0m         \x1b[2mLAG\x1b[0m\n\
             \x1b[31mnot deployed\x1b[0m    1\n\
             \x1b[32mhealthy\x1b[0m        20"
        );
    }

    #[test]
    fn a_secret_is_masked_before_it_is_wrapped() {
        let console = Console::plain();
        console.mask(&["a secret of words".to_owned(), "running".to_owned()]);
        let row = ["containers.r.running", "it is a secret of words, running"];
        assert_eq!(
            table(
                &console,
                &[Column::name("CHECK"), Column::text("SEEN")],
                vec![row.to_vec()]
            ),
            "CHECK                 SEEN\ncontainers.r.running  it is ****, ****"
        );
    }

    #[test]
    fn a_number_is_never_cut() {
        let columns = [Column::name("GROUP"), Column::number("LAG")];
        let rows: [&[&str]; 1] = [&["allocation-worker", "123456"]];
        let shown = |width| shown(Some(width), &columns, &rows);
        assert!(shown(25).ends_with("allocation-worker  123456"));
        assert!(shown(24).ends_with("\nallocation-worker"));
        assert!(shown(10).ends_with("\nallocatio…"));
    }

    #[test]
    fn lines_wrap_as_they_are_indented_and_a_command_stays_whole() {
        let text = "one two three\n  four five six\n  caravan -p shop up billing\nshort";
        assert_eq!(
            prose(&Console::narrow(12), text),
            "one two\n  three\n  four five\n    six\n  caravan -p shop up billing\nshort"
        );
        assert_eq!(prose(&Console::plain(), text), text);
    }

    #[test]
    fn a_line_below_a_table_wraps_by_words_and_is_indented() {
        let shown = |width| {
            let console = Console::narrow(width);
            paragraph(&console, "✗ a: ", 4, "three words and one-more")
        };
        assert_eq!(shown(40), "✗ a: three words and one-more");
        assert_eq!(shown(20), "✗ a: three words and\n    one-more");
        assert_eq!(
            shown(6),
            "✗ a:\n    three\n    words\n    and\n    one-more"
        );
    }
}
