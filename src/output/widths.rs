//! What is shown reads well on terminals of all widths: for tests of what is rendered.

use std::collections::BTreeSet;

use super::{Console, listing};

const WIDTHS: [u16; 6] = [20, 40, 80, 120, 200, 300];
/// What is said only where a line has no room for it.
const NARROW: [&str; 1] = ["check"];

/// Fails if a line of what `render` writes is wider than the terminal, unless it is one word behind its label, or a command; or if
/// a word is broken, unless it is cut with `…`.
#[track_caller]
pub(crate) fn expect_readable(render: impl Fn(&Console) -> String) {
    let wider = (60..=300).step_by(20).map(Console::narrow);
    let wider: Vec<_> = wider.map(|console| render(&console)).collect();
    let whole = render(&Console::plain());
    for width in WIDTHS {
        let known = wider.iter().zip((60..=300).step_by(20));
        let known = known.filter(|(_, of)| *of > width).map(|(text, _)| text);
        let known = known
            .chain([&whole])
            .flat_map(|text| text.split_whitespace());
        let known: BTreeSet<&str> = known.chain(NARROW).collect();
        let text = render(&Console::narrow(width));
        for line in text.lines() {
            let content = line.trim().trim_start_matches("→ ");
            // A mark or a label and one word, or a command.
            let is_whole = content.split_whitespace().count() <= 2
                || diagnostics::commands(content) == [content];
            let fits = listing::width_of(line) <= width.into();
            assert!(fits || is_whole, "{width}: {line:?} of\n{text}");
        }
        for word in text.split_whitespace() {
            let is_drawn = word.chars().all(|c| "▁▂▃▄▅▆▇█·".contains(c));
            let is_number = word.chars().all(|c| c.is_ascii_digit());
            let is_known = known.contains(word) || word.ends_with('…');
            assert!(
                is_known || is_drawn || is_number,
                "{width}: {word:?} of\n{text}"
            );
        }
    }
}
