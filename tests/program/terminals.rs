//! What people see on terminals of every kind: narrow and wide ones, resized, without escape sequences, behind a
//! pager.

use std::{collections::BTreeSet, process::Command};

use crate::support::{
    eventually,
    pipeline::Pipeline,
    shared::{Lease, lease},
    terminal::Session,
};

const WIDTHS: [u16; 6] = [20, 40, 80, 120, 200, 300];

fn brought_up() -> Lease<Pipeline> {
    lease("bring-up", |name| Pipeline::up(name, &[]))
}

/// What `args` writes on a terminal of this width, and how it ends.
#[track_caller]
fn shown(pipeline: &Pipeline, width: u16, args: &[&str]) -> (String, i32) {
    let command = pipeline.command(&[args, &["--no-progress"]].concat());
    let mut session = Session::sized(width, 24, &command);
    let code = session.ended();
    // `script` has written everything when it ends; the test may not have read it.
    let screen = eventually("the whole screen", || {
        let screen = session.screen();
        screen.ends_with('\n').then_some(screen)
    });
    (screen.replace('\r', ""), code)
}

/// Fails if a line is wider than the terminal, unless it is one word or a command; or if a word is broken that is
/// whole in a pipe. What has digits may be another number now.
#[track_caller]
fn expect_readable(screen: &str, width: u16, piped: &str, args: &[&str]) {
    let known: BTreeSet<&str> = piped.split_whitespace().collect();
    for line in screen.lines() {
        let content = line.trim().trim_start_matches("→ ");
        let is_command = ["Next: ", "caravan ", "docker "]
            .iter()
            .any(|start| content.starts_with(start));
        let is_whole = !content.contains(' ') || is_command;
        let fits = line.chars().count() <= width.into();
        assert!(fits || is_whole, "{args:?} at {width}: {line:?}\n{screen}");
        // With a terminal, the next command is named.
        if content.starts_with("Next: ") {
            continue;
        }
        for word in content.split_whitespace() {
            let may_differ = word.contains(|c: char| c.is_ascii_digit() || "█·…".contains(c));
            let is_option = word.starts_with("--") || word == "each:" || word == "each";
            assert!(
                may_differ || is_option || known.contains(word),
                "{args:?} at {width}: {word:?}\n{screen}\n{piped}"
            );
        }
    }
}

#[test]
fn lists_read_well_on_terminals_of_every_width() {
    let pipeline = &brought_up();
    for args in [
        &["status"][..],
        &["status", "-o", "wide"],
        &["verify"],
        &["verify", "--all", "groups"],
        &["groups"],
        &["groups", "session"],
        &["topics"],
        &["topics", "purchase-created"],
        &["images", "list"],
        &["dlq", "list"],
    ] {
        let piped = pipeline.caravan(args).expect(0);
        for width in WIDTHS {
            let (screen, code) = shown(pipeline, width, args);
            assert_eq!(code, 0, "{screen}");
            expect_readable(&screen, width, &piped.stdout, args);
        }
    }
}

#[test]
fn a_test_message_reads_well_on_terminals_of_every_width() {
    let pipeline = &brought_up();
    let args = ["test-flow"];
    let piped = pipeline.caravan(&args).expect(0);
    for width in [20, 80, 300] {
        let (screen, code) = shown(pipeline, width, &args);
        assert_eq!(code, 0, "{screen}");
        // Which service is the slowest differs.
        let known = format!("{} slowest payment-service purchase-worker", piped.stdout);
        let known = format!("{known} allocation-worker cache-worker session-worker");
        expect_readable(&screen, width, &known, &args);
    }
}

#[test]
fn a_dumb_terminal_and_the_locale_c_get_neither_escapes_nor_drawings() {
    let pipeline = &brought_up();
    for args in [
        &["verify"][..],
        &["status"],
        &["groups", "session"],
        &["test-flow"],
    ] {
        let mut command = pipeline.command(args);
        command.env("TERM", "dumb").env("LANG", "C");
        let mut session = Session::sized(80, 24, &command);
        assert_eq!(session.ended(), 0, "{}", session.screen());
        let screen = session.screen();
        assert!(screen.len() > 100, "{args:?}: {screen}");
        let strange = |c: char| !(c.is_ascii_graphic() || " \r\n".contains(c));
        let strange: Vec<char> = screen.chars().filter(|c| strange(*c)).collect();
        assert!(strange.is_empty(), "{args:?}: {strange:?} in {screen}");
    }
}

