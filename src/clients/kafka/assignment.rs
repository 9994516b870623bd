//! The consumer protocol's assignment: what `DescribeGroups` tells of a member's partitions.
//!
//! Source: Kafka's `ConsumerProtocolAssignment.json`; versions 0 to 3 share this layout, big
//! endian: `version i16, count i32, count × (topic: i16 length + UTF-8, count i32, count × i32)`,
//! then user data, which is not read.

use super::Partition;

/// The partitions of an assignment; None when the bytes are not one.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Partition>> {
    let bytes = &mut bytes;
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let _version = read_i16(bytes)?;
    let mut partitions = Vec::new();
    for _ in 0..read_i32(bytes)? {
        let length = usize::try_from(read_i16(bytes)?).ok()?;
        let topic = str::from_utf8(bytes.split_off(..length)?).ok()?;
        for _ in 0..read_i32(bytes)? {
            partitions.push((topic.to_owned(), read_i32(bytes)?));
        }
    }
    Some(partitions)
}

fn read_i16(bytes: &mut &[u8]) -> Option<i16> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i16::from_be_bytes(*head))
}

fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two topics, as librdkafka's cooperative-sticky assignor encodes them.
    const TWO_TOPICS: &[u8] = &[
        0, 1, // version
        0, 0, 0, 2, // topics
        0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, //
        0, 2, b'b', b'c', 0, 0, 0, 1, 0, 0, 0, 1, //
        255, 255, 255, 255, // no user data
    ];

    #[test]
    fn an_assignment_is_its_topics_partitions() {
        let expected = [("a", 0), ("a", 2), ("bc", 1)].map(|(t, p)| (t.to_owned(), p));
        assert_eq!(decode(TWO_TOPICS), Some(expected.to_vec()));
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn bytes_that_end_early_are_not_an_assignment() {
        for length in 1..TWO_TOPICS.len() - 4 {
            assert_eq!(decode(&TWO_TOPICS[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn absurd_counts_end_with_the_bytes() {
        assert_eq!(decode(&[0, 0, 127, 255, 255, 255]), None);
        assert_eq!(decode(&[0, 0, 0, 0, 0, 1, 128, 0]), None);
    }
}
