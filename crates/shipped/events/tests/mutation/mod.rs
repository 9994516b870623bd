//! What can be done to a good event's bytes. The whole-program tests use it, too.

use proptest::{collection, prelude::*, sample::Index};

/// What a producer that is broken, newer or hostile does to a good event.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    /// Any byte by any other.
    Overwrite(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    /// A piece of JSON in the place of a value, or of whatever comes after a colon.
    Value(Index, &'static str),
    /// A field before another.
    Field(Index, &'static str),
    /// A part of the event once more, elsewhere.
    Repeat(Index, usize, Index),
    Nest(Index, usize),
}

const VALUES: [&str; 24] = [
    "null",
    "true",
    "0",
    "1",
    "2",
    "-1",
    "1.0",
    "1e999",
    "9223372036854775808",
    "-0",
    "99999999999999999999999999",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"EUR\"",
    "{}",
    "[]",
    "[1,[2,{\"a\":3}]]",
    "{\"version\":1}",
    "\"1969-12-31T23:59:60Z\"",
    "\"+262142-01-01T00:00:00Z\"",
    "\"PURCHASE_CREATED\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "NaN",
];
const FIELDS: [&str; 10] = [
    "\"extra\":1,",
    "\"extra\":{\"a\":[]},",
    "\"version\":1,",
    "\"version\":2,",
    "\"eventType\":\"X\",",
    "\"courseId\":null,",
    "\"\\u0065ventId\":0,",
    "\"\":\"\",",
    "\"payload\":{},",
    "\"note\":\"\\u0000\",",
];

/// Any of them, anywhere.
pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(i, b)| Mutation::Overwrite(i, b)),
        (at(), collection::vec(any::<u8>(), 1..8)).prop_map(|(i, b)| Mutation::Insert(i, b)),
        (at(), 1..40_usize).prop_map(|(i, n)| Mutation::Remove(i, n)),
        at().prop_map(Mutation::Cut),
        (at(), 0..VALUES.len()).prop_map(|(i, v)| Mutation::Value(i, VALUES[v])),
        (at(), 0..FIELDS.len()).prop_map(|(i, f)| Mutation::Field(i, FIELDS[f])),
        (at(), 1..60_usize, at()).prop_map(|(i, n, j)| Mutation::Repeat(i, n, j)),
        (at(), 1..200_usize).prop_map(|(i, n)| Mutation::Nest(i, n)),
    ]
}

impl Mutation {
    pub(crate) fn apply(&self, event: &mut Vec<u8>) {
        if event.is_empty() {
            return;
        }
        let length = event.len();
        match self {
            Self::Overwrite(at, byte) => event[at.index(length)] = *byte,
            Self::Insert(at, bytes) => insert(event, at.index(length), bytes),
            Self::Remove(at, count) => {
                let start = at.index(length);
                event.drain(start..length.min(start + count));
            }
            Self::Cut(at) => event.truncate(at.index(length)),
            Self::Value(at, value) => {
                if let Some((start, end)) = value_after(event, b':', at) {
                    event.splice(start..end, value.bytes());
                }
            }
            Self::Field(at, field) => {
                if let Some(start) = after(event, b"{,", at) {
                    insert(event, start, field.as_bytes());
                }
            }
            Self::Repeat(from, count, to) => {
                let start = from.index(length);
                let part = event[start..length.min(start + count)].to_vec();
                insert(event, to.index(length), &part);
            }
            Self::Nest(at, depth) => {
                if let Some((start, end)) = value_after(event, b':', at) {
                    event.splice(end..end, "]".repeat(*depth).bytes());
                    event.splice(start..start, "[".repeat(*depth).bytes());
                }
            }
        }
    }
}

fn insert(event: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    event.splice(at..at, bytes.iter().copied());
}

/// Behind one of the bytes that are any of `any`.
fn after(event: &[u8], any: &[u8], at: &Index) -> Option<usize> {
    let places: Vec<usize> = (0..event.len())
        .filter(|i| any.contains(&event[*i]))
        .collect();
    (!places.is_empty()).then(|| places[at.index(places.len())] + 1)
}

/// From behind a `byte` to the next comma or brace.
fn value_after(event: &[u8], byte: u8, at: &Index) -> Option<(usize, usize)> {
    let start = after(event, &[byte], at)?;
    let rest = event[start..].iter();
    let length = rest.take_while(|b| !b",}".contains(b)).count();
    Some((start, start + length))
}
