//! Percentiles of latencies.

use std::time::Duration;

use super::histogram::Histogram;

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
}
