//! Chance that can be repeated: one seed decides every choice of a run.

use std::{env, str::FromStr, sync::OnceLock, time::SystemTime};

const SEED: &str = "CARAVAN_CRASH_SEED";
const ROUNDS: &str = "CARAVAN_CRASH_ROUNDS";

/// A generator (splitmix64) and the scenario whose choices it makes.
#[derive(Debug)]
pub(crate) struct Chance {
    scenario: String,
    state: u64,
}

impl Chance {
    /// Of one seed each scenario has choices of its own, the same ones when it is run alone.
    pub(crate) fn of(scenario: &str) -> Self {
        // FNV-1a.
        let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self {
            scenario: scenario.to_owned(),
            state: seed() ^ scenario.bytes().fold(0xcbf2_9ce4_8422_2325, fold),
        }
    }

    /// For another round of the same scenario.
    pub(crate) fn later(mut self, round: usize) -> Self {
        for _ in 0..round {
            self.state = self.next();
        }
        self
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// What a person types to see the same choices again.
    pub(crate) fn command(&self) -> String {
        let (seed, rounds) = (seed(), rounds());
        format!(
            "{SEED}={seed} {ROUNDS}={rounds} \
             cargo test --locked --features kill-points --test crash -- --exact {}",
            self.scenario
        )
    }
}

/// `CARAVAN_CRASH_SEED`, else from the clock; one for the process.
fn seed() -> u64 {
    static ONE: OnceLock<u64> = OnceLock::new();
    *ONE.get_or_init(|| {
        variable(SEED).unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(since.unwrap().subsec_nanos())
        })
    })
}

/// How many times each scenario is gone through.
pub(crate) fn rounds() -> usize {
    variable(ROUNDS).unwrap_or(1)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {value:?}")))
}

#[test]
fn one_seed_makes_one_order() {
    let order = |state| {
        let mut chance = Chance {
            scenario: String::new(),
            state,
        };
        let mut items: Vec<_> = (0..20).collect();
        chance.shuffle(&mut items);
        items
    };
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
    assert_eq!(Chance::of("a").state, Chance::of("a").state);
    assert_ne!(Chance::of("a").state, Chance::of("b").state);
    let mut sorted = order(7);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>());
}
