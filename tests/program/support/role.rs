//! Processes of the pipeline that run beside its containers.

use std::process::{Child, Stdio};

use super::{pipeline::Pipeline, *};

/// A role of the same executable, on the host.
pub(crate) struct Role(Child);

impl Role {
    pub(crate) fn start(pipeline: &Pipeline, role: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caravan"));
        command.env_clear().args(["run", role]);
        command.env("KAFKA_BROKERS", pipeline.brokers());
        command.env("DATABASE_URL", pipeline.database_url());
        command.env("HTTP_PORT", free_port().to_string());
        command.envs(variables.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        let ended = eventually("the role ends on SIGTERM", || self.0.try_wait().unwrap());
        assert!(ended.success() || std::thread::panicking(), "{ended}");
    }
}
