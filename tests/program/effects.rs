//! Nothing lost, nothing twice: a thousand payments, workers killed at work, events repeated.

use std::process::Command;

use uuid::Uuid;

use crate::support::{
    Ran, eventually,
    kafka::{self, lag, read_all},
    payments::{checksum, expect_lessons, post_many},
    pipeline::Pipeline,
};

/// Each worker with the topic that it consumes.
const WORKERS: [(&str, &str); 4] = [
    ("purchase-worker", "purchase-confirmed"),
    ("allocation-worker", "purchase-created"),
    ("session-worker", "trainer-allocated"),
    ("cache-worker", "purchase-created"),
];

/// A signal to a container's process, by its pid on the host: Docker takes `docker kill` for a
/// stop by hand, and would not restart.
fn signal(pipeline: &Pipeline, worker: &str, signal: &str) {
    let pid = pipeline.inspect(worker, "{{.State.Pid}}");
    assert_ne!(pid, "0", "{worker} runs");
    let line = format!("kill -{signal} {pid} 2>/dev/null || sudo kill -{signal} {pid}");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    Ran::of(output).expect(0);
}

fn wait_for_no_lag(pipeline: &Pipeline) {
    for (group, topic) in WORKERS {
        let what = format!("{group} has caught up");
        eventually(&what, || (lag(pipeline, group, topic) == 0).then_some(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_payments_survive_the_death_of_every_worker() {
    let pipeline = Pipeline::up("effects", &[]);
    let database = pipeline.database().await;
    assert_eq!(post_many(&pipeline, "at-once", 1000).await.len(), 1000);
    expect_lessons(&database, 1000).await;

    for (wave, (worker, topic)) in WORKERS.into_iter().enumerate() {
        let restarts = pipeline.inspect(worker, "{{.RestartCount}}");
        // Stopped while the wave comes, so that work is certainly left when it is killed.
        let first = post_many(&pipeline, &format!("wave-{wave}"), 50).await;
        let what = format!("{worker} sees the wave");
        eventually(&what, || {
            (read_all(&pipeline, topic).len() > 1000 + wave * 250).then_some(())
        });
        signal(&pipeline, worker, "STOP");
        let rest = post_many(&pipeline, &format!("rest-{wave}"), 200).await;
        assert_eq!(first.len() + rest.len(), 250);
        eventually("work is left", || {
            (lag(&pipeline, worker, topic) > 0).then_some(())
        });
        signal(&pipeline, worker, "KILL");
        eventually("Docker restarts it", || {
            (pipeline.inspect(worker, "{{.RestartCount}}") != restarts).then_some(())
        });
    }
    expect_lessons(&database, 2000).await;
    wait_for_no_lag(&pipeline);
    assert_eq!(read_all(&pipeline, "dead-letter-queue"), []);

    let before = checksum(&database).await;
    repeat_all_events(&pipeline).await;
    wait_for_no_lag(&pipeline);
    assert_eq!(
        checksum(&database).await,
        before,
        "repeated events changed rows"
    );
    assert_eq!(read_all(&pipeline, "dead-letter-queue"), []);
}

/// Produces every event again as it is, and once more under a new event id.
async fn repeat_all_events(pipeline: &Pipeline) {
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        let stored = read_all(pipeline, topic);
        assert!(stored.len() >= 2000, "{topic}: {}", stored.len());
        let mut again = Vec::new();
        for message in stored {
            let mut renamed = message.json();
            renamed["eventId"] = Uuid::new_v4().to_string().into();
            again.push((message.key.clone(), message.value.clone()));
            again.push((message.key, Some(renamed.to_string().into_bytes())));
        }
        kafka::produce(pipeline, topic, &again).await;
    }
}
