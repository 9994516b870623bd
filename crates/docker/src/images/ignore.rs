//! `.dockerignore`: which paths of a build context are excluded. The last pattern that matches a path, or a
//! directory above it, decides; `!` includes it again.
//!
//! Patterns become regular expressions, as in Docker's own matcher (moby/patternmatcher), so that
//! matching takes time linear in the path's length.

use regex::Regex;

/// The patterns of one file.
#[derive(Debug, Default)]
pub(super) struct Ignore(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// Matches the path and anything below it.
    path: Regex,
    exception: bool,
}

impl Ignore {
    /// # Errors
    /// A pattern that is too long to be compiled.
    pub(super) fn parse(text: &str) -> Result<Self, regex::Error> {
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
        let patterns = lines.filter_map(|line| Pattern::parse(line).transpose());
        patterns.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a path, relative to the context and with slashes, is excluded.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let last = self.0.iter().rfind(|pattern| pattern.path.is_match(path));
        last.is_some_and(|pattern| !pattern.exception)
    }

    /// Whether a pattern with `!` may include files below an excluded directory.
    pub(super) fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.exception)
    }
}

impl Pattern {
    /// None for a line without a pattern.
    fn parse(line: &str) -> Result<Option<Self>, regex::Error> {
        if line.starts_with('#') {
            return Ok(None);
        }
        let line = line.trim();
        let (line, exception) = match line.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (line, false),
        };
        let pattern = clean(line);
        if pattern.is_empty() {
            return Ok(None);
        }
        let path = Regex::new(&format!(r"(?s)\A(?:{})(?:/.*)?\z", expression(&pattern)))?;
        Ok(Some(Self { path, exception }))
    }
}

/// Normalises a pattern: relative to the context, without empty parts, `.` and `..`.
fn clean(line: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in line.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The regular expression of a pattern: `*`, `?`, `[a-z]`, `[^a]` and `\x` within one name, `**` for
/// any number of directories.
fn expression(pattern: &str) -> String {
    // A pattern that begins with `**` and has no other wildcard is a suffix: `**.log` matches `a/b.log`.
    if let Some(end) = pattern.strip_prefix("**")
        && !end.starts_with('/')
        && !end.contains(['*', '?', '[', ']', '\\'])
    {
        return format!(".*{}", regex::escape(end));
    }
    let mut expression = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.as_str().starts_with('*') => {
                rest.next();
                if rest.as_str().starts_with('/') {
                    rest.next();
                }
                expression += match rest.as_str() {
                    "" => ".*",
                    _ => "(?:.*/)?",
                };
            }
            '*' => expression += "[^/]*",
            '?' => expression += "[^/]",
            '[' => match Class::parse(rest.as_str()) {
                Some((class, after)) => {
                    expression += &class.expression();
                    rest = after.chars();
                }
                None => expression += r"\[",
            },
            '\\' => literal(&mut expression, rest.next().unwrap_or('\\')),
            c => literal(&mut expression, c),
        }
    }
    expression
}

fn literal(expression: &mut String, c: char) {
    *expression += &regex::escape(c.encode_utf8(&mut [0; 4]));
}

