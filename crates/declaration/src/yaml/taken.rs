//! What the reader knows, written down in tests: which keys it takes at which path, and which words.

use std::cell::RefCell;

#[derive(Default)]
pub(crate) struct Taken {
    pub keys: Vec<(String, Vec<String>)>,
    pub words: Vec<(String, Vec<String>)>,
}

thread_local! {
    static TAKEN: RefCell<Taken> = RefCell::default();
}

pub(super) fn keys(path: &str, known: &[&'static str]) {
    let keys = known.iter().map(|key| (*key).to_owned()).collect();
    TAKEN.with_borrow_mut(|taken| taken.keys.push((path.to_owned(), keys)));
}

pub(super) fn words<'a>(path: &str, words: impl Iterator<Item = &'a str>) {
    let words = words.map(str::to_owned).collect();
    TAKEN.with_borrow_mut(|taken| taken.words.push((path.to_owned(), words)));
}

/// All that was read on this thread since it was last asked.
pub(crate) fn all() -> Taken {
    TAKEN.take()
}
