//! Warnings and secrets that are collected while services are read.

use crate::yaml::{Fields, View};

/// See `Pipeline`'s fields of the same names.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) secrets: Vec<String>,
}

impl Notes {
    /// Adds a warning: the key at `view` has no effect.
    pub(super) fn no_effect(&mut self, view: &View<'_>, why: &str) {
        let warning = format!("`{}` has no effect: {why}", view.path);
        self.warnings.push(warning);
    }

    /// Removes those of `keys` that exist from `fields`, with a warning that only Swarm uses them.
    pub(super) fn swarm(
        &mut self,
        view: &View<'_>,
        fields: &mut Fields<'_>,
        keys: &[&'static str],
    ) {
        let present = keys.iter().filter(|key| fields.take(key).is_some());
        let present: Vec<_> = present.map(|key| format!("`{key}`")).collect();
        if !present.is_empty() {
            let (path, keys) = (&view.path, present.join(", "));
            let warning = format!("of `{path}`, only Swarm reads these keys: {keys}");
            self.warnings.push(warning);
        }
    }

    /// Adds a secret value. Each of its lines is added, too, because output is masked line by line.
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
