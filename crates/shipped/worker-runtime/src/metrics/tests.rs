use std::collections::BTreeSet;

use super::*;

/// All metrics of any process, with each label at least once.
fn everything() -> Metrics {
    let health = Health::default();
    let metrics = Metrics::new(health);
    let took = Duration::from_millis(3);
    metrics.answered("POST", "/payments", StatusCode::CREATED, took);
    let worker = metrics.worker("purchase-confirmed");
    worker.outcomes(EventOutcome::Processed, 3);
    worker.emitted("purchase-created", 3);
    worker.batch(3);
    for stage in Stage::ALL {
        worker.stage(*stage, took);
    }
    worker.dead_letter("not-json");
    worker.lag(2, 17);
    worker.assigned(3);
    metrics.outbox().unsent(4, Duration::from_millis(1500));
    let address = "postgres://nobody@127.0.0.1:1/none".parse();
    metrics.watch_pool(crate::database::pool(address.expect("a URL"), 8));
    metrics
}

/// Lines as they are, but sorted, one bucket of each histogram, and numbers that differ from run
/// to run left out.
fn settled(text: &str) -> String {
    let (comments, mut samples): (Vec<_>, Vec<_>) = text
        .lines()
        .filter(|line| !line.contains("le=\"") || line.contains("le=\"+Inf\""))
        .map(|line| {
            let differs = line.starts_with("process_");
            let name = line.split_once(' ').map_or(line, |(name, _)| name);
            if differs {
                format!("{name} …")
            } else {
                line.to_owned()
            }
        })
        .partition(|line| line.starts_with('#'));
    samples.sort();
    [comments, samples].concat().join("\n")
}

/// Dashboards and alerts are built on these: a change here is a change of the interface.
#[tokio::test]
async fn names_help_and_labels_are_as_promised() {
    insta::assert_snapshot!(settled(&everything().text()));
}

/// The name of every metric, as `# TYPE` has it, and as a counter's samples have it.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => line.to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn the_manual_names_every_metric_and_no_other() {
    let manual = include_str!("../../../../../docs/operations.md");
    let named: BTreeSet<String> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(['`', '{']).next())
        .filter(|name| name.starts_with("caravan_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, names(&everything().text()));
}

#[tokio::test]
async fn names_keep_the_conventions() {
    for name in names(&everything().text()) {
        let well_formed = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(well_formed, "{name}");
        assert!(
            name.starts_with("caravan_") || name.starts_with("process_"),
            "{name}"
        );
    }
}

#[test]
fn the_number_of_kinds_is_bounded() {
    let metrics = Metrics::new(Health::default());
    let worker = metrics.worker("purchase-created");
    for n in 0..1_000 {
        worker.dead_letter(&format!("kind-{n}"));
        worker.dead_letter("kind-0");
    }
    let text = metrics.text();
    let shown = text
        .lines()
        .filter(|line| line.starts_with("caravan_dead_letters_total{"));
    assert_eq!(shown.count(), labels::Kinds::MAX + 1);
    assert!(text.contains("caravan_dead_letters_total{kind=\"kind-0\"} 1001\n"));
    assert!(text.contains("caravan_dead_letters_total{kind=\"other\"} 950\n"));
}

#[test]
fn a_label_s_value_cannot_break_out_of_its_line() {
    let metrics = Metrics::new(Health::default());
    let worker = metrics.worker("purchase-created");
    worker.dead_letter("a\"} 1\ncaravan_live 7");
    assert!(!metrics.text().contains("\ncaravan_live 7"));
}

#[test]
fn a_pause_lasts_as_long_as_its_guard() {
    let metrics = Metrics::new(Health::default());
    let worker = metrics.worker("purchase-created");
    let paused = |number: usize| {
        let line = format!("caravan_partitions_paused{{reason=\"infrastructure\"}} {number}\n");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    };
    paused(0);
    let pauses = [0, 1].map(|_| worker.paused(PauseReason::Infrastructure));
    paused(2);
    drop(pauses);
    paused(0);
}

#[test]
fn a_revoked_partition_is_not_shown() {
    let metrics = Metrics::new(Health::default());
    let worker = metrics.worker("purchase-created");
    worker.lag(1, 5);
    let line = "caravan_partition_lag_events{topic=\"purchase-created\",partition=\"1\"} 5\n";
    assert!(metrics.text().contains(line));
    worker.forget(1);
    assert!(!metrics.text().contains("partition=\"1\""));
}

#[test]
fn memory_is_that_of_this_process() {
    let text = Metrics::new(Health::default()).text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
        .expect("the metric");
    let bytes: u64 = value.parse().expect("a number");
    assert!((1 << 20..1 << 32).contains(&bytes), "{bytes}");
}