#[test]
fn a_terminal_that_is_resized_is_drawn_anew_in_its_size() {
    let pipeline = &brought_up();
    let mut session = Session::sized(80, 24, &pipeline.command(&["verify", "--watch"]));
    let wide = eventually("a screen", || {
        Some(session.last_screen()).filter(|screen| !screen.is_empty())
    });
    assert!(
        wide.iter().any(|line| line.chars().count() > 40),
        "{wide:#?}"
    );
    session.resize(40, 8);
    eventually("a screen of the new size", || {
        let screen = session.last_screen();
        let fits = |line: &String| line.chars().count() <= 40;
        // The cursor takes the last row.
        (screen.len() < 8 && screen.iter().all(fits)).then_some(())
    });
    let narrow = session.last_screen();
    assert!(narrow[0].starts_with(&pipeline.project), "{narrow:#?}");
    assert!(
        narrow.iter().any(|line| line.contains("passed")),
        "{narrow:#?}"
    );
    session.press("\x03");
    assert_eq!(session.ended(), 130, "{}", session.screen());
    assert!(!session.screen().contains("error:"), "{}", session.screen());
}

#[test]
fn two_problems_fit_on_a_terminal() {
    let pipeline = &brought_up();
    let paused = ["redis", "session-worker"].map(|service| pipeline.container(service));
    for container in &paused {
        pipeline.docker(&["pause", container]);
    }
    let (screen, code) = shown(pipeline, 80, &["verify"]);
    let mut waits = pipeline.command(&["verify", "--wait", "120s"]);
    waits.env("TERM", "xterm").env("NO_COLOR", "1");
    let mut waits = Session::sized(80, 24, &waits);
    waits.expect("verify: not right yet");
    waits.press("\x03");
    let interrupted = waits.ended();
    waits.expect("error: interrupted");
    for container in &paused {
        pipeline.docker(&["unpause", container]);
    }
    // What is in progress is erased before that is said.
    assert_eq!(interrupted, 130);
    let waited = waits.screen();
    let last = waited.rsplit("\x1b[2K").next().unwrap_or_default();
    assert!(last.contains("error: interrupted"), "{waited:?}");
    assert!(!last.contains("verify:"), "{waited:?}");
    assert_eq!(code, 1, "{screen}");
    // The prompt takes the last row.
    assert!(screen.lines().count() < 24, "{screen}");
    for container in &paused {
        let command = format!("  → docker unpause {container}");
        assert!(screen.lines().any(|line| line == command), "{screen}");
    }
    let last = screen.lines().last().unwrap_or_default();
    assert!(last.starts_with("✗ 2 problems: "), "{screen}");
    pipeline.expect_green();
}

/// `args` of the pipeline, piped into another command by a shell on a terminal.
fn piped_into(pipeline: &Pipeline, args: &str, reader: &str) -> Session {
    let plain = pipeline.command(&[]);
    let line = format!("{} {args} | {reader}", plain.get_program().display());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_clear();
    let variables = plain.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    Session::sized(80, 24, &command)
}

#[test]
fn a_pager_has_its_screen_to_itself() {
    let pipeline = &brought_up();
    let mut session = piped_into(pipeline, "verify --all", "more");
    session.expect("--More--");
    session.press("q");
    assert_eq!(session.ended(), 0, "{}", session.screen());
    let screen = session.screen();
    for said in ["Next:", "error:"] {
        assert!(!screen.contains(said), "{said}: {screen}");
    }
}

#[test]
fn a_reader_of_the_first_line_ends_the_command_without_an_error() {
    let pipeline = &brought_up();
    for args in [
        "verify --all",
        "status",
        "logs",
        "topics",
        "verify -o plain",
    ] {
        let mut session = piped_into(pipeline, args, "head -n 1");
        assert_eq!(session.ended(), 0, "{}", session.screen());
        let screen = session.screen();
        assert_eq!(screen.trim().lines().count(), 1, "{args}: {screen}");
    }
}
