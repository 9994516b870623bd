//! A table, as it is declared.

use serde::{Deserialize, Serialize};

/// A table that the pipeline's services write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    /// SQL predicate over the table; `$1` is the correlation id as text. [`Table::NONE`] where the
    /// table has no rows of a payment.
    pub find: String,
    /// Rows of one payment once it is through.
    pub rows: i64,
    pub cleanup: Removal,
    /// That it has to have.
    pub columns: Vec<Column>,
    /// Names of indexes that it has to have.
    pub indexes: Vec<String>,
}

/// Which rows of a payment that `test-flow` made are deleted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Those that `find` finds and that have `synthetic` set.
    #[default]
    Synthetic,
    /// Those that `find` finds and that did not exist before the test began.
    Find,
    /// None.
    Keep,
}

/// A column by name, and its type where that is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// As Postgres takes it, for instance `timestamptz` or `numeric(10,2)`.
    pub kind: Option<String>,
}

impl Table {
    /// A `find` that finds nothing.
    pub const NONE: &'static str = "FALSE";

    /// Whether a payment leaves rows in it, as far as is declared.
    pub fn is_followed(&self) -> bool {
        self.find != Self::NONE
    }

    /// Whether a payment's rows stay in it.
    pub fn keeps(&self) -> bool {
        self.is_followed() && self.cleanup == Removal::Keep
    }
}
