//! Records in tests which keys and words the reader accepts at which path.

use std::cell::RefCell;

#[derive(Default)]
pub(crate) struct Accepted {
    pub keys: Vec<(String, Vec<String>)>,
    pub words: Vec<(String, Vec<String>)>,
}

thread_local! {
    static ACCEPTED: RefCell<Accepted> = RefCell::default();
}

pub(super) fn keys(path: &str, known: &[&'static str]) {
    let keys = known.iter().map(|key| (*key).to_owned()).collect();
    ACCEPTED.with_borrow_mut(|accepted| accepted.keys.push((path.to_owned(), keys)));
}

pub(super) fn words<'a>(path: &str, words: impl Iterator<Item = &'a str>) {
    let words = words.map(str::to_owned).collect();
    ACCEPTED.with_borrow_mut(|accepted| accepted.words.push((path.to_owned(), words)));
}

/// Returns the recorded keys and words of this thread, and clears them.
pub(crate) fn all() -> Accepted {
    ACCEPTED.take()
}
