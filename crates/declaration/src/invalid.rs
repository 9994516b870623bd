//! Why a text is not the value that its reader expects.

use std::{borrow::Cow, error::Error, fmt};

/// Why a text is not a value of the expected form, for instance `a number needs its unit`. Every caller
/// shows the reason beside the text and decides nothing by it, so the reason has no kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(Cow<'static, str>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Invalid {}

impl From<&'static str> for Invalid {
    fn from(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }
}

impl From<String> for Invalid {
    fn from(reason: String) -> Self {
        Self(Cow::Owned(reason))
    }
}
