//! Why an observation could not be made.

use std::fmt;

use crate::stores::StoreError;

/// Checks that share an observation share its error too.
#[derive(Debug, Clone)]
pub(crate) enum ObservationError {
    /// The declaration does not say where this is.
    NoAddress(&'static str),
    /// A client of Kafka, Postgres, Redis or HTTP failed.
    Client(StoreError),
    /// Dead letters could not be read.
    DeadLetters(diagnostics::Error),
    /// The answer does not contain what is needed.
    Incomplete(String),
}

impl fmt::Display for ObservationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(what) => write!(f, "the declaration has no address of {what}"),
            Self::DeadLetters(error) => write!(f, "{error}"),
            Self::Client(error) => write!(f, "{error}"),
            Self::Incomplete(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ObservationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DeadLetters(error) => Some(error),
            Self::Client(error) => Some(error),
            Self::NoAddress(_) | Self::Incomplete(_) => None,
        }
    }
}

impl From<StoreError> for ObservationError {
    fn from(error: StoreError) -> Self {
        Self::Client(error)
    }
}

impl From<kafka::Error> for ObservationError {
    fn from(error: kafka::Error) -> Self {
        Self::Client(error.into())
    }
}

/// Outcomes are texts.
impl From<ObservationError> for String {
    fn from(error: ObservationError) -> Self {
        error.to_string()
    }
}
