//! Reads an executable's headers: whether it is static, so that it runs in an empty image, and its build id.

/// `PT_INTERP`: the program header that names a dynamic loader.
const INTERPRETER: u32 = 3;
/// `PT_NOTE`: one of notes.
const NOTES: u32 = 4;
/// `NT_GNU_BUILD_ID`
const BUILD_ID: u32 = 3;

/// Why the executable cannot run in an empty image; None: it can. Reads ELF64, little endian (System V ABI,
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
    for at in program_headers(bytes)? {
        if word(bytes, at)? == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

/// The linker's hash of the executable (`--build-id`, which compilers for Linux pass), if it is in these first
/// bytes of the file.
pub(super) fn build_id(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    program_headers(bytes)?.find_map(|at| {
        if word(bytes, at)? != NOTES {
            return None;
        }
        let from = offset(bytes, at.checked_add(8)?)?;
        let length = offset(bytes, at.checked_add(32)?)?;
        build_id_in(bytes.get(from..from.checked_add(length)?)?)
    })
}

/// Iterates over notes. A note has the lengths of its name and content, its type, then both, padded to words.
fn build_id_in(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let name = usize::try_from(word(notes, 0)?).ok()?;
        let said = usize::try_from(word(notes, 4)?).ok()?;
        let from = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let content = notes.get(from..from.checked_add(said)?)?;
        if word(notes, 8)? == BUILD_ID && notes.get(12..)?.starts_with(b"GNU\0") {
            return Some(content);
        }
        notes = notes.get(from.checked_add(said.checked_next_multiple_of(4)?)?..)?;
    }
}

/// The offset of each program header.
fn program_headers(bytes: &[u8]) -> Option<impl Iterator<Item = usize>> {
    let first = offset(bytes, 0x20)?;
    let size = usize::from(u16::from_le_bytes(array(bytes, 0x36)?));
    let count = usize::from(u16::from_le_bytes(array(bytes, 0x38)?));
    first.checked_add(size.checked_mul(count)?)?;
    Some((0..count).map(move |index| first + index * size))
}

fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(array(bytes, at)?)).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array(bytes, at)?))
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
    fn a_build_id_is_found_among_notes() {
        let note = |name: &[u8; 4], kind: u32, said: &[u8]| {
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
            let mut note = [length(name), length(said), kind.to_le_bytes(), *name].concat();
            note.extend(said);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        };
        let with = |notes: &[Vec<u8>]| {
            let (mut bytes, notes) = (elf(NOTES), notes.concat());
            let (from, length) = (bytes.len() as u64, notes.len() as u64);
            bytes[64 + 8..64 + 16].copy_from_slice(&from.to_le_bytes());
            bytes[64 + 32..64 + 40].copy_from_slice(&length.to_le_bytes());
            bytes.extend(notes);
            bytes
        };
        let abi = note(b"GNU\0", 1, &[9; 5]);
        let id = note(b"GNU\0", BUILD_ID, &[7; 20]);
        let bytes = with(&[abi.clone(), id]);
        assert_eq!(build_id(&bytes), Some(&[7; 20][..]));
        assert_eq!(build_id(&bytes[..bytes.len() - 1]), None, "cut off");
        assert_eq!(
            build_id(&with(&[abi, note(b"Go\0\0", BUILD_ID, &[1])])),
            None
        );
        assert_eq!(build_id(&with(&[])), None);
        assert_eq!(build_id(b"#!/bin/sh"), None);
    }

    #[test]
    fn anything_else_does_not_run_alone() {
        assert!(cannot_run_alone(b"#!/bin/sh").is_some());
        assert!(cannot_run_alone(&elf(1)[..66]).is_some());
    }
}
