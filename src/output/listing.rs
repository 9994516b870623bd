//! Plain tables, as `kubectl get` writes them: a header, aligned columns, no frame.

use comfy_table::{ContentArrangement, Table, presets};

use super::Console;

/// A table of `header` and `rows`; fits a terminal, never wraps elsewhere.
pub(crate) fn table(console: &Console, header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    match console.width() {
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
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// `3 topics`, `1 topic`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// For people: `850 µs` is `0.9 ms`, then `12 ms`, `3.2 s`, `2 m 5 s`.
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
    fn durations_read_well() {
        let read = |ms: f64| super::duration(Duration::from_secs_f64(ms / 1000.0));
        assert_eq!(read(0.85), "0.8 ms");
        assert_eq!(read(12.3), "12 ms");
        assert_eq!(read(3210.0), "3.2 s");
        assert_eq!(read(125_000.0), "2 m 5 s");
    }
}
