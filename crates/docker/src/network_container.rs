//! A temporary container of Caravan's own image on the pipeline's networks, attached to this process. Commands
//! that need the pipeline's network run in it. The engine removes it when it ends.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    errors::Error as DockerError,
    models::{
        ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig,
        NetworkConnectRequest, NetworkingConfig,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures_util::{FutureExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::{
    connect::{Engine, status},
    exit_code,
    images::caravan_repository,
    labels,
};
use declaration::{AddressScope, DeclaredAddress, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::{Connection, Inside};

/// Memory limit in bytes: each Kafka client queues up to 64 MB, `test-flow` holds about 200 bytes for each
/// message.
const MEMORY: i64 = 512 << 20;
/// Limit of threads: the runtime has one for each core, each Kafka client a few.
const THREADS: i64 = 1024;
/// How long to wait for the exit code of a container that closed its connection.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many lines of the container's stderr are kept.
const LINES: usize = 20;

type Reading = Pin<Box<dyn AsyncRead + Send>>;
type Writing = Pin<Box<dyn AsyncWrite + Send>>;

/// How the container ended.
struct End {
    /// The last lines of its stderr.
    stderr: Arc<Mutex<VecDeque<String>>>,
    code: JoinHandle<Option<i64>>,
}

impl End {
    /// The exit code with its meaning and the last lines of stderr, a line each.
    async fn describe(self) -> Vec<String> {
        let code = tokio::time::timeout(EXIT_TIMEOUT, self.code).await;
        let ended = code.ok().and_then(Result::ok).flatten().map(|code| {
            let meaning = exit_code::meaning(code);
            let meaning = meaning.map_or_else(String::new, |meaning| format!(" ({meaning})"));
            format!("it ended with exit code {code}{meaning}")
        });
        let stderr = self.stderr.lock().map(|stderr| stderr.clone());
        ended
            .into_iter()
            .chain(stderr.unwrap_or_default())
            .collect()
    }
}

impl Engine {
    /// The ids of those of these networks that exist. Of several with one name it is the one that has
    /// containers.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn existing_networks(&self, names: &[String]) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for name in names {
            let mut named = self.networks_named(name).await?;
            named.sort_by_key(|network| !network.used);
            ids.extend(named.into_iter().next().map(|network| network.id));
        }
        Ok(ids)
    }

    /// A name for a container of [`Self::start_in_network`].
    pub(crate) fn network_container_name(pipeline: &Pipeline) -> String {
        let id = Uuid::new_v4().simple().to_string();
        format!("{}-caravan-{}", pipeline.project, &id[..8])
    }

    /// Starts a container of Caravan's own image that runs `command` on these networks. If `networks` is
    /// empty, it is on none of the pipeline's.
    ///
    /// # Errors
    /// The image cannot be packed, or Docker refuses. The caller then removes the container with
    /// [`Self::remove_network_container`].
    pub(crate) async fn start_in_network(
        &self,
        pipeline: &Pipeline,
        name: &str,
        networks: &[String],
        command: &[&str],
    ) -> Result<Inside> {
        let (image, _) = self.pack(&caravan_repository(pipeline)).await?;
        let body = body(&image.reference, pipeline, networks, command);
        let (engine, name, networks) = (self.clone(), name.to_owned(), networks.to_vec());
        // Runs to its end even if this future is dropped: a started container ends when its stdin closes,
        // but one that was only created would remain.
        let entering = tokio::spawn(async move { engine.enter(&name, body, &networks).await });
        let entered = entering.await;
        entered.map_err(|e| Error::new(Kind::Defect, e.to_string()))?
    }

    async fn enter(
        &self,
        name: &str,
        body: ContainerCreateBody,
        networks: &[String],
    ) -> Result<Inside> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = self.docker.create_container(Some(options), body);
        self.call("create a container", create).await?;
        // Engines below API 1.44 create a container on one network only.
        for network in networks.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: name.to_owned(),
                endpoint_config: None,
            };
            let connect = self.docker.connect_network(network, request);
            let what = format!("connect a container to the network {network}");
            self.call(&what, connect).await?;
        }
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attach = self.docker.attach_container(name, Some(options));
        let attached = self.call("attach to a container", attach).await?;
        let code = tokio::spawn(self.clone().exit_code(name.to_owned()));
        self.start(name, name).await?;
        Ok(over(attached, code))
    }

    /// The exit code of the container's next exit.
    async fn exit_code(self, name: String) -> Option<i64> {
        let options = WaitContainerOptionsBuilder::new()
            .condition("next-exit")
            .build();
        let mut ends = self.docker.wait_container(&name, Some(options));
        match ends.next().await? {
            Ok(end) => Some(end.status_code),
            Err(DockerError::DockerContainerWaitError { code, .. }) => Some(code),
            Err(_) => None,
        }
    }

    /// Removes a container of [`Self::start_in_network`], running or not, if it exists.
    ///
    /// # Errors
    /// Docker refuses.
    pub(crate) async fn remove_network_container(&self, name: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let remove = async {
            match self.docker.remove_container(name, Some(options)).await {
                // Already removed, or being removed.
                Err(e) if matches!(status(&e), Some(404 | 409)) => Ok(()),
                answer => answer,
            }
        };
        self.call("remove a container", remove).await
    }

    /// Removes the temporary containers that killed commands left on a project's networks.
    ///
    /// # Errors
    /// Docker refuses.
    pub(super) async fn remove_network_containers(&self, project: &str) -> Result<()> {
        let label = format!("{}={project}", labels::INSIDE);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let list = self.docker.list_containers(Some(options));
        for container in self.call("list containers", list).await? {
            if let Some(id) = container.id {
                self.remove_network_container(&id).await?;
            }
        }
        Ok(())
    }

    /// A new connection to the engine's endpoint.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) async fn connection(&self) -> io::Result<Box<dyn Connection>> {
        if let Some(path) = self.endpoint.strip_prefix("unix://") {
            return Ok(Box::new(UnixStream::connect(path).await?));
        }
        let (_, rest) = self.endpoint.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        let address = match has_port {
            true => authority.to_owned(),
            false => format!("{authority}:2375"),
        };
        Ok(Box::new(TcpStream::connect(address).await?))
    }
}

