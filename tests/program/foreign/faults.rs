//! Ten faults of the example: how each is brought about and put right, and what `verify` has to say.

use super::shop::Shop;

/// Seeded into a shop that is green.
pub(super) struct Fault {
    /// What went wrong, for the table.
    pub(super) name: &'static str,
    pub(super) seed: fn(&Shop),
    pub(super) heal: fn(&Shop),
    /// The findings that name it.
    pub(super) roots: &'static [&'static str],
    /// Every other finding that is no pass, with the one that it is a consequence of.
    pub(super) follow: &'static [(&'static str, &'static str)],
}
