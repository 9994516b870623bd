//! Errors of Kafka calls.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use diagnostics::Cause;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::JoinError;

/// Shorthand within this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of one call. Only its `Display` turns librdkafka's errors into text.
#[derive(Debug, Clone)]
pub struct Error(Box<Failure>);

#[derive(Debug, Clone)]
struct Failure {
    bootstrap: Option<String>,
    call: Option<String>,
    /// The partition, group or setting that failed; None: the whole call.
    subject: Option<String>,
    reason: Reason,
}

#[derive(Debug, Clone)]
enum Reason {
    Library(KafkaError),
    /// An error code for one of several topics in a response.
    Code(RDKafkaErrorCode),
    Socket(Arc<io::Error>),
    NoAnswer,
    NoAddress,
    NoBroker,
    NotSent,
    ProducerClosed,
    /// A response that is not as the protocol requires.
    Unexpected(String),
    Panic(Arc<JoinError>),
}

impl Error {
    fn new(reason: Reason) -> Self {
        let failure = Failure {
            bootstrap: None,
            call: None,
            subject: None,
            reason,
        };
        Self(Box::new(failure))
    }

    pub(crate) fn no_answer() -> Self {
        Self::new(Reason::NoAnswer)
    }

    pub(crate) fn no_address() -> Self {
        Self::new(Reason::NoAddress)
    }

    pub(crate) fn no_broker() -> Self {
        Self::new(Reason::NoBroker)
    }

    pub(crate) fn not_sent() -> Self {
        Self::new(Reason::NotSent)
    }

    pub(crate) fn producer_closed() -> Self {
        Self::new(Reason::ProducerClosed)
    }

    pub(crate) fn unexpected(what: String) -> Self {
        Self::new(Reason::Unexpected(what))
    }

    pub(crate) fn at(mut self, bootstrap: &str) -> Self {
        self.0.bootstrap = Some(bootstrap.to_owned());
        self
    }

    pub(crate) fn of_call(mut self, call: &str) -> Self {
        self.0.call = Some(call.to_owned());
        self
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// The kind of failure.
    pub fn cause(&self) -> Cause {
        match &self.0.reason {
            Reason::Library(error) => of_library(error),
            Reason::Code(code) => of_code(*code),
            Reason::Socket(error) => Cause::of_io(error),
            Reason::NoAnswer => Cause::Timeout,
            Reason::NoAddress => Cause::NameResolution,
            Reason::NoBroker => Cause::Connection,
            Reason::Unexpected(_) => Cause::Protocol,
            Reason::NotSent | Reason::ProducerClosed | Reason::Panic(_) => Cause::Client,
        }
    }

    /// `bootstrap.servers` of the client; None for a record's delivery.
    pub fn bootstrap(&self) -> Option<&str> {
        self.0.bootstrap.as_deref()
    }

    /// The call that failed, as `-v` prints it; None: the error occurred outside an instrumented call.
    pub fn call(&self) -> Option<&str> {
        self.0.call.as_deref()
    }
}

fn of_library(error: &KafkaError) -> Cause {
    match (error.rdkafka_error_code(), error) {
        (Some(code), _) => of_code(code),
        (None, KafkaError::NoMessageReceived) => Cause::Timeout,
        (None, _) => Cause::Client,
    }
}

fn of_code(code: RDKafkaErrorCode) -> Cause {
    use RDKafkaErrorCode as Code;
    match code {
        Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut => Cause::Timeout,
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::NetworkException
        | Code::BrokerNotAvailable => Cause::Connection,
        Code::Resolve => Cause::NameResolution,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::DelegationTokenExpired => Cause::Authentication,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed => Cause::Authorization,
        Code::SSL
        | Code::BadMessage
        | Code::BadCompression
        | Code::Underflow
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion => Cause::Protocol,
        // Kafka's error codes are positive, librdkafka's are negative; -1 is Kafka's UNKNOWN_SERVER_ERROR.
        code if code as i32 >= Code::Unknown as i32 => Cause::Rejected,
        _ => Cause::Client,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            bootstrap,
            subject,
            reason,
            call: _,
        } = &*self.0;
        if let Some(bootstrap) = bootstrap {
            write!(f, "kafka at {bootstrap}: ")?;
        }
        if let Some(subject) = subject {
            write!(f, "{subject}: ")?;
        }
        write!(f, "{reason}")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => match error.rdkafka_error_code() {
                Some(code) => describe(code, f),
                None => write!(f, "{error}"),
            },
            Self::Code(code) => describe(*code, f),
            Self::Socket(error) => write!(f, "{error}"),
            Self::NoAnswer => f.write_str("no answer in time"),
            Self::NoAddress => f.write_str("no address"),
            Self::NoBroker => f.write_str("no broker is registered yet"),
            Self::NotSent => f.write_str("nothing was sent"),
            Self::ProducerClosed => f.write_str("the producer was closed"),
            Self::Unexpected(what) => f.write_str(what),
            Self::Panic(error) => write!(f, "{error}"),
        }
    }
}

fn describe(code: RDKafkaErrorCode, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match code {
        RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown => {
            f.write_str("no broker answers")
        }
        RDKafkaErrorCode::OperationTimedOut => f.write_str("no answer in time"),
        code => write!(f, "{code}"),
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.reason {
            Reason::Library(error) => Some(error),
            Reason::Code(code) => Some(code),
            Reason::Socket(error) => Some(&**error),
            Reason::Panic(error) => Some(&**error),
            Reason::NoAnswer
            | Reason::NoAddress
            | Reason::NoBroker
            | Reason::NotSent
            | Reason::ProducerClosed
            | Reason::Unexpected(_) => None,
        }
    }
}

