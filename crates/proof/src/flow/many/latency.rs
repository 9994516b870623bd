//! How latencies are spread: percentiles, and a histogram in steps that double.

use std::time::Duration;

/// Percentiles and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The largest value.
    pub max: Duration,
    /// All values, counted in steps.
    pub histogram: Histogram,
}

impl Spread {
    /// From values in microseconds; None if there are none. Negative values count as zero: two
    /// clocks, or two units, may differ.
    pub fn of(mut micros: Vec<i64>) -> Option<Self> {
        micros.sort_unstable();
        let max = *micros.last()?;
        let duration = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let percentile = |p| duration(micros[rank(micros.len(), p)]);
        Some(Self {
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max: duration(max),
            histogram: Histogram::of(&micros),
        })
    }
}

/// Index of the nearest rank: the smallest value that at least `percent` of all are at most.
fn rank(len: usize, percent: usize) -> usize {
    (len * percent).div_ceil(100).max(1) - 1
}

/// The first step's bound, microseconds.
const FIRST: i64 = 500;

/// Number of values in each step: up to 0.5 ms, 1 ms, 2 ms and so on. The last step has all values
/// above 35 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram([u32; Self::STEPS]);

impl Histogram {
    /// Number of steps.
    pub const STEPS: usize = 24;

    /// Of microseconds.
    fn of(micros: &[i64]) -> Self {
        let mut histogram = Self::default();
        for value in micros {
            let longer = |step: &usize| *value > FIRST << step;
            let step = (0..Self::STEPS - 1).take_while(longer).count();
            histogram.0[step] = histogram.0[step].saturating_add(1);
        }
        histogram
    }

    /// Upper bound of step `step`; None for the last step.
    pub fn bound(step: usize) -> Option<Duration> {
        let micros = u64::try_from(FIRST).unwrap_or_default();
        (step + 1 < Self::STEPS).then(|| Duration::from_micros(micros << step))
    }

    /// How many values each step has.
    pub fn counts(&self) -> &[u32] {
        &self.0
    }

    /// The steps that have any.
    pub fn filled(&self) -> impl Iterator<Item = (usize, u32)> {
        let counts = self.0.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let ms = |n: u64| Duration::from_millis(n);
        let spread = Spread::of((1..=100).rev().map(|n| n * 1000).collect());
        let spread = spread.expect("a hundred values");
        let percentiles = [spread.p50, spread.p95, spread.p99, spread.max];
        assert_eq!(percentiles, [50, 95, 99, 100].map(ms));
        let spread = Spread::of(vec![7000, 3000]).expect("two values");
        assert_eq!((spread.p50, spread.p95), (ms(3), ms(7)));
        let one = Spread::of(vec![-5]).expect("one value");
        assert_eq!((one.p50, one.max), (ms(0), ms(0)));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_value_is_in_the_first_step_that_takes_it() {
        let histogram = Histogram::of(&[-5, 0, 500, 501, 1_000, 2_001, i64::MAX]);
        let filled: Vec<_> = histogram.filled().collect();
        assert_eq!(filled, [(0, 3), (1, 2), (3, 1), (23, 1)]);
        let sum: u32 = histogram.counts().iter().sum();
        assert_eq!(sum, 7, "none is lost");
    }

    #[test]
    fn steps_double_and_the_last_has_no_end() {
        assert_eq!(Histogram::bound(0), Some(Duration::from_micros(500)));
        assert_eq!(Histogram::bound(2), Some(Duration::from_millis(2)));
        assert_eq!(
            Histogram::bound(22),
            Some(Duration::from_micros(2_097_152_000))
        );
        assert_eq!(Histogram::bound(23), None);
    }
}
