//! The context of a declared build: a directory without the files that `.dockerignore` excludes, and its digest,
//! which shows whether it changed.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use futures_util::{Stream, stream};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{certificates, ignore::Ignore};
use crate::spec::hex;
use declaration::{Build, Dockerfile};

/// Name in the context of a Dockerfile from outside it.
const OWN_DOCKERFILE: &str = ".caravan.Dockerfile";
/// Prefix of Caravan's state beside a Compose file, which changes with every run and is not sent.
const STATE: &str = ".caravan-";
/// Bytes of a chunk, and how many chunks are buffered.
const CHUNK: usize = 1 << 18;
const CHUNKS: usize = 4;

/// The context that is sent to a build.
pub(super) struct Context {
    root: PathBuf,
    /// Relative to the root, sorted, parents first.
    paths: Vec<PathBuf>,
    /// The Dockerfile's path in the context.
    pub(super) dockerfile: String,
    /// The text of a Dockerfile from outside the context.
    added: Option<String>,
    /// The text that replaces the context's own Dockerfile.
    replaced: Option<String>,
    /// Whether `.dockerignore` excludes the Dockerfile: it is sent for the builder, but `COPY` must not see it.
    pub(super) hides_dockerfile: bool,
    /// The name under which the host's certificate authorities are sent; None if the context has such a file.
    ca_bundle: Option<String>,
    /// SHA-256 of the files and the build options, without modification times.
    pub(super) digest: String,
}

/// Whether modification times are kept, as in the sent tar, or zero, as in the digest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Kept,
    Zero,
}

