//! The Docker engine: where it is, whether it answers, and how each call to it is bounded.

use std::{
    error::Error as StdError, fs, future::Future, io, os::unix::fs::MetadataExt, path::Path,
    sync::Arc, time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as DockerError};

use diagnostics::{Error, Kind, Result, instrument_call, quote};
use platform::Answers;

/// The oldest engine API that Caravan speaks: Docker 20.10.
pub const OLDEST_API: (usize, usize) = (1, 41);
/// The timeout of an ordinary call.
pub(super) const CALL: Duration = Duration::from_secs(30);
/// The supported schemes of an engine's address.
const SCHEMES: [&str; 3] = ["unix://", "tcp://", "http://"];
/// Docker's default socket.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A Docker engine that answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    /// Answers questions about services that are reachable from this process.
    pub(super) answers: Arc<dyn Answers>,
    /// The API version (major, minor) that bollard negotiated.
    pub api: (usize, usize),
    /// Its address, `unix://…` or `tcp://…`.
    pub(super) host: String,
    /// The address that is connected to. Differs from `host` only inside a network container.
    pub(super) endpoint: String,
    /// Whether the engine runs on this machine: its address is a Unix socket.
    pub(super) local: bool,
}

impl Engine {
    /// Connects to `host` (`unix://…`, `tcp://…`), else to the default socket.
    ///
    /// # Errors
    /// No engine, no permission, or one that is too old: with what to do about it.
    pub async fn connect(host: Option<&str>, answers: Arc<dyn Answers>) -> Result<Self> {
        let host = host.unwrap_or(DEFAULT_HOST);
        Self::connect_through(host, host, answers).await
    }

    /// As [`Self::connect`], without the check of the API version.
    pub async fn connect_any_version(
        host: Option<&str>,
        answers: Arc<dyn Answers>,
    ) -> Result<Self> {
        let host = host.unwrap_or(DEFAULT_HOST);
        Self::open_endpoint(host, host, answers).await
    }

    /// As [`Self::connect`], to the engine at `host`, which this process reaches at `endpoint`.
    pub async fn connect_through(
        host: &str,
        endpoint: &str,
        answers: Arc<dyn Answers>,
    ) -> Result<Self> {
        let engine = Self::open_endpoint(host, endpoint, answers).await?;
        if engine.api < OLDEST_API {
            return Err(too_old(host, engine.api));
        }
        Ok(engine)
    }

    async fn open_endpoint(host: &str, endpoint: &str, answers: Arc<dyn Answers>) -> Result<Self> {
        if !SCHEMES.iter().any(|scheme| host.starts_with(scheme)) {
            return Err(unsupported(host));
        }
        let docker = open(endpoint).map_err(|e| unreachable(host, &e))?;
        let negotiated = tokio::time::timeout(Duration::from_secs(10), docker.negotiate_version());
        let docker = match negotiated.await {
            Ok(answer) => answer.map_err(|e| unreachable(host, &e))?,
            Err(_) => return Err(unreachable(host, &DockerError::RequestTimeoutError)),
        };
        let version = docker.client_version();
        let api = (version.major_version, version.minor_version);
        Ok(Self {
            docker,
            answers,
            api,
            host: host.to_owned(),
            endpoint: endpoint.to_owned(),
            local: host.starts_with("unix://"),
        })
    }

    /// Runs an ordinary call with a timeout; `what` names it in errors.
    ///
    /// # Errors
    /// The engine's message.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, DockerError>>,
    ) -> Result<T> {
        self.call_within(CALL, what, call).await
    }

    /// As [`Self::call`], with another timeout.
    pub(super) async fn call_within<T>(
        &self,
        limit: Duration,
        what: &str,
        call: impl Future<Output = Result<T, DockerError>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, instrument_call("docker", what, Box::pin(call))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(self.refused(what, &e)),
            Err(_) => {
                let limit = declaration::units::exact(limit);
                Err(self.lost(what, &format!("no answer within {limit}")))
            }
        }
    }

    /// The error of a failed call: the engine refused it, or does not respond any more.
    pub(super) fn refused(&self, what: &str, e: &DockerError) -> Error {
        match is_answer(e) {
            true => failed(what, e),
            false => self.lost(what, &reason(e)),
        }
    }

    /// The error of an engine that stopped responding.
    pub(super) fn lost(&self, what: &str, reason: &str) -> Error {
        let what = format!("Docker could not {what}: {reason}");
        Error::new(
            Kind::Unreachable,
            format!("Docker at {} stopped answering", self.host),
        )
        .because(what)
        .hint(how_to_reach(&self.host))
    }
}

