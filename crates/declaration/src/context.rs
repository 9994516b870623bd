//! What the readers of a declaration's parts are given.

use std::path::Path;

use super::{Origin, StateFiles, interpolate::Variables};

/// Context of the readers.
pub(super) struct Context<'a> {
    pub(super) project: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) state: &'a StateFiles,
    /// Directory of relative paths.
    pub(super) directory: &'a Path,
    pub(super) variables: &'a Variables,
    pub(super) secret_names: &'a [String],
    /// Active profiles; `*` activates all.
    pub(super) profiles: &'a [String],
    /// Directory in which `up` generates secret and config files.
    pub(super) files_dir: &'a Path,
}

impl Context<'_> {
    /// Whether a service with these profiles is active. An empty one, of a variable that is not set, is always
    /// active.
    pub(super) fn activates(&self, profiles: &[String]) -> bool {
        let active = |profile: &String| *profile == "*" || profiles.contains(profile);
        profiles.is_empty()
            || profiles.iter().any(String::is_empty)
            || self.profiles.iter().any(active)
    }
}
