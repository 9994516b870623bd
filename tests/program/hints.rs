//! No hint ends, removes or changes what is not provably the project's. Hints are texts in the
//! sources, some put together of several: every text outside of tests that holds such a command has
//! to be listed here, with the reason why it may be proposed, or why it is no proposal.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::support::pipeline::Pipeline;

/// Commands that end, remove or change something; `rm -f` and the like also without `docker`, for
/// hints are put together.
const COMMANDS: &str = r"(?x)
    \b(pkill|killall)\b | \bkill\ (-\w+\ )?[\d{$] | \breboot\b | \bshutdown\b
    | \bsystemctl\ (restart|stop|kill|disable)\b | \bservice\ \w+\ (restart|stop)\b
    | \b(docker|podman)(\ -H\ \S+)?\ (compose\ )?(stop|kill|rm|rmi|restart|rename|pause|update|down)\b
    | \b(volume|network|image|container|system|builder)\ (rm|prune|disconnect|remove)\b
    | ^(stop|kill|rm|rmi|restart|rename|pause|update)\ (-\w+|[{$])
    | ^(rm|rmi)$ | ^rm\ -\w+$
    | \brm\ -\w*[rf] | \btouch\ [{/$] | \btruncate\ - | \bsed\ -i | \bmv\ [{/$]
    | \bch(mod|own)\ [\w{/$+-]+\ [{/$]
    | \b(DROP|TRUNCATE)\ (TABLE|DATABASE|SCHEMA)\b | \bFLUSH(ALL|DB)\b | \biptables\ -[FXD]\b
    | \bkafka-(topics|consumer-groups)\S*\ .*--(delete|reset-offsets)
";

/// A text that holds a command of those, and why it may.
const ALLOWED: &[(&str, &str)] = &[
    (
        "docker stop {}",
        "down: only containers of `docker compose run` of this project, which hold its network",
    ),
    (
        "stop {name}",
        "no proposal: names a call to the engine, on the project's container",
    ),
    (
        "rename {id:.12} to {name}",
        "no proposal: names a call to the engine, on the container that is replaced",
    ),
    (
        "sed -i '/^{variable}=/d' {} && {up}",
        "the project's own file, a line of which `up` wrote itself",
    ),
    (
        "rm -f",
        "doctor: containers that carry the project's labels, or that of an interrupted doctor",
    ),
    ("rm", "doctor: Caravan's own containers that never started"),
    ("rmi", "doctor: behind `if no other project needs them`"),
    (
        "network rm",
        "doctor: networks that carry the project's label, or that of an interrupted doctor",
    ),
    (
        "volume rm",
        "doctor: volumes that carry the project's label, behind `if what they hold is not needed`",
    ),
    ("restart {name}", "caravan's own command, on the project"),
    ("restart {service}", "caravan's own command, on the project"),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "benches", "target"].contains(&name.as_str()) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "testing.rs" {
            found.push(path);
        }
    }
}

/// The text literals of a source file, without those of its tests; a line that goes on in the next
/// one is one text.
fn texts(source: &str) -> Vec<String> {
    let (code, _) = source
        .split_once("#[cfg(test)]\nmod tests")
        .unwrap_or((source, ""));
    let code: Vec<_> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = Regex::new(r"\\\n\s*")
        .unwrap()
        .replace_all(&code.join("\n"), "")
        .into_owned();
    let literal = Regex::new(r#""((?:[^"\\\n]|\\.)*)""#).unwrap();
    let texts = literal
        .captures_iter(&code)
        .map(|found| found[1].to_owned());
    texts.collect()
}

#[test]
fn no_text_proposes_to_end_or_remove_what_may_be_anothers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("crates"), &mut files);
    assert!(files.len() > 100, "the sources are elsewhere");
    let commands = Regex::new(COMMANDS).unwrap();
    let (mut wrong, mut met) = (Vec::new(), Vec::new());
    for path in files {
        for text in texts(&fs::read_to_string(&path).unwrap()) {
            if !commands.is_match(&text) {
                continue;
            }
            match ALLOWED.iter().find(|(allowed, _)| *allowed == text) {
                Some((allowed, _)) => met.push(*allowed),
                None => wrong.push(format!("{}: {text:?}", path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unmet = ALLOWED.iter().find(|(allowed, _)| !met.contains(allowed));
    assert_eq!(unmet, None, "no text is allowed that is not there");
}

#[test]
fn such_commands_are_recognised_however_they_are_put_together() {
    let commands = Regex::new(COMMANDS).unwrap();
    for dangerous in [
        "kill {pid}",
        "docker stop {name}",
        "docker network rm {name}, or another project name: -p NAME",
        "a network that nobody uses has to go first: `docker network rm NAME`",
        "rename {taken} {taken}-old",
        "touch {}",
        "sudo systemctl restart docker",
        "add it to the kernel's command line, then: sudo reboot",
        "rmi",
        "docker -H tcp://x rm -f a",
    ] {
        assert!(commands.is_match(dangerous), "{dangerous}");
    }
    for harmless in [
        "docker ps --filter network={network}",
        "sudo systemctl start docker",
        "if it is killed, start it again",
        "logs {name}",
    ] {
        assert!(!commands.is_match(harmless), "{harmless}");
    }
    assert_eq!(
        texts(
            "// \"kill {pid}\"\nlet a = f(\"one \\\n    two\", \"\\\"x\");\n#[cfg(test)]\nmod tests {\"no\"}"
        ),
        ["one two", "\\\"x"]
    );
}

#[test]
fn a_container_of_others_that_holds_the_projects_network_is_named_and_left_alone() {
    let pipeline = Pipeline::declared("foreign-user", &[]);
    let declaration = "x-caravan: {}
services:
  store:
    image: caravan.local/redis:7
    command: [redis-server]
    stop_grace_period: 0s
    x-caravan: {image-from: redis}
";
    fs::write(pipeline.directory().join("compose.yaml"), declaration).unwrap();
    pipeline.with_images(&["up"]);
    let other = format!("{}-other", pipeline.project);
    let network = format!("{}_default", pipeline.project);
    let run = ["run", "-d", "--name", &other, "--network", &network];
    pipeline.docker(&[&run[..], &["caravan.local/redis:7", "redis-server"]].concat());
    let down = pipeline.caravan(&["down"]);
    let running = pipeline.runs("other");
    pipeline.docker(&["rm", "-fv", &other]);
    let refused = down.expect(1).stderr;
    assert!(running, "{refused}");
    assert!(refused.contains(&format!("in use by {other}")), "{refused}");
    let (_, hint) = refused.rsplit_once("next: ").unwrap();
    assert_eq!(hint.trim(), format!("docker ps --filter network={network}"));
}
