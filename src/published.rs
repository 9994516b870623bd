//! Pages of docs/ that are made of the code, held against it by tests.

use std::path::Path;

/// Set, it has the pages written instead of compared.
const WRITE: &str = "CARAVAN_WRITE_DOCS";

/// The page of this name below docs/ is `text`.
pub(crate) fn expect(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text).expect("the page is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/{name} is not what the code says; write it anew with: \
         {WRITE}=1 cargo test --release --bin caravan"
    );
}
