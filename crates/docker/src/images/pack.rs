//! Caravan's own image: the running executable and the host's certificate authorities, in an
//! image from nothing. The tag is the content's hash, so the same executable is packed once.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
};

use bollard::{
    body_full,
    query_parameters::{ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions},
};
use futures_util::TryStreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::{Image, elf};
use crate::{Engine, spec::hex};
use diagnostics::{Error, Kind, Result};

/// The running executable, even if its file was replaced meanwhile.
pub(super) const RUNNING: &str = "/proc/self/exe";
/// How many bytes of the executable contain its headers and notes.
const HEAD: u64 = 64 << 10;
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The image's files.
struct Content {
    executable: Vec<u8>,
    certificates: Vec<u8>,
}

/// The reference of the running executable's image. The tag is computed once per process.
pub(crate) async fn packed_reference(repository: &str) -> Result<String> {
    static TAG: OnceCell<String> = OnceCell::const_new();
    let tag = TAG.get_or_try_init(|| blocking(tag));
    Ok(format!("{repository}:{}", tag.await?))
}

async fn blocking<T: Send + 'static>(work: fn() -> Result<T>) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Kind::Defect, e.to_string()))?
}

/// 12 hexadecimal digits of the content's hash. Uses the linker's build id of the executable, if it has one:
/// `verify` needs the tag too, and hashing the whole file takes longer than its other checks.
fn tag() -> Result<String> {
    let mut file = open().map_err(unreadable)?;
    let mut head = Vec::new();
    let read = file.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(unreadable)?;
    let mut hasher = Sha256::new();
    if let Some(id) = elf::build_id(&head) {
        let length = file.metadata().map_err(unreadable)?.len();
        hasher.update(length.to_le_bytes());
        hasher.update(id);
    } else {
        hasher.update(&head);
        io::copy(&mut file, &mut hasher).map_err(unreadable)?;
    }
    if let Some(why) = elf::cannot_run_alone(&head) {
        return Err(Error::new(
            Kind::Usage,
            "this caravan cannot be packed into the image that its services run from",
        )
        .because(why)
        .hint("cargo build --release in Caravan's repository, on Linux: that links statically"));
    }
    hasher.update(certificates());
    let mut tag = hex(&hasher.finalize());
    tag.truncate(12);
    Ok(tag)
}

fn open() -> io::Result<File> {
    match File::open(RUNNING) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::env::current_exe().and_then(File::open)
        }
        opened => opened,
    }
}

fn unreadable(e: io::Error) -> Error {
    Error::new(Kind::Unreachable, "cannot read the running executable").because(e.to_string())
}

/// The host's certificate authorities; empty if the host has no bundle.
fn certificates() -> Vec<u8> {
    std::fs::read(format!("/{CERTIFICATES}")).unwrap_or_default()
}

impl Engine {
    /// The image of the running executable; loaded if the engine does not have it. The flag is true if it
    /// was loaded.
    ///
    /// # Errors
    /// The executable cannot run in an empty image; the engine refuses the load.
    pub async fn pack(&self, repository: &str) -> Result<(Image, bool)> {
        let reference = packed_reference(repository).await?;
        if let Some(image) = self.local_image(&reference).await? {
            return Ok((image, false));
        }
        let content = blocking(Content::read).await?;
        let latest = format!("{repository}:latest");
        let names = [reference.clone(), latest];
        let archive = tokio::task::spawn_blocking(move || content.archive(&names)).await;
        let archive = archive
            .map_err(|e| Error::new(Kind::Defect, e.to_string()))?
            .map_err(|e| {
                Error::new(Kind::Defect, "cannot pack the image").because(e.to_string())
            })?;
        self.load(archive).await?;
        let loaded = self.local_image(&reference).await?;
        let image = loaded.ok_or_else(|| {
            Error::new(
                Kind::NotRight,
                format!("Docker loaded {reference}, but does not have it"),
            )
        })?;
        self.forget_others(repository, &reference).await;
        Ok((image, true))
    }

