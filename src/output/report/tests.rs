//! Findings in each format.

use std::time::Duration;

use super::*;
use crate::output::Console;
use diagnostics::Kind;
use proof::checks::{CheckId, finding::Severity};

/// `layer.aspect` or `layer.subject.aspect`.
fn id(text: &'static str) -> CheckId {
    let (layer, rest) = text.split_once('.').expect("a layer");
    match rest.split_once('.') {
        Some((subject, aspect)) => CheckId::of_subject(layer, subject, aspect),
        None => CheckId::of_layer(layer, rest),
    }
}

fn finding(text: &'static str, status: Status) -> Finding {
    Finding {
        id: id(text),
        status,
        severity: Severity::Error,
        expected: "lag 0".to_owned(),
        seen: "0".to_owned(),
        evidence: Vec::new(),
        hint: None,
        cause: None,
        took: Duration::from_millis(12),
    }
}

/// A worker that was never deployed, and a dead letter.
fn findings() -> Vec<Finding> {
    vec![
        Finding {
            expected: "running".to_owned(),
            seen: "not deployed".to_owned(),
            hint: Some("caravan up billing".to_owned()),
            ..finding("containers.billing.running", Status::Fail)
        },
        Finding {
            seen: "skipped: containers.billing.running did not pass".to_owned(),
            cause: Some(id("containers.billing.running")),
            ..finding("containers.billing.health", Status::Skip)
        },
        finding("kafka.reachable", Status::Pass),
        Finding {
            seen: "0 of 3".to_owned(),
            evidence: vec!["placed/0: held by <nobody> & nothing".to_owned()],
            hint: Some("caravan up billing".to_owned()),
            cause: Some(id("containers.billing.running")),
            ..finding("groups.billing.assigned", Status::Fail)
        },
        Finding {
            severity: Severity::Warning,
            seen: "1: 1 invalid".to_owned(),
            evidence: vec!["dlq/0/7: not JSON".to_owned()],
            hint: Some("caravan dlq list".to_owned()),
            ..finding("dead-letters.empty", Status::Warn)
        },
    ]
}

fn report(findings: &[Finding], strict: bool) -> Report<'_> {
    Report {
        project: "shop",
        origin: "shipped pipeline",
        findings,
        took: Duration::from_millis(180),
        strict,
        all: false,
    }
}

#[test]
fn a_report_without_a_check_is_not_right() {
    let right = |findings: &[Finding], strict| Tally::of(findings).is_right(strict);
    let [pass, warn, fail, skip] = [Status::Pass, Status::Warn, Status::Fail, Status::Skip]
        .map(|status| finding("groups.a.lag", status));
    assert!(!right(&[], false));
    assert!(!right(&[skip], false));
    assert!(!right(&[pass.clone(), fail], false));
    assert!(right(&[pass.clone(), warn.clone()], false));
    assert!(!right(&[pass, warn], true));
}

#[test]
fn root_causes_are_listed_with_the_findings_that_they_caused() {
    let findings = findings();
    let all = Report {
        all: true,
        ..report(&findings, false)
    };
    insta::assert_snapshot!(
        "table",
        table::text(&Console::plain(), "shop", all, table::SCREEN)
    );
    insta::assert_snapshot!("plain", plain::text(report(&findings, false)));
}

/// The findings of a run on a real pipeline: status, severity, id, expected, seen, evidence, hint, cause.
fn recorded(text: &str) -> Vec<Finding> {
    let finding = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        let status = match next().as_str() {
            "pass" => Status::Pass,
            "warn" => Status::Warn,
            "fail" => Status::Fail,
            _ => Status::Skip,
        };
        let severity = match next().as_str() {
            "warning" => Severity::Warning,
            _ => Severity::Error,
        };
        let id = |text: String| (!text.is_empty()).then(|| id(text.leak()));
        Finding {
            status,
            severity,
            id: id(next()).expect("an id"),
            expected: next(),
            seen: next(),
            evidence: next()
                .split(" | ")
                .filter(|e| !e.is_empty())
                .map(str::to_owned)
                .collect(),
            hint: Some(next()).filter(|hint| !hint.is_empty()),
            cause: id(next()),
            took: Duration::from_millis(12),
        }
    };
    text.lines().map(finding).collect()
}

const RECORDED: [(&str, &str); 4] = [
    ("green", include_str!("recorded/green.tsv")),
    ("worker-gone", include_str!("recorded/worker-gone.tsv")),
    ("kafka-down", include_str!("recorded/kafka-down.tsv")),
    ("two-problems", include_str!("recorded/two-problems.tsv")),
];