/// A character class in brackets: one of these characters, or none of them.
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Class {
    /// Parses a class; returns it with the text after its `]`. None: there is no `]`.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (text, negated) = match text.strip_prefix('^') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let mut ranges = Vec::new();
        let mut rest = text.chars();
        loop {
            let first = match rest.next()? {
                ']' => return Some((Self { ranges, negated }, rest.as_str())),
                '\\' => rest.next()?,
                c => c,
            };
            let mut ahead = rest.clone();
            let last = match (ahead.next(), ahead.next()) {
                (Some('-'), Some('\\')) => ahead.next()?,
                (Some('-'), Some(last)) if last != ']' => last,
                _ => {
                    ranges.push((first, first));
                    continue;
                }
            };
            rest = ahead;
            ranges.push((first, last));
        }
    }

    /// The class never matches a slash, which separates names.
    fn expression(&self) -> String {
        let mut members = String::new();
        for (first, last) in self.ranges.iter().filter(|(first, last)| first <= last) {
            let (first, last) = (u32::from(*first), u32::from(*last));
            members += &format!(r"\x{{{first:X}}}-\x{{{last:X}}}");
        }
        match (members.is_empty(), self.negated) {
            (false, false) => format!("[{members}&&[^/]]"),
            (false, true) => format!("[^{members}/]"),
            (true, false) => r"[^\s\S]".to_owned(),
            (true, true) => "[^/]".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Ignore {
        Ignore::parse(text).expect("compiles")
    }

    #[test]
    fn as_docker_reads_it() {
        let ignore = parsed(
            "# a comment\n\n*.log\n/build/\nsrc/**/tmp\n**/*.py[co]\ndocs\n!docs/README.md\n\
             temp?\n./a/../cache\n",
        );
        for path in [
            "x.log",
            "build",
            "build/a/b",
            "src/tmp",
            "src/a/b/tmp/c",
            "a.pyc",
            "a/b.pyo",
            "docs/a.md",
            "temp1",
            "cache/x",
        ] {
            assert!(ignore.leaves_out(path), "{path}");
        }
        for path in [
            "a/x.log",
            "src/build",
            "docs/README.md",
            "a.py",
            "temp",
            "temp12",
            "a/cache",
            "# a comment",
        ] {
            assert!(!ignore.leaves_out(path), "{path}");
        }
        assert!(ignore.has_exceptions());
    }

    #[test]
    fn all_but_some() {
        let ignore = parsed("**\n!app\n!*.txt\n");
        assert!(ignore.leaves_out("x") && ignore.leaves_out("x/y"));
        assert!(!ignore.leaves_out("app/a/b") && !ignore.leaves_out("a.txt"));
        assert!(!parsed("").leaves_out("x"));
        assert!(parsed("*").leaves_out("x/y"));
    }

    #[test]
    fn a_pattern_for_files_below_does_not_match_the_directory() {
        let ignore = parsed("dist/**");
        assert!(!ignore.leaves_out("dist") && ignore.leaves_out("dist/a/b"));
    }

    #[test]
    fn stars_and_brackets_as_in_dockers_matcher() {
        for (pattern, path, fits) in [
            ("**.log", "a/b.log", true),
            ("**.log", "a/b.log/c", true),
            ("**.log", "a/b.txt", false),
            ("a**", "ab/c", true),
            ("x/a**b", "x/ab", true),
            ("x/a**b", "x/ac/b", true),
            ("x/a**b", "x/acb", false),
            ("**/", "a/b", true),
            ("**/c/**", "a/c/d", true),
            ("**/c/**", "a/c", false),
            ("a?c", "a/c", false),
            ("[^a]", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            (r"[\]-]x", "]x", true),
            (r"[\]-]x", "-x", true),
            ("[z-a]", "b", false),
            ("a.b+", "a.b+", true),
            ("a.b+", "aXbb", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("[a", "[a", true),
            ("é?", "éß", true),
        ] {
            let ignore = parsed(pattern);
            assert_eq!(ignore.leaves_out(path), fits, "{pattern} {path}");
        }
        assert!(parsed("\u{feff}a").leaves_out("a"));
    }

    /// Trying every length of every `*` in turn would take longer than the universe is old: this test
    /// fails by never ending.
    #[test]
    fn many_stars_take_linear_time() {
        let name = "a".repeat(200);
        let ignore = parsed(&format!("{}b", "*a".repeat(60)));
        assert!(!ignore.leaves_out(&name));
        assert!(ignore.leaves_out(&format!("{name}b")));
        let deep = "a/".repeat(200);
        let ignore = parsed(&format!("{}b", "**/a/".repeat(60)));
        assert!(!ignore.leaves_out(&format!("{deep}c")));
        assert!(ignore.leaves_out(&format!("{deep}b")));
    }
}
