//! Secrets and configs: files of the host, mounted read-only.

use bollard::models::{Mount, MountType};
use sha2::{Digest, Sha256};

use super::hex;
use crate::labels;
use declaration::Service;

/// As mounts, not as binds: for a bind whose file is missing, Docker creates a directory.
pub(super) fn mounts(service: &Service) -> impl Iterator<Item = Mount> {
    service.secrets_and_configs.iter().map(|grant| Mount {
        typ: Some(MountType::BIND),
        source: Some(grant.path.display().to_string()),
        target: Some(grant.target.clone()),
        read_only: Some(true),
        ..Mount::default()
    })
}

/// The label with the digest of their content, which detects a change.
pub(super) fn label(service: &Service) -> Option<(String, String)> {
    if service.secrets_and_configs.is_empty() {
        return None;
    }
    let mut hasher = Sha256::new();
    for grant in &service.secrets_and_configs {
        hasher.update(&grant.target);
        hasher.update([0]);
        hasher.update(grant.digest);
    }
    Some((labels::SECRETS_DIGEST.to_owned(), hex(&hasher.finalize())))
}
