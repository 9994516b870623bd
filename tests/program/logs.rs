//! `logs` under load, over restarts and recreated containers.

use std::{
    fs::File,
    io::Read,
    process::{Child, Command, Stdio},
};

use crate::support::{eventually, pipeline::Pipeline};

const LINES: usize = 50_000;

/// Runs a shell in an image that every test machine has by now, or gets with the first `up`.
fn declaration(script: &str, logging: &str) -> String {
    format!(
        "services:\n  writer:\n    image: redis:7\n    entrypoint: [sh, -c]\n    \
         command: ['{script}']\n    stop_grace_period: 1s\n    \
         logging: {{driver: json-file, options: {{{logging}}}}}\n    \
         x-caravan: {{image-from: redis}}\nx-caravan: {{}}\n"
    )
}

fn declared(name: &str, script: &str, logging: &str) -> Pipeline {
    let pipeline = Pipeline::declared(name, &[]);
    let path = pipeline.directory().join("compose.yaml");
    std::fs::write(path, declaration(script, logging)).unwrap();
    pipeline
}

/// `caravan logs` into a file.
struct Following {
    child: Child,
    path: std::path::PathBuf,
}

impl Following {
    fn of(pipeline: &Pipeline, args: &[&str]) -> Self {
        let path = pipeline.directory().join("followed");
        let child = pipeline
            .command(args)
            .stdout(File::create(&path).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { child, path }
    }

    #[track_caller]
    fn expect(&self, what: &str, is: impl Fn(&[&str]) -> bool) {
        eventually(what, || {
            let text = std::fs::read_to_string(&self.path).unwrap();
            is(&text.lines().collect::<Vec<_>>()).then_some(())
        });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn numbered(lines: &str) -> bool {
    let expected = (1..=LINES).map(|n| n.to_string());
    lines.lines().map(str::to_owned).eq(expected)
}

/// Some are written at once, the rest while the log is rotated.
#[test]
fn no_line_is_lost_or_repeated_under_load() {
    let burst = LINES / 2;
    let script = format!(
        "seq 1 {burst}; i={burst}; while [ $$i -lt {LINES} ]; do \
         seq $$((i+1)) $$((i+500)); i=$$((i+500)); sleep 0.05; done; exec sleep 1000"
    );
    let pipeline = declared("burst", &script, "max-size: 1m, max-file: \"8\"");
    pipeline.with_images(&["up"]);
    let following = Following::of(&pipeline, &["logs", "-f"]);
    let last = LINES.to_string();
    following.expect("the last line", |lines| {
        lines.last() == Some(&last.as_str())
    });
    let followed = std::fs::read_to_string(&following.path).unwrap();
    assert!(numbered(&followed), "{} lines", followed.lines().count());
    let read = pipeline.caravan(&["logs"]).expect(0);
    assert!(
        numbered(&read.stdout),
        "{} lines",
        read.stdout.lines().count()
    );

    let some = pipeline
        .caravan(&["logs", "-n", "2", "--grep", "^4.*99$"])
        .expect(0);
    assert_eq!(some.stdout, "49899\n49999\n");
    let none = pipeline.caravan(&["logs", "--grep", "x"]).expect(0);
    assert_eq!(none.stdout, "");
    assert!(none.stderr.contains("no line matches"), "{}", none.stderr);
    let wrong = pipeline.caravan(&["logs", "--grep", "("]).expect(2);
    assert!(wrong.stderr.contains("--grep"), "{}", wrong.stderr);
    a_reader_that_leaves_ends_it(&pipeline);
    a_reader_that_stalls_does_not_keep_ctrl_c_away(&pipeline);
}

fn a_reader_that_leaves_ends_it(pipeline: &Pipeline) {
    let ran = pipeline.shell("caravan logs -f | head -n 2");
    assert_eq!(ran.expect(0).stdout, "1\n2\n");
}

/// More is to be written than a pipe holds.
fn a_reader_that_stalls_does_not_keep_ctrl_c_away(pipeline: &Pipeline) {
    let mut child = pipeline
        .command(&["logs", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ended = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
}

#[test]
fn following_goes_on_over_restarts_and_new_containers() {
    let script = "echo begin $$WHICH; exec sleep 1000";
    let pipeline = declared("follow", script, "max-size: 1m");
    let path = pipeline.directory().join("compose.yaml");
    let with = |which: &str, more: &str| {
        let text = declaration(script, "max-size: 1m");
        let variables = format!("    environment: {{WHICH: {which}}}\n{more}    stop_grace");
        let text = text.replacen("    stop_grace", &variables, 1);
        std::fs::write(&path, text).unwrap();
        pipeline.with_images(&["up"]);
    };
    with("one", "");
    let following = Following::of(&pipeline, &["logs", "-f", "--no-log-prefix"]);
    following.expect("the first run", |lines| *lines == ["begin one"]);
    pipeline.docker(&["restart", "-t", "1", &pipeline.container("writer")]);
    let restarted = ["begin one", "begin one"];
    following.expect("the restarted container", |lines| *lines == restarted);
    with("two", "");
    let recreated = ["begin one", "begin one", "begin two"];
    following.expect("the recreated container", |lines| *lines == recreated);
    with("two", "    scale: 2\n");
    let added = ["begin one", "begin one", "begin two", "begin two"];
    following.expect("the new replica", |lines| *lines == added);
    let both = pipeline.caravan(&["logs", "-n", "1"]).expect(0).stdout;
    let names = both.lines().filter(|line| line.ends_with(" | begin two"));
    assert_eq!(names.count(), 2, "{both}");
    assert!(!both.contains('\x1b'), "no colour in a pipe: {both}");
    let painted = pipeline.caravan(&["--color", "always", "logs"]).expect(0);
    assert!(painted.stdout.starts_with("\x1b["), "{}", painted.stdout);
}