impl Context {
    /// Reads all files and computes the digest.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(build: &Build) -> io::Result<Self> {
        let (dockerfile, added) = match &build.dockerfile {
            Dockerfile::Inline(text) => (None, Some(text.clone())),
            Dockerfile::File(path) => match path.strip_prefix(&build.context) {
                Ok(inside) => (inside.to_str(), None),
                Err(_) => (None, Some(fs::read_to_string(path)?)),
            },
        };
        let dockerfile = dockerfile.unwrap_or(OWN_DOCKERFILE).to_owned();
        let ignore = match fs::read_to_string(build.context.join(".dockerignore")) {
            Ok(text) => Ignore::parse(&text).map_err(io::Error::other)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Ignore::default(),
            Err(error) => return Err(error),
        };
        let mut context = Self {
            root: build.context.clone(),
            paths: Vec::new(),
            hides_dockerfile: added.is_some() || ignore.leaves_out(&dockerfile),
            dockerfile,
            added,
            replaced: None,
            ca_bundle: None,
            digest: String::new(),
        };
        context.walk(Path::new(""), &ignore)?;
        let own = |name: &&String| !context.sends(name);
        context.ca_bundle = build.ca_bundle.as_ref().filter(own).cloned();
        let mut hasher = Sha256::new();
        context.write(&mut hasher, Times::Zero)?;
        hasher.update(result_options(build));
        context.digest = hex(&hasher.finalize());
        Ok(context)
    }

    /// Whether a file of that path is sent.
    pub(super) fn sends(&self, name: &str) -> bool {
        self.paths.iter().any(|path| path == Path::new(name))
    }

    /// The Dockerfile's text.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn dockerfile_text(&self) -> io::Result<String> {
        match &self.added {
            Some(text) => Ok(text.clone()),
            None => fs::read_to_string(self.root.join(&self.dockerfile)),
        }
    }

    /// Replaces the Dockerfile that is sent. The digest remains that of the declared one.
    pub(super) fn replace_dockerfile(&mut self, text: String) {
        match &mut self.added {
            Some(added) => *added = text,
            None => self.replaced = Some(text),
        }
    }

    fn walk(&mut self, directory: &Path, ignore: &Ignore) -> io::Result<()> {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(self.root.join(directory))? {
            let entry = entry?;
            entries.insert(entry.file_name(), entry.file_type()?);
        }
        for (name, kind) in entries {
            if name.to_string_lossy().starts_with(STATE) {
                continue;
            }
            let path = directory.join(name);
            let text = path.to_string_lossy();
            // The builder needs the Dockerfile, even if a pattern excludes it.
            let kept = text == self.dockerfile || !ignore.leaves_out(&text);
            if kept && (kind.is_file() || kind.is_dir() || kind.is_symlink()) {
                self.paths.push(path.clone());
            }
            if kind.is_dir() && (kept || ignore.has_exceptions() || self.holds_dockerfile(&path)) {
                self.walk(&path, ignore)?;
            }
        }
        Ok(())
    }

    fn holds_dockerfile(&self, directory: &Path) -> bool {
        Path::new(&self.dockerfile).starts_with(directory)
    }

    /// The context as a tar.
    fn write(&self, out: impl Write, times: Times) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        for path in &self.paths {
            let full = self.root.join(path);
            let metadata = fs::symlink_metadata(&full)?;
            let mut header = header(&metadata, times);
            if let Some(text) = &self.replaced
                && path == Path::new(&self.dockerfile)
            {
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, path, text.as_bytes())?;
            } else if metadata.is_dir() {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, path, io::empty())?;
            } else if metadata.is_symlink() {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path, fs::read_link(&full)?)?;
            } else {
                header.set_size(metadata.len());
                tar.append_data(&mut header, path, File::open(&full)?)?;
            }
        }
        if let Some(text) = &self.added {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, OWN_DOCKERFILE, text.as_bytes())?;
        }
        // The build needs the certificates for downloads. They differ between hosts and do not change the
        // result, so they are not part of the digest.
        if times == Times::Kept
            && let Some((name, bundle)) = self.ca_bundle.as_ref().zip(certificates::bundle())
        {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bundle.len() as u64);
            tar.append_data(&mut header, name, bundle.as_bytes())?;
        }
        tar.into_inner().map(drop)
    }

    /// The tar in chunks, because a context may exceed memory. A file that cannot be read, or whose size
    /// changes meanwhile, ends the stream with an error.
    pub(super) fn stream(self) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        tokio::task::spawn_blocking(move || {
            let mut out = BufWriter::with_capacity(CHUNK, Chunks(sender.clone()));
            let written = self.write(&mut out, Times::Kept).and_then(|()| out.flush());
            if let Err(error) = written {
                // If the build has failed, the receiver is gone.
                drop(sender.blocking_send(Err(error)));
            }
        });
        stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((chunk, receiver))
        })
    }
}

/// The build options that affect the result, for the digest.
fn result_options(build: &Build) -> String {
    format!(
        "{:?}",
        (
            &build.args,
            &build.target,
            &build.labels,
            &build.network,
            &build.platform
        )
    )
}

/// A file's header with owner root: the owner on this host must not change the digest.
fn header(metadata: &Metadata, times: Times) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(metadata.permissions().mode() & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
    header.set_mtime(if times == Times::Kept { modified } else { 0 });
    header.set_size(0);
    header
}