/// A client for `host`. Each call has a timeout of its own; the client's timeout only has to exceed the
/// longest of them (an image build's first response).
fn open(host: &str) -> Result<Docker, DockerError> {
    const CEILING: Duration = Duration::from_secs(600);
    if let Some(path) = host.strip_prefix("unix://") {
        return Docker::connect_with_unix(path, CEILING.as_secs(), API_DEFAULT_VERSION);
    }
    Ok(Docker::connect_with_host(host)?.with_timeout(CEILING))
}

/// A call that the engine refused or did not understand.
pub(super) fn failed(what: &str, e: &DockerError) -> Error {
    let kind = match is_answer(e) {
        true => Kind::NotRight,
        false => Kind::Unreachable,
    };
    Error::new(kind, format!("Docker could not {what}")).because(reason(e))
}

/// A call that the engine did not answer in time.
pub(super) fn timed_out(what: &str, limit: Duration) -> Error {
    Error::new(Kind::Unreachable, format!("Docker could not {what}")).because(format!(
        "no answer within {}",
        declaration::units::exact(limit)
    ))
}

/// Whether the error is the engine's response.
fn is_answer(e: &DockerError) -> bool {
    matches!(
        e,
        DockerError::DockerResponseServerError { .. } | DockerError::DockerStreamError { .. }
    )
}

