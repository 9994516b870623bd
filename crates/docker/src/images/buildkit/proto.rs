//! The messages that BuildKit and its client exchange, with the fields that are used here; other fields are
//! ignored. Their definitions are BuildKit's (`api/services/control`,
//! `session/secrets`, `session/auth`) and gRPC's own.

/// `moby.buildkit.v1.StatusResponse`: what has changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
}

/// A step: a vertex of the graph that BuildKit solves.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    /// `[stage-0 2/3] RUN make`
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Time>,
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// A timestamp; only its presence is used.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Time {}

/// Output of a step, cut anywhere.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) msg: Vec<u8>,
}

/// `moby.buildkit.secrets.v1.GetSecretRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetSecretRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// `moby.buildkit.secrets.v1.GetSecretResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetSecretResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) data: Vec<u8>,
}

/// `moby.filesync.v1.CredentialsResponse`, with neither name nor secret: registries are accessed anonymously.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CredentialsResponse {}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl HealthCheckResponse {
    pub(super) const SERVING: i32 = 1;
}
