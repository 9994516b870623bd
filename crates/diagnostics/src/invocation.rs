//! Command lines for hints. They select the same pipeline, so they can be run as they are.

/// The global flags of this invocation that choose the pipeline.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// `-f`, as given.
    pub files: Vec<String>,
    /// `-p`, as given.
    pub project: Option<String>,
    /// `--env-file`, as given.
    pub env_file: Option<String>,
    /// `--profile`, as given.
    pub profiles: Vec<String>,
    /// `-H`, as given.
    pub host: Option<String>,
    /// `XDG_STATE_HOME` of the pipeline, if it differs from the environment's.
    pub state_home: Option<String>,
}

impl Invocation {
    /// A `caravan` command line for the same pipeline: `command("up purchase-worker")`.
    pub fn command(&self, rest: &str) -> String {
        let state_home = self.state_home.as_ref();
        let state_home = state_home.map(|home| format!("XDG_STATE_HOME={} ", quote(home)));
        let mut line = format!("{}caravan", state_home.unwrap_or_default());
        let flags = [
            ("--env-file", self.env_file.as_ref()),
            ("-p", self.project.as_ref()),
            ("-H", self.host.as_ref()),
        ];
        for file in &self.files {
            line.push_str(&format!(" -f {}", quote(file)));
        }
        for profile in &self.profiles {
            line.push_str(&format!(" --profile {}", quote(profile)));
        }
        for (flag, value) in flags {
            if let Some(value) = value {
                line.push_str(&format!(" {flag} {}", quote(value)));
            }
        }
        format!("{line} {rest}")
    }

    /// A `docker` command line for the same engine: `docker("unpause x")`.
    pub fn docker(&self, rest: &str) -> String {
        match &self.host {
            Some(host) => format!("docker -H {} {rest}", quote(host)),
            None => format!("docker {rest}"),
        }
    }
}

/// The programs that hints call.
const PROGRAMS: [&str; 6] = ["caravan", "docker", "sudo", "ps", "cargo", "unset"];

/// The commands of a hint, exactly as they can be run, in their order. A hint without one says what to change.
///
/// Pieces of a hint end at `, ` or `: `. What has a placeholder (`FILE`) is no command.
pub fn commands(hint: &str) -> Vec<&str> {
    let pieces = hint.split_inclusive(&[',', ':'][..]).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for (n, piece) in pieces.iter().enumerate() {
        end += piece.len();
        let is_last = n + 1 == pieces.len();
        // A separator is followed by a space, and is in no quotes.
        let is_quoted = hint[begin..end].matches('\'').count() % 2 == 1;
        let is_separator = hint[end..].starts_with(' ') && !is_quoted;
        if !is_last && !is_separator {
            continue;
        }
        let text = hint[begin..end].trim();
        let text = text.strip_suffix([',', ':']).unwrap_or(text);
        let text = text.strip_prefix("then ").unwrap_or(text);
        let text = text.strip_prefix("or ").unwrap_or(text);
        if is_command(text) {
            found.push(text);
        }
        begin = end;
    }
    found
}

fn is_command(text: &str) -> bool {
    let mut words = text
        .split(' ')
        .skip_while(|word| word.starts_with("XDG_STATE_HOME="));
    let calls = words.next().is_some_and(|word| PROGRAMS.contains(&word));
    let is_placeholder =
        |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
    calls && !words.any(|word| word.split('/').any(is_placeholder))
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_hint_can_be_run_as_they_are() {
        for (hint, expected) in [
            (
                "caravan -p shop up billing",
                &["caravan -p shop up billing"][..],
            ),
            (
                "caravan dlq list, then caravan dlq replay --all --dry-run",
                &["caravan dlq list", "caravan dlq replay --all --dry-run"],
            ),
            (
                "restore .env, then: XDG_STATE_HOME=/s caravan up",
                &["XDG_STATE_HOME=/s caravan up"],
            ),
            ("caravan verify --only a,b", &["caravan verify --only a,b"]),
            ("caravan -p 'a, b: c' up", &["caravan -p 'a, b: c' up"]),
            (
                "docker pull a:1, or docker load -i FILE",
                &["docker pull a:1"],
            ),
            (
                "docker inspect -f '{{.State}}' a",
                &["docker inspect -f '{{.State}}' a"],
            ),
            (
                "no migration waits: repair it in the database, with SQL",
                &[],
            ),
            ("declare min-insync: 1, or alter it", &[]),
            ("write it elsewhere: caravan images save OTHER/FILE", &[]),
            ("", &[]),
        ] {
            assert_eq!(commands(hint), expected, "{hint}");
        }
    }
}