fn over(attached: AttachContainerResults, code: JoinHandle<Option<i64>>) -> Inside {
    let stderr = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&stderr);
    let bytes = attached.output.filter_map(move |output| {
        let bytes = match output {
            Ok(LogOutput::StdErr { message }) => {
                keep(&kept, &message);
                None
            }
            Ok(output) => Some(Ok(output.into_bytes())),
            Err(e) => Some(Err(io::Error::other(e))),
        };
        std::future::ready(bytes)
    });
    let reading: Reading = Box::pin(StreamReader::new(bytes));
    let writing: Writing = attached.input;
    Inside {
        connection: Box::new(tokio::io::join(reading, writing)),
        end: End { stderr, code }.describe().boxed(),
    }
}

fn keep(stderr: &Mutex<VecDeque<String>>, message: &[u8]) {
    if let Ok(mut stderr) = stderr.lock() {
        stderr.extend(String::from_utf8_lossy(message).lines().map(str::to_owned));
        let surplus = stderr.len().saturating_sub(LINES);
        stderr.drain(..surplus);
    }
}

fn body(
    image: &str,
    pipeline: &Pipeline,
    networks: &[String],
    command: &[&str],
) -> ContainerCreateBody {
    let first = networks.first();
    // Without a network of the pipeline: `bridge` if an address outside Docker must be reachable, else none.
    let elsewhere = |at: &DeclaredAddress<'_>| matches!(at.scope, AddressScope::Anywhere);
    let outside = match pipeline.addresses().iter().any(elsewhere) {
        true => "bridge",
        false => "none",
    };
    let endpoint =
        |network: &String| HashMap::from([(network.clone(), EndpointSettings::default())]);
    let label = (labels::INSIDE.to_owned(), pipeline.project.clone());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        labels: Some(HashMap::from([label])),
        open_stdin: Some(true),
        // Closing the attached stdin ends the container.
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            network_mode: Some(first.map_or(outside, String::as_str).to_owned()),
            memory: Some(MEMORY),
            pids_limit: Some(THREADS),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([(
                "/run".to_owned(),
                "mode=1777,size=64k,noexec,nosuid,nodev".to_owned(),
            )])),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            // Its stdout carries protocol data, which must not be stored in a log.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            ..HostConfig::default()
        }),
        networking_config: first.map(|network| NetworkingConfig {
            endpoints_config: Some(endpoint(network)),
        }),
        ..ContainerCreateBody::default()
    }
}
