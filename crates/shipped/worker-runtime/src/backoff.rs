//! Exponential backoff with a cap. Jitter keeps replicas that failed together from retrying
//! together.

use std::time::Duration;

use uuid::Uuid;

/// Delays that double from `first` to `cap`; each is between half and the whole of its step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    step: Duration,
}

impl Backoff {
    /// Starts at `first`, never above `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            step: first,
        }
    }

    /// The backoff for infrastructure such as a broker or a database: from 100 ms up to 30 s.
    #[must_use]
    pub fn infrastructure() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.cap);
        step.mul_f64(0.5 + random_fraction() / 2.0)
    }

    /// Whether nothing has failed since the start or the last success.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.step == self.first
    }

    /// Back to the first delay, after a success.
    pub fn reset(&mut self) {
        self.step = self.first;
    }
}

/// Uniform in [0, 1): 32 of a random UUID's bits, which saves a crate for random numbers.
fn random_fraction() -> f64 {
    let (low, ..) = Uuid::new_v4().to_fields_le();
    f64::from(low) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_again() {
        let mut backoff = Backoff::infrastructure();
        let mut step = Duration::from_millis(100);
        for _ in 0..20 {
            let delay = backoff.next_delay();
            assert!(delay >= step / 2 && delay <= step, "{delay:?} for {step:?}");
            step = (step * 2).min(Duration::from_secs(30));
        }
        assert_eq!(step, Duration::from_secs(30));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
