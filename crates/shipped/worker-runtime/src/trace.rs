//! Which trace an event belongs to: the `traceparent` of W3C Trace Context, level 1
//! (<https://www.w3.org/TR/trace-context-1/#traceparent-header>).
//!
//! This pipeline records no spans. It propagates each trace, with a new span id at every step, so
//! that the spans of upstream and downstream systems belong to one trace.

use std::{
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

/// Bytes of a `traceparent` of version 00.
pub const LENGTH: usize = 55;
/// The one flag of level 1: the caller may have recorded the trace.
const SAMPLED: u8 = 0x01;

/// A trace, and the span in it that is the parent of the next span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    flags: u8,
}

impl Trace {
    /// A new trace.
    #[must_use]
    pub fn start() -> Self {
        Self {
            id: Uuid::new_v4().as_u128(),
            span: span_id(),
            flags: SAMPLED,
        }
    }

    /// Reads a header's value, strictly: lower-case hexadecimal, ids that are not zero, nothing
    /// around it. None for anything else, which counts as no header at all.
    ///
    /// A version after 00 is read as far as 00 goes, as the standard demands.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (fields, rest) = value.split_at_checked(LENGTH)?;
        let version = hex(&fields[..2])?;
        let ends_well = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let separated = [2, 35, 52].iter().all(|at| fields[*at] == b'-');
        if !ends_well || !separated {
            return None;
        }
        let id = hex(&fields[3..35])?;
        let span = u64::try_from(hex(&fields[36..52])?).ok()?;
        let flags = u8::try_from(hex(&fields[53..])?).ok()?;
        (id != 0 && span != 0).then_some(Self {
            id,
            span,
            // Flags that level 1 does not define have to be dropped.
            flags: flags & SAMPLED,
        })
    }

    /// The same trace with a new span id, for outgoing messages.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: span_id(),
            ..self
        }
    }

    /// The header's value, of version 00. Nothing is allocated.
    #[must_use]
    pub fn header(self) -> [u8; LENGTH] {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut value[3..35], self.id);
        put_hex(&mut value[36..52], self.span.into());
        put_hex(&mut value[53..], self.flags.into());
        value
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.id, self.span, self.flags
        )
    }
}

/// A span id: unique within the process, and unlikely to occur in another one. SplitMix64 with a
/// random seed needs no system call per event.
fn span_id() -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    static STATE: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(Uuid::new_v4().as_u64_pair().0));
    loop {
        let mut z = STATE.fetch_add(GOLDEN, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // One state in 2^64 yields zero, which is not a valid span id.
        if z != 0 {
            return z;
        }
    }
}

/// Parses at most 32 lower-case hexadecimal digits; None if another byte is among them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Fills `digits` with the number's last hexadecimal digits.
fn put_hex(digits: &mut [u8], mut number: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number & 0xf) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_survives_reading_and_writing() {
        let trace = Trace::parse(GOOD.as_bytes()).expect("the standard's own example");
        assert_eq!(trace.header().as_slice(), GOOD.as_bytes());
        assert_eq!(trace.to_string(), GOOD);
        let started = Trace::start();
        assert_eq!(Trace::parse(&started.header()), Some(started));
    }

    #[test]
    fn a_child_keeps_the_trace_and_gets_a_span_of_its_own() {
        let trace = Trace::parse(GOOD.as_bytes()).expect("a header");
        let child = trace.child().to_string();
        assert_eq!(child[..36], GOOD[..36]);
        assert_ne!(child[36..52], GOOD[36..52]);
        assert_eq!(child[52..], GOOD[52..]);
        let spans: HashSet<u64> = (0..10_000).map(|_| trace.child().span).collect();
        assert_eq!(spans.len(), 10_000);
    }

    #[test]
    fn a_later_version_is_read_like_version_00() {
        let later = GOOD.replacen("00", "cc", 1);
        for value in [later.clone(), format!("{later}-what-comes-later")] {
            let trace = Trace::parse(value.as_bytes()).expect("a later version");
            assert_eq!(trace.to_string(), GOOD);
        }
        assert_eq!(Trace::parse(format!("{later}.x").as_bytes()), None);
    }

    #[test]
    fn flags_of_a_later_level_are_not_passed_on() {
        let flagged = Trace::parse(GOOD.replace("-01", "-ff").as_bytes()).expect("a header");
        assert_eq!(flagged.to_string(), GOOD);
    }

    #[test]
    fn an_invalid_header_is_ignored() {
        let zero_trace = GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_span = GOOD.replace("b7ad6b7169203331", &"0".repeat(16));
        let cases = [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD} "),
            &format!(" {GOOD}"),
            &format!("{GOOD}-00"),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0x", 1),
            &GOOD.replace("b7ad", "b7ag"),
            &GOOD.replace("-01", "-0 "),
            &zero_trace,
            &zero_span,
        ];
        for value in cases {
            assert_eq!(Trace::parse(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(Trace::parse(&[0xff; LENGTH]), None);
    }
}