/// The HTTP status of the engine's answer, if it answered.
pub(super) fn status(e: &DockerError) -> Option<u16> {
    match e {
        DockerError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's message, else the innermost cause.
pub(super) fn reason(e: &DockerError) -> String {
    if let DockerError::DockerResponseServerError { message: said, .. }
    | DockerError::DockerStreamError { error: said } = e
    {
        return said.trim().to_owned();
    }
    let mut innermost: &dyn StdError = e;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn unreachable(host: &str, e: &DockerError) -> Error {
    let error = Error::new(Kind::Unreachable, format!("cannot reach Docker at {host}"));
    let reason = reason(e);
    let wants_tls = reason.contains("HTTPS server");
    let error = error.because(reason);
    match io_kind(e) {
        Some(io::ErrorKind::PermissionDenied) => no_permission(error, host),
        _ if wants_tls => error
            .because("Caravan does not support TLS to Docker: use a tunnel")
            .hint(tunnel(host)),
        _ => error.hint(how_to_reach(host)),
    }
}

/// Adds the group whose members may use the socket.
fn no_permission(error: Error, host: &str) -> Error {
    let group = host.strip_prefix("unix://").and_then(group_of);
    let group = group.filter(|name| name != "root");
    let (error, group) = match group {
        Some(group) => (
            error.because(format!("it is for root and the group {group}")),
            group,
        ),
        None => (error, "docker".to_owned()),
    };
    error.hint(format!(
        "sudo usermod -aG {group} \"$USER\" && newgrp {group}"
    ))
}

/// The name of a file's group, from /etc/group (group(5)).
fn group_of(path: &str) -> Option<String> {
    let id = fs::metadata(path).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

/// The error for an address with an unsupported scheme.
fn unsupported(host: &str) -> Error {
    let error = Error::new(
        Kind::Usage,
        format!("the address {host} of Docker is not supported"),
    );
    error
        .because("an address begins with unix:// or tcp://")
        .hint(tunnel(host))
}

/// The command for a tunnel to an engine that requires TLS or SSH.
fn tunnel(host: &str) -> String {
    let remote = host.split_once("://").map_or(host, |(_, rest)| rest);
    let remote = remote.rsplit_once(':').map_or(remote, |(name, _)| name);
    format!(
        "ssh -NL /tmp/docker.sock:/var/run/docker.sock {} and, beside it, -H \
         unix:///tmp/docker.sock",
        quote(remote)
    )
}

/// The command that shows whether an engine listens there, or that starts one.
fn how_to_reach(host: &str) -> String {
    match host == DEFAULT_HOST {
        true => how_to_start().to_owned(),
        false => format!("docker -H {} version", quote(host)),
    }
}

/// The command that installs or starts a Docker daemon on this machine.
fn how_to_start() -> &'static str {
    let installed = [
        "/usr/bin/dockerd",
        "/usr/sbin/dockerd",
        "/usr/local/bin/dockerd",
    ];
    if !installed.iter().any(|path| Path::new(path).exists()) {
        "sudo apt-get install docker.io"
    } else if Path::new("/run/systemd/system").exists() {
        "sudo systemctl start docker"
    } else {
        "sudo sh -c 'dockerd > /var/log/dockerd.log 2>&1 &'"
    }
}

/// The kind of the I/O error in the chain of causes, if there is one.
fn io_kind(e: &DockerError) -> Option<io::ErrorKind> {
    if let DockerError::SocketNotFoundError(_) = e {
        return Some(io::ErrorKind::NotFound);
    }
    let mut next: Option<&(dyn StdError + 'static)> = Some(e);
    while let Some(e) = next {
        if let Some(e) = e.downcast_ref::<io::Error>() {
            return Some(e.kind());
        }
        next = e.source();
    }
    None
}

fn too_old(host: &str, (major, minor): (usize, usize)) -> Error {
    let (oldest_major, oldest_minor) = OLDEST_API;
    Error::new(
        Kind::Unreachable,
        format!("the Docker engine at {host} is too old"),
    )
    .because(format!(
        "it speaks API {major}.{minor}; Caravan needs {oldest_major}.{oldest_minor}, which \
             came with Docker 20.10"
    ))
    .hint("install Docker 20.10 or newer")
}

#[cfg(test)]
pub(super) mod tests {
    use futures_util::future::BoxFuture;
    use platform::{Answer, Question};

    use super::*;

    #[derive(Debug)]
    pub(crate) struct NoAnswers;

    impl Answers for NoAnswers {
        fn answer<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Answer> {
            unreachable!("no engine is reached")
        }
    }

    #[tokio::test]
    async fn no_engine_is_unreachable_and_says_what_to_do() {
        let missing = "unix:///nowhere/docker.sock";
        let error = Engine::connect(Some(missing), Arc::new(NoAnswers))
            .await
            .expect_err("no engine");
        assert_eq!(error.kind, Kind::Unreachable);
        assert!(error.what.contains(missing), "{error}");
        assert!(error.hint.is_some());
    }

    #[tokio::test]
    async fn ssh_and_tls_are_left_to_a_tunnel() {
        let ssh = Engine::connect(Some("ssh://me@shop.example:22"), Arc::new(NoAnswers)).await;
        let ssh = ssh.expect_err("not spoken");
        assert_eq!(ssh.kind, Kind::Usage);
        let tls = DockerError::DockerResponseServerError {
            status_code: 400,
            message: "Client sent an HTTP request to an HTTPS server.".to_owned(),
        };
        let tls = unreachable("tcp://shop.example:2376", &tls);
        for (error, remote) in [(ssh, " me@shop.example "), (tls, " shop.example ")] {
            let hint = error.hint.expect("says how");
            assert!(hint.contains(remote), "{hint}");
        }
    }

    #[test]
    fn the_group_of_a_socket_is_found() {
        assert_eq!(group_of("/").as_deref(), Some("root"));
        assert_eq!(group_of("/nowhere"), None);
    }

    #[test]
    fn the_engines_own_words_are_the_reason() {
        let e = DockerError::DockerResponseServerError {
            status_code: 409,
            message: "name is taken\n".to_owned(),
        };
        let error = failed("create x", &e);
        assert_eq!(error.kind, Kind::NotRight);
        assert_eq!(error.evidence, ["name is taken"]);
    }
}
