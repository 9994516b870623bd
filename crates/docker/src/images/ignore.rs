//! `.dockerignore`: which paths of a build context stay at home. The last pattern that fits a path,
//! or a directory above it, decides; `!` lets it in again.

/// The patterns of one file.
#[derive(Debug, Default)]
pub(super) struct Ignore(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// `**` stands for any number of them.
    parts: Vec<String>,
    exception: bool,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Pattern::parse).collect())
    }

    /// Whether a path, relative to the context and with slashes, is left out.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        let last = self.0.iter().rfind(|pattern| pattern.fits(&path));
        last.is_some_and(|pattern| !pattern.exception)
    }

    /// Whether something below a directory that is left out may come in again.
    pub(super) fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.exception)
    }
}

impl Pattern {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = line.trim();
        let (line, exception) = match line.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (line, false),
        };
        let mut parts: Vec<String> = Vec::new();
        for part in line.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part.to_owned()),
            }
        }
        (!parts.is_empty()).then_some(Self { parts, exception })
    }

    fn fits(&self, path: &[&str]) -> bool {
        fits(&self.parts, path)
    }
}

/// Whether the pattern is used up by the path or by a directory above it.
fn fits(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, _) => true,
        (Some((first, rest)), Some(_)) if first == "**" => {
            // What ends so means what lies below, at least one step.
            let least = usize::from(rest.is_empty());
            (least..=path.len()).any(|steps| fits(rest, &path[steps..]))
        }
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            glob(&first, &name) && fits(rest, below)
        }
        (Some(_), None) => false,
    }
}

/// `*`, `?`, `[a-z]`, `[^a]` and `\x`, within one name.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|n| glob(rest, &name[n..])),
        (['?', rest @ ..], [_, name @ ..]) => glob(rest, name),
        (['[', rest @ ..], [c, name @ ..]) => match rest.iter().position(|c| *c == ']') {
            Some(end) => class(&rest[..end], *c) && glob(&rest[end + 1..], name),
            None => *c == '[' && glob(rest, name),
        },
        (['\\', escaped, rest @ ..], [c, name @ ..]) => escaped == c && glob(rest, name),
        ([plain, rest @ ..], [c, name @ ..]) => plain == c && glob(rest, name),
        (_, []) | ([], _) => false,
    }
}

/// What stands between the brackets.
fn class(members: &[char], c: char) -> bool {
    let (members, negated) = match members {
        ['^', rest @ ..] => (rest, true),
        members => (members, false),
    };
    let mut members = members;
    let mut found = false;
    while let [first, rest @ ..] = members {
        members = match rest {
            ['-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&c);
                rest
            }
            rest => {
                found |= *first == c;
                rest
            }
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_reads_it() {
        let ignore = Ignore::parse(
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
        let ignore = Ignore::parse("**\n!app\n!*.txt\n");
        assert!(ignore.leaves_out("x") && ignore.leaves_out("x/y"));
        assert!(!ignore.leaves_out("app/a/b") && !ignore.leaves_out("a.txt"));
        assert!(!Ignore::parse("").leaves_out("x"));
        assert!(Ignore::parse("*").leaves_out("x/y"));
    }

    #[test]
    fn what_lies_below_is_not_the_directory() {
        let ignore = Ignore::parse("dist/**");
        assert!(!ignore.leaves_out("dist") && ignore.leaves_out("dist/a/b"));
    }
}
