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

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
