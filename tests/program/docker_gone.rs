//! Docker goes away in the middle of a command: with what it ends, what it says, and that the next
//! one goes on from there. The daemon that all share is never stopped; a socket before it is.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    evidence::{declared, error},
    support::{Ran, eventually, pipeline::Pipeline, proxy::Proxy},
};

const SOON: Duration = Duration::from_secs(30);

fn proxy(pipeline: &Pipeline) -> Proxy {
    Proxy::listen(&pipeline.directory().join("docker.sock"))
}

fn begin(pipeline: &Pipeline, proxy: &Proxy, args: &[&str]) -> Child {
    let host = proxy.host();
    let mut command = pipeline.command(&[&["-H", &host], args].concat());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How it ends once Docker is gone.
fn cut(child: Child, proxy: &Proxy) -> Ran {
    proxy.cut();
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < SOON, "it was waited for");
    Ran::of(output).expect(3)
}

/// What is said, whichever call it was that got no answer.
fn said(pipeline: &Pipeline, ran: &Ran) -> String {
    let text = error(pipeline, ran);
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("  Docker could not ") => "  Docker could not …",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_up_that_was_cut_off_is_gone_on_with_by_the_next() {
    let pipeline = declared("cut-up", &[]);
    let proxy = proxy(&pipeline);
    let child = begin(&pipeline, &proxy, &["up", "in-time", "--timeout", "120s"]);
    eventually("it runs", || pipeline.runs("in-time").then_some(()));
    let ran = cut(child, &proxy);
    insta::assert_snapshot!("up", said(&pipeline, &ran));
    // What was begun stays as it is, and is not begun again.
    let before = pipeline.inspect("in-time", "{{.Id}} {{.State.StartedAt}}");
    pipeline.docker(&["exec", &pipeline.container("in-time"), "touch", "/now"]);
    let again = pipeline.caravan(&["up", "in-time"]).expect(0);
    assert!(again.stdout.contains("unchanged"), "{}", again.stdout);
    assert_eq!(
        pipeline.inspect("in-time", "{{.Id}} {{.State.StartedAt}}"),
        before
    );
}

#[test]
fn logs_that_are_followed_end_with_docker() {
    let pipeline = declared("cut-logs", &[]);
    pipeline.caravan(&["up", "talks"]).expect(0);
    let proxy = proxy(&pipeline);
    let mut child = begin(&pipeline, &proxy, &["logs", "-f", "talks"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("taking a lock"), "{line}");
    let ran = cut(child, &proxy);
    insta::assert_snapshot!("logs", said(&pipeline, &ran));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "results are whole lines of logs");
}

#[test]
fn a_verify_that_waits_ends_with_docker_also_in_json() {
    let pipeline = declared("cut-verify", &[]);
    pipeline.caravan(&["up", "talks"]).expect(0);
    let proxy = proxy(&pipeline);
    // It looks again and again: most of what is declared is not there.
    let waiting = ["verify", "--wait", "120s", "-o", "json"];
    let child = begin(&pipeline, &proxy, &waiting);
    eventually("it looks again", || (proxy.said() > 40).then_some(()));
    let document = cut(child, &proxy).json();
    assert_eq!(document["error"]["kind"], "unreachable", "{document}");
    let hint = document["error"]["hint"].as_str().unwrap();
    assert_eq!(hint, format!("docker -H {} version", proxy.host()));
}
