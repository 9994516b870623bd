//! Ids that are derived from natural keys, not from the consumed event: a second event for the same
//! payment yields the same rows and the same emitted events.
//!
//! They are name-based (UUID version 5, RFC 9562) and need no lookup. If the key is time-ordered
//! (version 7, or derived from one), the derived id is too: version 8, with the key's timestamp before
//! the hash. Index inserts then go to the end of the index, and their cost does not depend on its size
//! (docs/decisions/0012-constant-batch-cost.md).

use std::time::SystemTime;

use uuid::{Builder, Uuid};

/// The namespace of all ids that the pipeline derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0d_1a9c_8a3e_5c61_9d5b_4c61_7261_7661);
/// Bytes of a time-ordered id that hold its milliseconds.
const TIMESTAMP: usize = 6;

/// A new time-ordered id, for entities without a natural key, such as a payment.
#[must_use]
pub fn time_ordered() -> Uuid {
    // A clock before 1970 only costs the order.
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let millis = u64::try_from(since_1970.as_millis()).unwrap_or_default();
    let mut random = [0; 10];
    // The first ten bytes of a version 4 hold 4 bits that are not random; the last eight 2.
    let (head, tail) = (Uuid::new_v4(), Uuid::new_v4());
    random[..2].copy_from_slice(&head.as_bytes()[..2]);
    random[2..].copy_from_slice(&tail.as_bytes()[8..]);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The id of a payment's purchase.
#[must_use]
pub fn purchase_id(payment_id: Uuid) -> Uuid {
    derive("purchase", payment_id, &payment_id.to_string())
}

/// The id of a purchase's trainer allocation.
#[must_use]
pub fn allocation_id(purchase_id: Uuid) -> Uuid {
    derive("allocation", purchase_id, &purchase_id.to_string())
}

/// The id of the one event of `event_type` about `natural_key` (payment, purchase or allocation).
#[must_use]
pub fn event_id(event_type: &str, natural_key: Uuid) -> Uuid {
    let name = format!("{event_type}/{natural_key}");
    derive("event", natural_key, &name)
}

fn derive(kind: &str, key: Uuid, name: &str) -> Uuid {
    let hash = Uuid::new_v5(&NAMESPACE, format!("{kind}/{name}").as_bytes());
    if !matches!(key.get_version_num(), 7 | 8) {
        return hash;
    }
    let mut bytes = hash.into_bytes();
    bytes[..TIMESTAMP].copy_from_slice(&key.as_bytes()[..TIMESTAMP]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids are stored in databases and topics: their derivation must never change.
    #[test]
    fn ids_are_stable() {
        let one = Uuid::from_u128(1);
        for (id, literal) in [
            (purchase_id(one), "9d38ac35-6345-5267-b5e5-9eb2d6526a45"),
            (allocation_id(one), "a92db8da-a5ea-509f-a40f-5f74904914fc"),
            (
                event_id("PURCHASE_CREATED", one),
                "60786782-7424-526a-9c02-e418475beb2d",
            ),
        ] {
            assert_eq!(id.to_string(), literal);
        }
        let ordered: Uuid = "0193a2b4-c5d6-7e8f-9a0b-1c2d3e4f5a6b".parse().expect("v7");
        for (id, literal) in [
            (purchase_id(ordered), "0193a2b4-c5d6-8a50-b1fd-f7f1f5930e50"),
            (
                allocation_id(purchase_id(ordered)),
                "0193a2b4-c5d6-813b-bdf6-bc2065436453",
            ),
            (
                event_id("PURCHASE_CREATED", ordered),
                "0193a2b4-c5d6-8ad1-8694-2e316f4e3abd",
            ),
        ] {
            assert_eq!(id.to_string(), literal);
        }
    }

    /// Ids derived from a later payment sort later.
    #[test]
    fn an_id_derived_from_a_time_ordered_id_is_time_ordered() {
        let allocation = |payment| allocation_id(purchase_id(payment));
        let earlier: Uuid = "0193a2b4-c5d6-7e8f-9a0b-1c2d3e4f5a6b".parse().expect("v7");
        let later: Uuid = "0193a2b4-c5d7-7000-8000-000000000000".parse().expect("v7");
        assert!(allocation(later) > allocation(earlier));
    }

    #[test]
    fn new_ids_carry_the_time() {
        let before = SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_millis();
        let (one, other) = (time_ordered(), time_ordered());
        assert_ne!(one, other);
        assert_eq!(one.get_version_num(), 7);
        let millis = one.as_u128() >> 80;
        assert!(
            (before..before + 60_000).contains(&millis),
            "{millis} after {before}"
        );
    }

    #[test]
    fn different_things_have_different_ids() {
        let one = Uuid::from_u128(1);
        let ids = [
            purchase_id(one),
            purchase_id(Uuid::from_u128(2)),
            allocation_id(one),
            event_id("PURCHASE_CREATED", one),
            event_id("TRAINER_ALLOCATED", one),
        ];
        let distinct: std::collections::HashSet<Uuid> = ids.into_iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