/// For a command that fails if the call fails.
impl From<Error> for diagnostics::Error {
    fn from(error: Error) -> Self {
        Self::new(diagnostics::Kind::Unreachable, error)
    }
}

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Self {
        Self::new(Reason::Library(error))
    }
}

impl From<RDKafkaErrorCode> for Error {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self::new(Reason::Code(code))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(Reason::Socket(Arc::new(error)))
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        Self::new(Reason::Panic(Arc::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::{
        ClientConfig, Offset,
        consumer::BaseConsumer,
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Kafka, client::Client, ready};

    const SOON: Duration = Duration::from_millis(300);

    /// A port that nothing listens on.
    async fn closed_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("its address").to_string()
    }

    #[tokio::test]
    async fn a_closed_port_refuses_the_connection() {
        let bootstrap = closed_port().await;
        let error = ready(&bootstrap, SOON).await.expect_err("nothing listens");
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        assert_eq!(error.bootstrap(), Some(bootstrap.as_str()));
        let source = error.source().expect("the socket's error");
        let source = source.downcast_ref::<io::Error>().expect("as it was");
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), format!("kafka at {bootstrap}: {source}"));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_differs_from_a_refused_connection() {
        let ready = ready("no-such-host.invalid:9092", SOON * 20).await;
        let error = ready.expect_err("RFC 2606 reserves it");
        assert_eq!(error.cause(), Cause::NameResolution, "{error:?}");
    }

    #[tokio::test]
    async fn a_listener_that_speaks_no_kafka_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let error = ready(&address, SOON).await.expect_err("it never answers");
        // librdkafka does not report that the ApiVersions handshake is incomplete.
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        assert_eq!(error.call(), Some("brokers"));
        assert_eq!(
            error.to_string(),
            format!("kafka at {address}: no broker answers")
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_stops_answering_is_a_timeout() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let kafka = Kafka::new(&cluster.bootstrap_servers()).expect("a client");
        kafka.topics().await.expect("it answers");
        let slow = cluster.broker_round_trip_time(1, SOON * 4);
        slow.expect("a broker");
        let late = |client: &Client| {
            let partitions = crate::offsets::list(&[("t".to_owned(), 0)], Offset::Invalid)?;
            Ok(crate::native::list_group_offsets(client, "orders", &partitions, SOON).map(drop)?)
        };
        let error = kafka
            .ask("committed offsets", late)
            .await
            .expect_err("too late");
        assert_eq!(error.cause(), Cause::Timeout, "{error:?}");
        assert!(error.to_string().ends_with(": no answer in time"));
    }

    #[tokio::test]
    async fn a_broker_that_is_gone_is_a_connection_that_failed() {
        let kafka = Kafka::new(&closed_port().await).expect("a client");
        let error = kafka.topics().await.expect_err("nothing listens");
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        assert!(error.to_string().ends_with(": no broker answers"));
    }

    async fn refused_with(code: RDKafkaRespErr) -> Error {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[code]);
        let kafka = Kafka::new(&cluster.bootstrap_servers()).expect("a client");
        let committed = kafka
            .committed_offsets("orders", &[("t".to_owned(), 0)])
            .await;
        committed.expect_err("the cluster refuses")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_authorization_failure_differs_from_a_rejected_request() {
        use RDKafkaRespErr as Code;
        let forbidden = refused_with(Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED).await;
        assert_eq!(forbidden.cause(), Cause::Authorization, "{forbidden:?}");
        let refused = refused_with(Code::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID).await;
        assert_eq!(refused.cause(), Cause::Rejected, "{refused:?}");
        let source = refused.source().expect("librdkafka's error");
        let source = source.downcast_ref::<KafkaError>().expect("as it was");
        assert_eq!(
            source.rdkafka_error_code(),
            Some(RDKafkaErrorCode::InvalidGroupId)
        );
        assert_eq!(refused.call(), Some("committed offsets"));
    }

    #[test]
    fn a_setting_that_librdkafka_does_not_know_is_the_clients_fault() {
        let mut config = ClientConfig::new();
        let consumer: Result<BaseConsumer, _> = config.set("no.such.setting", "1").create();
        let error = Error::from(consumer.err().expect("an unknown setting"));
        assert_eq!(error.cause(), Cause::Client, "{error:?}");
    }

    /// The tests have no broker with SASL, so librdkafka's codes stand in.
    #[test]
    fn codes_of_credentials_and_of_tls_have_their_causes() {
        let cause = |code| Error::from(KafkaError::Global(code)).cause();
        for code in [
            RDKafkaErrorCode::Authentication,
            RDKafkaErrorCode::SaslAuthenticationFailed,
        ] {
            assert_eq!(cause(code), Cause::Authentication);
        }
        assert_eq!(cause(RDKafkaErrorCode::SSL), Cause::Protocol);
        assert_eq!(cause(RDKafkaErrorCode::Resolve), Cause::NameResolution);
        assert_eq!(cause(RDKafkaErrorCode::Unknown), Cause::Rejected);
        assert_eq!(cause(RDKafkaErrorCode::QueueFull), Cause::Client);
    }
}
