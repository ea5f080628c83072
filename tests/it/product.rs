//! The product is one static file of a bounded size.

use std::path::PathBuf;

use crate::support::{figure, prepared};

/// The binary that an instance downloads, an image contains and a person copies. It was 12 MiB before people could sign in at an
/// identity provider, with personal tokens and with AWS identities, which take 1.4 MiB of it.
const SIZE_LIMIT: usize = 14 << 20;
/// The same with all features, with symbols and without optimisation across crates: it is for tests and for people's machines.
const SIZE_LIMIT_WITH_ALL_FEATURES: usize = 48 << 20;

const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn index(bytes: &[u8], at: usize, size: usize) -> usize {
    usize::try_from(number(bytes, at, size)).unwrap()
}

#[test]
#[ignore = "needs tests/run: the static binaries"]
fn the_binary_is_static_position_independent_and_small() {
    let binaries = [("APPLIANCE_LEAN_BIN", SIZE_LIMIT), ("APPLIANCE_BIN", SIZE_LIMIT_WITH_ALL_FEATURES)];
    for (variable, limit) in binaries {
        let path = PathBuf::from(prepared(variable));
        let file = std::fs::read(&path).unwrap();
        figure(&format!("{} bytes: {}", file.len(), path.file_name().unwrap().display()));
        assert!(file.len() <= limit, "{} bytes are more than {limit}", file.len());
        assert_static_and_position_independent(&file);
    }
}

fn assert_static_and_position_independent(file: &[u8]) {
    // ELF-64, little endian: the header's and the program headers' offsets are those of the System V ABI.
    assert_eq!(&file[..6], b"\x7fELF\x02\x01");
    assert_eq!(number(file, 16, 2), u64::from(ET_DYN), "position-independent");
    let (table, entry, count) = (index(file, 32, 8), index(file, 54, 2), index(file, 56, 2));
    let kinds: Vec<u32> =
        (0..count).map(|number_of| u32::try_from(number(file, table + number_of * entry, 4)).unwrap()).collect();
    assert!(kinds.contains(&PT_LOAD), "{kinds:?}");
    assert!(!kinds.contains(&PT_INTERP), "no loader is needed");
    let dynamic = table + kinds.iter().position(|kind| *kind == PT_DYNAMIC).expect("a dynamic section") * entry;
    let (start, size) = (index(file, dynamic + 8, 8), index(file, dynamic + 32, 8));
    let needed = (start..start + size).step_by(16).filter(|at| number(file, *at, 8) == DT_NEEDED).count();
    assert_eq!(needed, 0, "no shared library is needed");
}
