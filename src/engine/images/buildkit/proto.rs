//! As much of Protocol Buffers' wire format as BuildKit's few messages take: fields in the order in
//! which they come, <https://protobuf.dev/programming-guides/encoding/>.

/// What a field holds; fixed-width numbers, which nothing here has, are passed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// A message's fields, each with its number. What cannot be read ends them.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.number()?;
            let value = match key & 7 {
                0 => Value::Number(self.number()?),
                1 => {
                    self.bytes(8)?;
                    continue;
                }
                2 => {
                    let length = usize::try_from(self.number()?).ok()?;
                    Value::Bytes(self.bytes(length)?)
                }
                5 => {
                    self.bytes(4)?;
                    continue;
                }
                _ => return None,
            };
            return Some((key >> 3, value));
        }
    }
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

/// A field of bytes, as it is written.
pub(super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    written.push(length as u8);
    written.extend_from_slice(bytes);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let long = vec![7; 300];
        let mut message = field(1, b"id");
        message.extend(field(2, &long));
        message.extend([3 << 3, 0xac, 0x02]);
        // A fixed-width number between: passed over.
        message.extend([4 << 3 | 5, 1, 2, 3, 4]);
        message.extend(field(5, b""));
        let read: Vec<_> = Fields(&message).collect();
        assert_eq!(
            read,
            [
                (1, Value::Bytes(b"id")),
                (2, Value::Bytes(&long)),
                (3, Value::Number(300)),
                (5, Value::Bytes(b"")),
            ]
        );
    }

    #[test]
    fn what_is_cut_off_ends() {
        let message = field(1, b"identity");
        assert_eq!(Fields(&message[..5]).count(), 0);
        assert_eq!(Fields(&[0x80; 12]).count(), 0);
    }
}
