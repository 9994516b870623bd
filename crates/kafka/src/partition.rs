//! Partitions, and an offset for each.

use std::collections::BTreeMap;

/// A topic's name and a partition's number.
pub type Partition = (String, i32);

/// An offset for each partition.
pub type Offsets = BTreeMap<Partition, i64>;
