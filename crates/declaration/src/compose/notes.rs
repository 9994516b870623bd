//! What is noticed while services are read, besides what they are.

use crate::yaml::{Fields, View};

/// See `Pipeline`'s fields of the same names.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) secrets: Vec<String>,
}

impl Notes {
    /// A key that is read and then left alone.
    pub(super) fn no_effect(&mut self, view: &View<'_>, why: &str) {
        let warning = format!("`{}` has no effect: {why}", view.path);
        self.warnings.push(warning);
    }

    /// Takes those of these keys that are there, for they are Swarm's alone.
    pub(super) fn swarm(
        &mut self,
        view: &View<'_>,
        fields: &mut Fields<'_>,
        keys: &[&'static str],
    ) {
        let taken = keys.iter().filter(|key| fields.take(key).is_some());
        let taken: Vec<_> = taken.map(|key| format!("`{key}`")).collect();
        if !taken.is_empty() {
            let (path, keys) = (&view.path, taken.join(", "));
            let warning = format!("of `{path}` these have no effect, being for Swarm: {keys}");
            self.warnings.push(warning);
        }
    }

    /// A value that must not be shown. Of several lines each counts: text is shown line by line.
    pub(super) fn secret(&mut self, value: &str) {
        let value = value.trim();
        let lines = value.lines().map(str::trim);
        for part in std::iter::once(value).chain(lines) {
            if !self.secrets.iter().any(|known| known == part) {
                self.secrets.push(part.to_owned());
            }
        }
    }
}
