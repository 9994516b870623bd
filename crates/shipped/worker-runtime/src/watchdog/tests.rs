use std::sync::mpsc;

use super::*;

/// Limits in which a tick is a second, though nobody waits for one.
const LIMITS: Limits = Limits {
    tick: Duration::from_secs(1),
    grace: Duration::from_secs(2),
    patience: Duration::from_secs(3),
    patience_with_others: Duration::from_secs(6),
};

struct Bench {
    watchdog: Watchdog,
    rounds: Rounds,
    health: Health,
    ended: mpsc::Receiver<String>,
}

fn bench() -> Bench {
    let watchdog = Watchdog::new(LIMITS);
    let health = Health::default();
    let (end, ended) = mpsc::channel();
    let rounds = Rounds {
        watchdog: watchdog.clone(),
        health: health.clone(),
        exit: Some(Box::new(move |why| {
            end.send(why.to_owned()).expect("the test listens");
        })),
        red: 0,
    };
    Bench {
        watchdog,
        rounds,
        health,
        ended,
    }
}

impl Bench {
    fn look(&mut self, times: usize) {
        for _ in 0..times {
            self.rounds.look();
        }
    }

    fn end(&self) -> Option<String> {
        self.ended.try_recv().ok()
    }
}

#[test]
fn a_part_that_beats_is_not_stalled() {
    let mut bench = bench();
    let pulse = bench.watchdog.watch("consumer");
    for _ in 0..100 {
        bench.look(2);
        pulse.beat();
    }
    assert!(bench.health.is_live());
    assert_eq!(bench.end(), None);
}

#[test]
fn a_stall_is_reported_and_then_ends_the_process() {
    let mut bench = bench();
    let _pulse = bench.watchdog.watch("consumer");
    bench.look(2);
    assert!(bench.health.is_live());
    bench.look(1);
    assert!(!bench.health.is_live());
    bench.look(1);
    assert_eq!(bench.end(), None, "people get to see it first");
    bench.look(1);
    assert_eq!(bench.end().as_deref(), Some("consumer: no progress for 5s"));
    bench.look(5);
    assert_eq!(bench.end(), None, "once");
}

#[test]
fn a_stall_that_ends_in_time_does_not_end_the_process() {
    let mut bench = bench();
    let pulse = bench.watchdog.watch("consumer");
    bench.look(4);
    assert!(!bench.health.is_live());
    pulse.beat();
    bench.look(1);
    assert!(bench.health.is_live());
    // The grace period restarts with the next stall.
    bench.look(4);
    assert_eq!(bench.end(), None);
}

#[test]
fn a_part_without_work_is_not_stalled() {
    let mut bench = bench();
    let lag = Arc::new(AtomicU64::new(0));
    let waiting = Arc::clone(&lag);
    let _pulse = bench
        .watchdog
        .watch_with_others("purchase-confirmed/2", move || {
            waiting.load(Ordering::Relaxed) > 0
        });
    bench.look(100);
    assert!(bench.health.is_live());
    // It has work from now on: the limit counts from here.
    lag.store(1, Ordering::Relaxed);
    bench.look(5);
    assert!(bench.health.is_live());
    bench.look(1);
    let (_, body) = bench.health.liveness();
    assert_eq!(body["why"], "purchase-confirmed/2: no progress for 6s");
}

#[test]
fn a_dropped_part_is_not_watched() {
    let mut bench = bench();
    let pulse = bench.watchdog.watch("purchase-confirmed/2");
    bench.look(4);
    assert!(!bench.health.is_live());
    drop(pulse);
    bench.look(1);
    assert!(bench.health.is_live());
    assert_eq!(bench.end(), None);
}

#[test]
fn every_stalled_part_is_named() {
    let mut bench = bench();
    let _pulses = [bench.watchdog.watch("a"), bench.watchdog.watch("b")];
    bench.look(3);
    let (_, body) = bench.health.liveness();
    assert_eq!(body["why"], "a: no progress for 3s; b: no progress for 3s");
}

/// A runtime with one thread, and that thread stuck: no task would notice.
#[test]
fn a_stuck_runtime_is_seen_by_the_thread() {
    let limits = Limits {
        tick: Duration::from_millis(10),
        grace: Duration::from_millis(20),
        patience: Duration::from_millis(100),
        patience_with_others: Duration::from_millis(100),
    };
    let health = Health::default();
    let (end, ended) = mpsc::channel();
    let exit: Exit = Box::new(move |why| end.send(why.to_owned()).expect("the test listens"));
    let watchdog = Watchdog::start(limits, health.clone(), exit).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let why = runtime.block_on(async {
        watchdog.watch_runtime();
        tokio::task::yield_now().await;
        // The runtime's only thread waits, and not as a task may.
        ended.recv_timeout(Duration::from_secs(20))
    });
    assert!(why.expect("an end").starts_with("runtime: no progress for"));
    assert!(!health.is_live());
}
