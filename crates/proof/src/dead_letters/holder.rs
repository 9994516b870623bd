//! Which run holds the lease, according to the claims and releases in the journal.

use std::time::Duration;

use uuid::Uuid;

/// The lease expires this long after its last renewal, by the broker's clock.
pub(super) const EXPIRY: Duration = Duration::from_secs(20);
/// The current holder, according to the records read so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leases(Option<Holder>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) run: Uuid,
    /// The process, as shown to users.
    pub(super) by: String,
    /// Last renewal: the broker's timestamp in milliseconds since the epoch.
    pub(super) renewed: i64,
}

impl Leases {
    pub(super) fn holder(&self) -> Option<&Holder> {
        self.0.as_ref()
    }

    pub(super) fn claim(&mut self, run: Uuid, by: &str, at: i64) {
        let free = match &self.0 {
            None => true,
            Some(held) => held.run == run || at - held.renewed >= EXPIRY.as_millis() as i64,
        };
        if free {
            let by = by.to_owned();
            self.0 = Some(Holder {
                run,
                by,
                renewed: at,
            });
        }
    }

    pub(super) fn release(&mut self, run: Uuid) {
        self.0.take_if(|held| held.run == run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(leases: &Leases) -> Option<Uuid> {
        leases.holder().map(|holder| holder.run)
    }

    #[test]
    fn the_first_claim_holds_until_it_expires() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = EXPIRY.as_millis() as i64;
        let mut leases = Leases::default();
        leases.claim(first, "a", 0);
        leases.claim(second, "b", 1);
        assert_eq!(holder(&leases), Some(first));
        leases.claim(first, "a", 5_000);
        leases.claim(second, "b", held + 1);
        assert_eq!(holder(&leases), Some(first), "it was renewed");
        leases.claim(second, "b", held + 5_000);
        assert_eq!(holder(&leases), Some(second));
        // A zombie wakes up: its renewal is no claim.
        leases.claim(first, "a", held + 5_001);
        assert_eq!(holder(&leases), Some(second));
    }

    #[test]
    fn only_the_holder_releases_the_lease() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut leases = Leases::default();
        leases.claim(first, "a", 0);
        leases.release(second);
        assert_eq!(holder(&leases), Some(first));
        leases.release(first);
        assert_eq!(holder(&leases), None);
        leases.claim(second, "b", 1);
        assert_eq!(holder(&leases), Some(second));
    }
}
