//! Whether an executable runs in an image that holds nothing else.

/// `PT_INTERP`: the program header that names a dynamic loader.
const INTERPRETER: u32 = 3;

/// Why these bytes cannot run alone; None: they can. Reads ELF64, little endian (System V ABI,
/// chapters 4 and 5).
pub(super) fn cannot_run_alone(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Some("it is not a 64-bit Linux executable");
    }
    match has_interpreter(bytes) {
        Some(false) => None,
        Some(true) => Some("it is linked dynamically: its libraries would be missing"),
        None => Some("its headers cannot be read"),
    }
}

fn has_interpreter(bytes: &[u8]) -> Option<bool> {
    let headers = usize::try_from(u64::from_le_bytes(array(bytes, 0x20)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(array(bytes, 0x36)?));
    let count = usize::from(u16::from_le_bytes(array(bytes, 0x38)?));
    for index in 0..count {
        let at = headers.checked_add(index.checked_mul(size)?)?;
        if u32::from_le_bytes(array(bytes, at)?) == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with one program header of type `kind`.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x20] = 64;
        bytes[0x36] = 56;
        bytes[0x38] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn a_loader_is_what_makes_an_executable_dynamic() {
        assert_eq!(cannot_run_alone(&elf(1)), None);
        assert!(cannot_run_alone(&elf(INTERPRETER)).is_some_and(|why| why.contains("dynamic")));
    }

    #[test]
    fn anything_else_does_not_run_alone() {
        assert!(cannot_run_alone(b"#!/bin/sh").is_some());
        assert!(cannot_run_alone(&elf(1)[..66]).is_some());
    }
}
