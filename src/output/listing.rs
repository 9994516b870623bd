//! Plain tables, as `kubectl get` writes them: a header, aligned columns, no frame.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::Console;

/// Spaces between two columns.
const GAP: u16 = 2;

/// Columns that are not masked: they have names, ids, numbers and Caravan's own words.
const NAMES: [&str; 42] = [
    "",
    "AFTER",
    "AFTER p50",
    "AGE",
    "AT",
    "CHECK",
    "CONTAINER",
    "COUNT",
    "DECLARED",
    "EXAMPLE",
    "FAILED AT",
    "FOR GROUP",
    "FROM",
    "GROUP",
    "HEALTH",
    "HOP",
    "ID",
    "IMAGE",
    "IN FLIGHT",
    "LAG",
    "MEMBERS",
    "MESSAGES",
    "OUTCOME",
    "PARTITIONS",
    "PROJECT",
    "PROTOCOL",
    "RECORD",
    "REPLAYED",
    "RESTARTS",
    "RETENTION",
    "SERVICE",
    "SERVICES",
    "STATE",
    "TO TOPIC",
    "TOOK",
    "TOPIC",
    "WAITING",
    "WHAT",
    "WHERE",
    "p50",
    "p95",
    "p99",
];

/// A table of `header` and `rows`. Cells wrap at the width of the terminal; without a terminal they do not
/// wrap. The cells of all columns but [`NAMES`] are masked before they wrap.
pub(crate) fn table(console: &Console, header: &[&str], rows: Vec<Vec<String>>) -> String {
    let rows = rows.into_iter().map(|row| {
        let cells = row.into_iter().enumerate();
        let cells = cells.map(|(n, cell)| match header.get(n) {
            Some(name) if NAMES.contains(name) => cell,
            Some(_) | None => console.masked(&cell),
        });
        cells.collect()
    });
    arranged(console.width(), header, rows.collect())
}

fn arranged(width: Option<u16>, header: &[&str], rows: Vec<Vec<String>>) -> String {
    let names: Vec<_> = (0..header.len())
        .map(|n| width_of_names(&rows, n))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    match width {
        Some(width) => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.add_rows(rows);
    for (column, name) in table.column_iter_mut().zip(names) {
        column.set_padding((0, GAP));
        // Names of up to half the width do not wrap, so that they can be copied; the texts beside them do.
        let name = name.filter(|name| width.is_some_and(|width| *name <= width / 2));
        if let Some(name) = name {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(name + GAP)));
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The width of column `n` if each of its cells is one word; None: a cell has several words or colour codes.
fn width_of_names(rows: &[Vec<String>], n: usize) -> Option<u16> {
    let cells = || rows.iter().filter_map(|row| row.get(n));
    let is_name = |cell: &String| !cell.contains(|c: char| c.is_whitespace() || c.is_control());
    let are_names = cells().all(is_name);
    let longest = cells().map(|cell| cell.chars().count()).max()?;
    are_names.then(|| u16::try_from(longest).ok()).flatten()
}

/// `3 topics`, `1 topic`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// `0.8 ms`, `12 ms`, `3.2 s`, `2 m 5 s`.
pub(crate) fn duration(duration: std::time::Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        _ if ms < 10.0 => format!("{ms:.1} ms"),
        _ if ms < 1000.0 => format!("{ms:.0} ms"),
        _ if ms < 60_000.0 => format!("{:.1} s", ms / 1000.0),
        _ => format!(
            "{} m {} s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn names_do_not_wrap_while_texts_have_room() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![
            row([
                "groups.session-worker.assigned",
                "every partition assigned to a running container",
                "3 of 3",
            ]),
            row(["groups.cache-worker.lag", "lag 0", "0"]),
        ];
        let shown = |width| super::arranged(width, &["CHECK", "EXPECTED", "SEEN"], rows.clone());
        assert_eq!(
            shown(Some(62)),
            "CHECK                           EXPECTED           SEEN
groups.session-worker.assigned  every partition    3 of 3
                                assigned to a
                                running container
groups.cache-worker.lag         lag 0              0"
        );
        let longest = |text: &str| text.lines().map(str::len).max();
        assert!(longest(&shown(Some(40))) <= Some(40));
        assert!(shown(None).contains("assigned to a running container  3 of 3"));
    }

    #[test]
    fn a_secret_is_masked_before_it_is_wrapped() {
        let console = super::Console::plain();
        console.mask(&["a secret of words".to_owned(), "running".to_owned()]);
        let row = ["containers.r.running", "it is a secret of words, running"];
        let rows = vec![row.map(str::to_owned).to_vec()];
        assert_eq!(
            super::table(&console, &["CHECK", "SEEN"], rows),
            "CHECK                 SEEN\ncontainers.r.running  it is ****, ****"
        );
    }

    #[test]
    fn a_duration_has_a_unit_of_its_size() {
        let read = |ms: f64| super::duration(Duration::from_secs_f64(ms / 1000.0));
        assert_eq!(read(0.85), "0.8 ms");
        assert_eq!(read(12.3), "12 ms");
        assert_eq!(read(3210.0), "3.2 s");
        assert_eq!(read(125_000.0), "2 m 5 s");
    }
}
