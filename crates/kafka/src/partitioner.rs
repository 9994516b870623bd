//! Kafka's default partitioner for keys: murmur2 of the key's bytes, as in Java's client
//! (`Utils.murmur2`), librdkafka's `murmur2_random` and KafkaJS.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

/// The partition of `key` among `partitions`; None if `partitions` is 0. A producer with another
/// partitioner may choose a different one.
pub fn partition(key: &[u8], partitions: i32) -> Option<i32> {
    let count = u32::try_from(partitions).ok().filter(|n| *n > 0)?;
    // Java's `toPositive`.
    i32::try_from((murmur2(key) & 0x7fff_ffff) % count).ok()
}

fn murmur2(data: &[u8]) -> u32 {
    // Java hashes the length as an `int`; its arrays are shorter than 2 GiB.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (n, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * n);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the tests of Kafka's Java client.
    #[test]
    fn hashes_equal_those_of_javas_client() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_below_the_number_of_partitions() {
        assert_eq!(partition(b"x", 0), None);
        assert!((0..100).all(|n: u8| partition(&[n], 3).is_some_and(|p| (0..3).contains(&p))));
    }
}
