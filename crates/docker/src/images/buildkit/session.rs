//! A session: the connection over which BuildKit sends requests to its client. It carries HTTP/2 with reversed
//! roles: the engine calls gRPC methods here.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::proto::{CredentialsResponse, GetSecretRequest, GetSecretResponse, HealthCheckResponse};

/// The methods that are served; the engine calls no others.
pub(super) const METHODS: [&str; 2] = [CREDENTIALS, SECRET];

const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// gRPC's codes, <https://grpc.io/docs/guides/status-codes/>.
const OK: &str = "0";
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";
/// The largest request in bytes: a request has an id or a host's name.
const LARGEST: usize = 64 << 10;

/// Secrets of builds by id; no image contains them.
pub(crate) type Secrets = BTreeMap<String, Vec<u8>>;

/// Serves requests until it is dropped or the engine closes the connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// The build's request refers to the session by this id.
    pub(super) id: String,
    _answers: AbortOnDropHandle<()>,
}

impl Session {
    pub(super) fn answer<C>(id: String, connection: C, secrets: Secrets) -> Self
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answers = tokio::spawn(async move {
            // If it fails, the build fails too, with its own error.
            drop(serve(connection, Arc::new(secrets)).await);
        });
        let _answers = AbortOnDropHandle::new(answers);
        Self { id, _answers }
    }
}

async fn serve<C>(connection: C, secrets: Arc<Secrets>) -> Result<(), h2::Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(connection).await?;
    let mut calls = tokio::task::JoinSet::new();
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        calls.spawn(call_of(request, respond, Arc::clone(&secrets)));
        while calls.try_join_next().is_some() {}
    }
    Ok(())
}

async fn call_of(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    secrets: Arc<Secrets>,
) -> Result<(), h2::Error> {
    let method = request.uri().path().to_owned();
    let question = message(request.into_body()).await?;
    let (status, answer) = answer(&method, &question, &secrets);
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    let mut stream = respond.send_response(head, false)?;
    if let Some(answer) = answer {
        stream.send_data(framed(&answer).into(), false)?;
    }
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static(status));
    stream.send_trailers(end)
}

/// gRPC's status and, if it is [`OK`], the response.
fn answer(method: &str, question: &[u8], secrets: &Secrets) -> (&'static str, Option<Vec<u8>>) {
    match method {
        HEALTH => {
            let status = HealthCheckResponse::SERVING;
            (OK, Some(HealthCheckResponse { status }.encode_to_vec()))
        }
        CREDENTIALS => (OK, Some(CredentialsResponse {}.encode_to_vec())),
        SECRET => {
            let request = GetSecretRequest::decode(question).unwrap_or_default();
            match secrets.get(&request.id) {
                Some(secret) => {
                    let data = secret.clone();
                    (OK, Some(GetSecretResponse { data }.encode_to_vec()))
                }
                None => (NOT_FOUND, None),
            }
        }
        _ => (UNIMPLEMENTED, None),
    }
}

/// The one message of a call, out of its frame: a byte that says whether it is compressed, its
/// length in four.
async fn message(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if bytes.len() + chunk.len() <= LARGEST {
            bytes.extend_from_slice(&chunk);
        }
    }
    let mut bytes = Bytes::from(bytes);
    let frame = bytes.len().min(5);
    Ok(bytes.split_off(frame))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls a method of the session, as the engine would.
    async fn ask(method: &str, question: &[u8]) -> (String, Vec<u8>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let secrets = Secrets::from([("token".to_owned(), vec![b's'; 100_000])]);
        let _session = Session::answer("1".to_owned(), ours, secrets);
        let (mut client, connection) = h2::client::handshake(theirs).await.expect("HTTP/2");
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::post(format!("http://session{method}")).body(());
        let (answer, mut body) = client
            .send_request(request.expect("a request"), false)
            .expect("sent");
        body.send_data(framed(question).into(), true).expect("sent");
        let mut answer = answer.await.expect("an answer").into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.data().await {
            let chunk = chunk.expect("data");
            let capacity = answer.flow_control().release_capacity(chunk.len());
            capacity.expect("capacity");
            bytes.extend_from_slice(&chunk);
        }
        let end = answer.trailers().await.expect("an end").expect("trailers");
        let status = end["grpc-status"].to_str().expect("text").to_owned();
        (status, bytes)
    }

    #[tokio::test]
    async fn a_secret_is_served_by_id() {
        let question = |id: &str| GetSecretRequest { id: id.to_owned() }.encode_to_vec();
        let (status, answer) = ask(SECRET, &question("token")).await;
        assert_eq!(status, OK);
        let secret = GetSecretResponse::decode(&answer[5..]).expect("an answer");
        assert_eq!(secret.data, [b's'; 100_000]);
        let (status, answer) = ask(SECRET, &question("other")).await;
        assert_eq!((status.as_str(), answer.len()), (NOT_FOUND, 0));
    }

    #[tokio::test]
    async fn it_is_healthy_and_has_no_registry_credentials() {
        assert_eq!(
            ask(HEALTH, b"").await,
            (OK.to_owned(), vec![0, 0, 0, 0, 2, 8, 1])
        );
        assert_eq!(ask(CREDENTIALS, b"").await, (OK.to_owned(), vec![0; 5]));
        assert_eq!(ask("/else", b"").await.0, UNIMPLEMENTED);
    }
}
