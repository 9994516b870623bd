//! `caravan` on a pseudo terminal, by `script` of util-linux: a person at the keyboard.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Stdio},
    sync::Arc,
};

use super::*;

/// A command that runs; killed when the test ends.
pub(crate) struct Session {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Session {
    /// `command`, without what it says of its standard streams, on a terminal without a size.
    pub(crate) fn start(command: &Command) -> Self {
        Self::prepared("", command)
    }

    /// As [`Self::start`], on a terminal of a size.
    pub(crate) fn sized(columns: u16, rows: u16, command: &Command) -> Self {
        Self::prepared(&format!("stty cols {columns} rows {rows}; "), command)
    }

    fn prepared(before: &str, command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        // Where the tests run under `nohup`, SIGHUP is ignored, and a child would inherit that.
        let mut script = Command::new("env");
        script.args(["--default-signal=HUP", "script"]);
        script.args(["--quiet", "--return", "--flush", "--command"]);
        script.arg(format!("{before}exec {}", words.join(" ")));
        script.arg("/dev/null").env_clear();
        let variables = command.get_envs();
        script.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            script.current_dir(directory);
        }
        script.env("SHELL", "/bin/sh");
        // A terminal that is named may show colours, or not.
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            script.env("NO_COLOR", "1");
        }
        script.stdin(Stdio::piped());
        script.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (keyboard, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            keyboard,
            screen,
        }
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) {
        eventually(text, || self.screen().contains(text).then_some(()));
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Sends a signal to the command.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Gives the terminal another size; the kernel sends SIGWINCH.
    #[track_caller]
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let terminal = std::fs::read_link(format!("/proc/{}/fd/0", self.pid())).unwrap();
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let stty = Command::new("stty")
            .arg("-F")
            .arg(terminal)
            .args(["cols", &columns, "rows", &rows])
            .status();
        assert!(stty.unwrap().success());
    }

    /// The command, which `script` runs as its only child.
    fn pid(&self) -> String {
        let script = self.child.id();
        let children = format!("/proc/{script}/task/{script}/children");
        let children = std::fs::read_to_string(children).unwrap();
        children.trim().to_owned()
    }

    /// The lines of the last screen that was drawn from its first row on.
    pub(crate) fn last_screen(&self) -> Vec<String> {
        const ENDED: &str = "\x1b[J";
        let shown = self.screen();
        let screens = shown
            .split("\x1b[H")
            .filter(|screen| screen.contains(ENDED));
        let last = screens.last().unwrap_or_default();
        let last = last.split(ENDED).next().unwrap_or_default();
        last.lines()
            .map(|line| line.replace("\x1b[K", ""))
            .collect()
    }

    /// Its exit code; it has to end by itself now.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> i32 {
        let status = eventually("it ends", || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
