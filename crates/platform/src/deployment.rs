//! A project as it is deployed, whatever is declared here.

use declaration::{DeployedPorts, RecordedOrigin};

/// Where a deployed project is reached, and what it was created from.
#[derive(Debug, Clone, Default)]
pub struct Deployment {
    /// Whether it has containers.
    pub exists: bool,
    /// The ports that its containers publish, and those that others occupy.
    pub ports: DeployedPorts,
    /// The declaration's files and the state directory. None: not recorded, or nothing is deployed.
    pub recorded: Option<RecordedOrigin>,
}
