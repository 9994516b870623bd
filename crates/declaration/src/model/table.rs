//! Declared tables.

use serde::{Deserialize, Serialize};

/// A table that the pipeline's services write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Name, with its schema if declared.
    pub name: String,
    /// SQL predicate that selects the rows of one message of the flow; `$1` is the correlation id as text.
    /// [`Table::NONE`]: the table is not part of the flow.
    pub find: String,
    /// Number of rows of one completely processed message.
    pub rows: i64,
    /// Rows that `test-flow` deletes.
    pub cleanup: Removal,
    /// Columns that must exist.
    pub columns: Vec<Column>,
    /// Names of indexes that must exist.
    pub indexes: Vec<String>,
    /// Names of constraints that must exist and be validated.
    pub constraints: Vec<String>,
    /// Names of triggers that must be enabled; others are worth a warning. None: not declared.
    pub triggers: Option<Vec<String>>,
}

/// Which rows of a test message `test-flow` deletes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Rows that match `find` and have `synthetic` set.
    #[default]
    Synthetic,
    /// Rows that match `find` and did not exist before the test.
    Find,
    /// None.
    Keep,
}

/// A column that must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name of the column.
    pub name: String,
    /// Postgres type, for instance `timestamptz` or `numeric(10,2)`. None: any type.
    pub kind: Option<String>,
}

impl Table {
    /// A `find` that matches no row.
    pub const NONE: &'static str = "FALSE";

    /// Whether the table is part of the flow.
    pub fn is_followed(&self) -> bool {
        self.find != Self::NONE
    }

    /// Whether `test-flow` keeps the rows of its messages.
    pub fn keeps(&self) -> bool {
        self.is_followed() && self.cleanup == Removal::Keep
    }
}