/// Sends each written chunk to a channel.
struct Chunks(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(bytes.to_vec()));
        sent.map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn build(root: &Path) -> Build {
        Build {
            context: root.to_owned(),
            dockerfile: Dockerfile::File(root.join("Dockerfile")),
            args: BTreeMap::new(),
            target: None,
            labels: BTreeMap::new(),
            network: None,
            cache_from: Vec::new(),
            no_cache: false,
            pull: false,
            platform: None,
            ca_bundle: None,
            secrets: BTreeMap::new(),
        }
    }

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        for (name, text) in [
            ("Dockerfile", "FROM scratch\n"),
            (".dockerignore", "*.log\nDockerfile\nnode_modules\n"),
            ("app/main.js", "1"),
            ("app/x.log", "kept: the pattern is for the top"),
            ("x.log", "2"),
            ("node_modules/a.js", "3"),
            (".caravan-shop.lock", "4"),
        ] {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        std::os::unix::fs::symlink("app/main.js", place.path().join("link")).expect("a link");
        place
    }

    async fn sent(build: &Build) -> Vec<String> {
        let context = Context::read(build).expect("readable");
        let chunks: Vec<Vec<u8>> = context.stream().try_collect().await.expect("a tar");
        let bytes = chunks.concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().expect("a tar").map(|entry| {
            let entry = entry.expect("an entry");
            entry.path().expect("a path").display().to_string()
        });
        entries.collect()
    }

    #[tokio::test]
    async fn ignored_files_and_caravans_own_are_not_sent() {
        let place = place();
        assert_eq!(
            sent(&build(place.path())).await,
            [
                ".dockerignore",
                "Dockerfile",
                "app",
                "app/main.js",
                "app/x.log",
                "link"
            ]
        );
    }

    #[tokio::test]
    async fn a_dockerfile_outside_the_context_is_added() {
        let place = place();
        let mut elsewhere = build(&place.path().join("app"));
        elsewhere.dockerfile = Dockerfile::File(place.path().join("Dockerfile"));
        assert_eq!(
            sent(&elsewhere).await,
            ["main.js", "x.log", ".caravan.Dockerfile"]
        );
        elsewhere.dockerfile = Dockerfile::Inline("FROM scratch\n".to_owned());
        assert_eq!(sent(&elsewhere).await.len(), 3);
        let context = Context::read(&elsewhere).expect("readable");
        assert!(context.sends("main.js") && !context.sends("main"));
    }

    #[tokio::test]
    async fn a_replaced_dockerfile_is_sent_instead() {
        let place = place();
        let mut context = Context::read(&build(place.path())).expect("readable");
        assert!(context.hides_dockerfile, "it is ignored");
        let (before, digest) = (context.dockerfile_text(), context.digest.clone());
        assert_eq!(before.expect("readable"), "FROM scratch\n");
        context.replace_dockerfile("FROM other:1\n".to_owned());
        assert_eq!(context.digest, digest);
        let chunks: Vec<Vec<u8>> = context.stream().try_collect().await.expect("a tar");
        let bytes = chunks.concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().expect("a tar");
        let mut sent = entries.find_map(|entry| {
            let entry = entry.expect("an entry");
            let found = entry.path().expect("a path") == Path::new("Dockerfile");
            found.then_some(entry)
        });
        let sent = io::read_to_string(sent.as_mut().expect("sent"));
        assert_eq!(sent.expect("text"), "FROM other:1\n");
    }

    #[tokio::test]
    async fn the_hosts_authorities_are_sent_under_the_requested_name() {
        let place = place();
        let plain = build(place.path());
        let mut asking = plain.clone();
        asking.ca_bundle = Some("certificates/host.log".to_owned());
        let sent_to = sent(&asking).await;
        assert_eq!(
            sent_to.last().map(String::as_str),
            certificates::bundle().map(|_| "certificates/host.log"),
            "whatever is ignored"
        );
        let digest = |build: &Build| Context::read(build).expect("readable").digest;
        assert_eq!(digest(&asking), digest(&plain));
        // A file of the user's own goes first.
        asking.ca_bundle = Some("app/main.js".to_owned());
        assert_eq!(sent(&asking).await, sent(&plain).await);
    }

    #[test]
    fn the_digest_is_over_content_and_options() {
        let place = place();
        let plain = build(place.path());
        let digest = |build: &Build| Context::read(build).expect("readable").digest;
        let before = digest(&plain);
        fs::write(place.path().join("x.log"), "ignored").expect("a file");
        let again = File::options()
            .append(true)
            .open(place.path().join("app/main.js"));
        again
            .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
            .expect("another time");
        assert_eq!(before, digest(&plain));
        let mut other = plain.clone();
        other.args.insert("A".to_owned(), "1".to_owned());
        assert_ne!(before, digest(&other));
        fs::write(place.path().join("app/main.js"), "2").expect("a file");
        assert_ne!(before, digest(&plain));
    }
}
