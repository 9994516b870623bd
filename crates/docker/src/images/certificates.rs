//! The host's certificate authorities: behind a company's own authority, downloads inside a build fail without
//! them.

use std::fs;

/// The bundle's path on Debian and Alpine, on Fedora, on SUSE.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// The bundle in PEM; None: the host has no such file.
pub(super) fn bundle() -> Option<String> {
    BUNDLES
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
}

/// The single certificates of a bundle: `update-ca-certificates` reads one per file.
pub(super) fn split(bundle: &str) -> impl Iterator<Item = String> + '_ {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    bundle.split(BEGIN).skip(1).filter_map(|rest| {
        let (body, _) = rest.split_once(END)?;
        Some(format!("{BEGIN}{body}{END}\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_split_into_its_certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n";
        let two = "-----BEGIN CERTIFICATE-----\nBBB\n-----END CERTIFICATE-----\n";
        let bundle = format!("# one\n{one}# two\n{two}-----BEGIN CERTIFICATE-----\ncut off");
        assert_eq!(split(&bundle).collect::<Vec<_>>(), [one, two]);
    }
}