    /// Removes the images of earlier executables that no container uses (Docker keeps the others):
    /// each build of Caravan would leave one behind.
    async fn forget_others(&self, repository: &str, keep: &str) {
        let filters = HashMap::from([("reference", vec![repository])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_images(Some(options));
        let Ok(images) = self.call("list images", list).await else {
            return;
        };
        let latest = format!("{repository}:latest");
        for tag in images.into_iter().flat_map(|image| image.repo_tags) {
            if tag != keep && tag != latest {
                let remove = self
                    .docker
                    .remove_image(&tag, None::<RemoveImageOptions>, None);
                // Errors are ignored: the image is in use, or was removed meanwhile.
                drop(self.call("remove an image", remove).await);
            }
        }
    }

    /// `docker load`.
    async fn load(&self, archive: Vec<u8>) -> Result<()> {
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let load = self
            .docker
            .import_image(options, body_full(archive.into()), None);
        let load = load.try_for_each(|_| async { Ok(()) });
        let limit = std::time::Duration::from_secs(120);
        match tokio::time::timeout(limit, load).await {
            Ok(loaded) => loaded.map_err(|e| self.refused("load Caravan's own image", &e)),
            Err(_) => Err(crate::connect::timed_out("load Caravan's own image", limit)),
        }
    }
}

impl Content {
    fn read() -> Result<Self> {
        let mut executable = Vec::new();
        let read = open().and_then(|mut file| file.read_to_end(&mut executable));
        read.map_err(unreadable)?;
        let certificates = certificates();
        Ok(Self {
            executable,
            certificates,
        })
    }

    /// The image as `docker save` would write it; the same content gives the same bytes, and so
    /// the same image id.
    fn archive(self, names: &[String]) -> io::Result<Vec<u8>> {
        let layer = self.layer()?;
        drop(self);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": ["/caravan"], "User": "65534:65534"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&layer)))],
            },
        });
        let config = config.to_string();
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let manifest = json!([{"Config": config_name, "RepoTags": names, "Layers": ["layer.tar"]}]);
        let mut archive = tar::Builder::new(Vec::with_capacity(layer.len() + 8192));
        append(&mut archive, &config_name, 0o644, config.as_bytes())?;
        append(
            &mut archive,
            "manifest.json",
            0o644,
            manifest.to_string().as_bytes(),
        )?;
        append(&mut archive, "layer.tar", 0o644, &layer)?;
        archive.into_inner()
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::with_capacity(self.executable.len() + 1_048_576));
        append(&mut layer, "caravan", 0o755, &self.executable)?;
        if !self.certificates.is_empty() {
            for directory in ["etc/", "etc/ssl/", "etc/ssl/certs/"] {
                let mut header = header(0o755, 0);
                header.set_entry_type(tar::EntryType::Directory);
                layer.append_data(&mut header, directory, io::empty())?;
            }
            append(&mut layer, CERTIFICATES, 0o644, &self.certificates)?;
        }
        layer.into_inner()
    }
}

/// Docker's name for this machine's architecture.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Adds a file without modification time and owner.
pub(super) fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    tar.append_data(&mut header(mode, content.len() as u64), path, content)
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_image() {
        let content = || Content {
            executable: b"program".to_vec(),
            certificates: b"authorities".to_vec(),
        };
        let names = ["x:abc".to_owned()];
        let first = content().archive(&names).expect("packs");
        assert_eq!(first, content().archive(&names).expect("packs"));
        let mut archive = tar::Archive::new(first.as_slice());
        let entries = archive.entries().expect("a tar");
        let paths: Vec<_> = entries
            .map(|e| {
                e.expect("an entry")
                    .path()
                    .expect("a path")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(paths[1..], ["manifest.json", "layer.tar"]);
    }
}
