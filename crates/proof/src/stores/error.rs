//! Errors of stores.

use std::{error::Error, fmt, io, sync::Arc};

use diagnostics::Cause;

use super::redact::{place, redact};

/// Shorthand within this crate.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

type Source = Arc<dyn Error + Send + Sync>;

/// An error of Postgres, Redis or HTTP, or of Kafka in code that uses Kafka and a store. Neither
/// its text nor its source contains the password of the address.
#[derive(Debug, Clone)]
pub struct StoreError(Box<Failure>);

#[derive(Debug, Clone)]
struct Failure {
    /// `postgres at HOST:PORT/NAME`; None where the text says it.
    at: Option<String>,
    /// Without the password: the address, which has it, is not kept.
    text: String,
    cause: Cause,
    code: Option<String>,
    source: Option<Source>,
}

impl StoreError {
    /// A failure without an error of a library.
    pub(crate) fn new(cause: Cause, text: impl Into<String>) -> Self {
        let failure = Failure {
            at: None,
            text: text.into(),
            cause,
            code: None,
            source: None,
        };
        Self(Box::new(failure))
    }

    /// The declaration does not have what the call needs.
    pub(crate) fn undeclared(what: impl Into<String>) -> Self {
        Self::new(Cause::Client, what)
    }

    pub(super) fn no_answer() -> Self {
        Self::new(Cause::Timeout, "no answer in time")
    }

    /// Adds the `store` at `url`. Masks the password of `url`, and drops a source that contains it.
    /// Call it last.
    pub(super) fn at(mut self, store: &str, url: &str) -> Self {
        self.0.at = Some(format!("{store} at {}", place(url)));
        self.0.text = redact(&self.0.text, url);
        let text_of = |source: &Source| format!("{source} {source:?}");
        self.0.source = (self.0.source).filter(|s| redact(&text_of(s), url) == text_of(s));
        self
    }

    pub(super) fn code_of(mut self, code: Option<impl Into<String>>) -> Self {
        self.0.code = code.map(Into::into);
        self
    }

    pub(super) fn source_of(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The cause.
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// Postgres' SQLSTATE, or the first word of Redis' error.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.0.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.0.text)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

/// For a command that cannot do without the call.
impl From<StoreError> for diagnostics::Error {
    fn from(error: StoreError) -> Self {
        Self::new(diagnostics::Kind::Unreachable, error)
    }
}

impl From<kafka::Error> for StoreError {
    fn from(error: kafka::Error) -> Self {
        Self::new(error.cause(), error.to_string()).source_of(error)
    }
}

/// The socket's error within another one.
pub(super) fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // Redis' library shares it.
        let shared = error.downcast_ref::<Source>();
        let shared = shared.and_then(|shared| shared.downcast_ref());
        if let Some(found) = error.downcast_ref().or(shared) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_text_nor_source_holds_the_password() {
        let url = "postgres://u:s3cret@127.0.0.1:1/db";
        let leaking = || io::Error::other("cannot parse s3cret");
        let error = StoreError::new(Cause::Client, leaking().to_string());
        let error = error.source_of(leaking()).at("postgres", url);
        assert_eq!(
            error.to_string(),
            "postgres at 127.0.0.1:1/db: cannot parse ***"
        );
        assert!(error.source().is_none());
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }

    #[tokio::test]
    async fn an_error_of_kafka_keeps_its_words_and_itself() {
        let refused = kafka::Kafka::connect("127.0.0.1:1").await;
        let refused = refused.err().expect("nothing listens");
        let error = StoreError::from(refused.clone());
        assert_eq!(error.to_string(), refused.to_string());
        assert_eq!(error.cause(), refused.cause());
        let source = error.source().expect("itself");
        assert!(source.downcast_ref::<kafka::Error>().is_some());
    }
}
