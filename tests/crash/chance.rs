//! Chance that can be repeated: one seed decides every choice of a run.

use std::{env, str::FromStr, time::SystemTime};

const SEED: &str = "CARAVAN_CRASH_SEED";
const ROUNDS: &str = "CARAVAN_CRASH_ROUNDS";

/// A generator (splitmix64) and the seed that it began with.
#[derive(Debug)]
pub(crate) struct Chance {
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    /// From `CARAVAN_CRASH_SEED`, else from the clock.
    pub(crate) fn from_environment() -> Self {
        let seed = variable(SEED).unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(since.unwrap().subsec_nanos())
        });
        Self { seed, state: seed }
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
        let rounds = rounds();
        format!(
            "{SEED}={} {ROUNDS}={rounds} \
             cargo test --release --locked --features kill-points --test crash",
            self.seed
        )
    }
}

/// How many times the whole matrix is gone through.
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
    let order = |seed| {
        let mut chance = Chance { seed, state: seed };
        let mut items: Vec<_> = (0..20).collect();
        chance.shuffle(&mut items);
        items
    };
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
    let mut sorted = order(7);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>());
}