/// The screen of `verify`, on terminals of several widths and into a pipe.
#[test]
fn a_run_fits_on_one_screen() {
    const HEADER: &str = "shop · shipped pipeline · 2026-11-28 10:16:05 UTC";
    for (name, text) in RECORDED {
        let findings = recorded(text);
        let report = report(&findings, false);
        for width in [80, 120, 200] {
            let shown = table::text(&Console::narrow(width), HEADER, report, table::SCREEN);
            // The prompt takes the last row.
            assert!(shown.lines().count() < 24, "{shown}");
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width.into()), "{shown}");
            insta::assert_snapshot!(format!("{name}-{width}"), shown);
        }
        let piped = table::text(&Console::plain(), HEADER, report, table::SCREEN);
        assert!(piped.lines().count() < 24, "{piped}");
        for root in findings
            .iter()
            .filter(|f| f.status == Status::Fail && f.cause.is_none())
        {
            let command = format!("  → {}", root.hint.as_deref().expect("a command"));
            assert!(piped.lines().any(|line| line == command), "{piped}");
        }
        if name == "two-problems" {
            let all = Report {
                all: true,
                ..report
            };
            let shown = table::text(&Console::narrow(80), HEADER, all, table::SCREEN);
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{shown}");
            insta::assert_snapshot!("all-80", shown);
        }
    }
}

#[test]
fn a_run_reads_well_at_every_width() {
    for (_, text) in RECORDED {
        let findings = recorded(text);
        let report = report(&findings, false);
        crate::output::widths::expect_readable(|console| {
            let header = header(console, report);
            // The time is not the same at each call.
            let header = header.split(|c: char| c.is_ascii_digit()).next();
            table::text(console, header.unwrap_or_default(), report, table::SCREEN)
        });
    }
}

#[test]
fn junit_has_one_suite_per_layer() {
    let findings = findings();
    let text = junit::text(report(&findings, false));
    let text = regex::Regex::new(r#" timestamp="[^"]*""#)
        .expect("is one")
        .replace_all(&text, "")
        .into_owned();
    insta::assert_snapshot!("junit", text);
    let failures = |strict| {
        let text = junit::text(report(&findings, strict));
        text.matches("<failure").count()
    };
    assert_eq!((failures(false), failures(true)), (2, 3));
}

#[test]
fn junit_reports_an_error() {
    let error = Error::new(Kind::Unreachable, "no Docker")
        .because("a < b")
        .hint("start it");
    insta::assert_snapshot!("junit_failure", junit::failure(&error));
}

/// Secrets that are words of the report, have to be escaped, or have several lines.
const SECRETS: [&str; 9] = [
    "running",
    "true",
    "pass",
    "fail",
    "seen",
    "password1",
    "password12",
    "q\"u\\o<te",
    "first line\nsecond line",
];

#[test]
fn secrets_are_masked_in_every_format_and_ids_stay() {
    let console = Console::plain();
    console.mask(&SECRETS.map(str::to_owned));
    let all = SECRETS.join(" | ");
    let findings = [Finding {
        expected: all.clone(),
        seen: all.clone(),
        evidence: vec![all.clone(), "at second line".to_owned(), format!("{all:?}")],
        hint: Some(all),
        cause: Some(id("containers.true.running")),
        ..finding("containers.r.running", Status::Fail)
    }];
    let report = report(&findings, false);
    for format in [
        ReportFormat::Table,
        ReportFormat::Plain,
        ReportFormat::Json,
        ReportFormat::Ndjson,
        ReportFormat::Junit,
    ] {
        let text = match format {
            ReportFormat::Ndjson => ndjson_line(&console, &findings[0]),
            _ => text(&console, report, format),
        };
        for leak in [
            "word1",
            "q\"u",
            "q\\\"u",
            "q&quot;u",
            "first line",
            "second line",
        ] {
            assert!(!text.contains(leak), "{leak} in {format:?}:\n{text}");
        }
        assert!(text.contains("containers.r.running"), "{format:?}:\n{text}");
        assert!(text.contains("****"), "{format:?}:\n{text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&text(&console, report, ReportFormat::Json)).expect("JSON");
    crate::output::schemas::published("verify", &json);
    assert_eq!(json["status"], "fail");
    assert_eq!(json["findings"][0]["cause"], "containers.true.running");
    assert_eq!(json["findings"][0]["evidence"][1], "at ****");
    let line: serde_json::Value =
        serde_json::from_str(&ndjson_line(&console, &findings[0])).expect("JSON");
    crate::output::schemas::published("verify-line", &line);
    assert_eq!(line["id"], "containers.r.running");
    assert_eq!(line["status"], "fail");
}

/// A terminal would clear its screen and overwrite the clipboard; XML has no place for the characters.
#[test]
fn control_characters_of_evidence_are_shown_in_every_format() {
    let hostile = "a\u{1b}[2J\u{1b}]52;c;Zg==\u{7}\u{9b}z";
    let findings = [Finding {
        seen: hostile.to_owned(),
        evidence: vec![hostile.to_owned()],
        ..finding("groups.billing.assigned", Status::Fail)
    }];
    let report = report(&findings, false);
    let console = Console::plain();
    let junit = text(&console, report, ReportFormat::Junit);
    assert!(
        junit.contains(r"a\u{1b}[2J\u{1b}]52;c;Zg==\u{7}\u{9b}z"),
        "{junit}"
    );
    for format in [ReportFormat::Table, ReportFormat::Plain] {
        let shown = text(&console, report, format);
        let shown = crate::output::control::shown(&shown);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown}");
        assert!(shown.contains(r"\u{1b}]52;c;Zg==\u{7}"), "{shown}");
    }
}
