//! The Debian base image of everything built from packages, built here if it cannot be pulled.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bollard::{body_try_stream, query_parameters::CreateImageOptionsBuilder};
use futures_util::{Stream, TryStreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::{Engine, connect::timed_out};
use diagnostics::{Error, Kind, Result};

/// The image in the templates' `FROM`.
pub(super) const DEBIAN: &str = "caravan.local/debian:bookworm";
/// How many lines of its log are kept: the cause is some lines before the end.
const LAST_WORDS: usize = 12;
/// Timeout, for a slow download of Debian's packages.
const LIMIT: Duration = Duration::from_secs(900);

impl Engine {
    /// Builds [`DEBIAN`] with `mmdebstrap`.
    ///
    /// # Errors
    /// `mmdebstrap` is missing, or fails: with its last log lines.
    pub(super) async fn make_debian(&self) -> Result<()> {
        let mut child = Command::new("mmdebstrap")
            .args([
                "--variant=minbase",
                "--include=ca-certificates",
                "bookworm",
                "-",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| cannot_run(&e))?;
        let (Some(root), Some(log)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(
                Kind::Defect,
                "mmdebstrap was started without its pipes",
            ));
        };
        let words = tokio::spawn(last_words(log));
        let (image, tag) = super::pull::split_tag(DEBIAN);
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(image)
            .tag(tag)
            .changes(vec!["CMD [\"bash\"]".to_owned()])
            .build();
        let failed = Arc::<OnceLock<ExitStatus>>::default();
        let archive = archive(child, root, Arc::clone(&failed));
        let body = body_try_stream(archive.map_ok(Into::into));
        let import = self.docker.create_image(Some(options), Some(body), None);
        let import = import.try_for_each(|_| async { Ok(()) });
        let what = "import the Debian base";
        let imported = match tokio::time::timeout(LIMIT, import).await {
            Ok(imported) => imported.map_err(|e| self.refused(what, &e)),
            Err(_) => Err(timed_out(what, LIMIT)),
        };
        let words = words.await.unwrap_or_default();
        imported.map_err(|e| {
            // `mmdebstrap` failed, so Docker's error about the incomplete body adds nothing.
            let e = failed.get().map_or(e, |status| not_made(*status));
            words.into_iter().fold(e, Error::because)
        })
    }
}

impl Engine {
    /// Whether the Debian base is local, or can be built.
    ///
    /// # Errors
    /// Docker does not answer.
    pub async fn can_build_from_packages(&self) -> Result<bool> {
        if self.local_image(DEBIAN).await?.is_some() {
            return Ok(true);
        }
        let version = Command::new("mmdebstrap").arg("--version").output().await;
        Ok(version.is_ok_and(|version| version.status.success()))
    }
}

/// The child's output. Ends with an error if the child failed, so that an incomplete root filesystem does not
/// become an image.
fn archive(
    child: Child,
    root: impl AsyncRead + Unpin + Send + 'static,
    failed: Arc<OnceLock<ExitStatus>>,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold((child, root), move |(mut child, mut root)| {
        let failed = Arc::clone(&failed);
        async move {
            let mut chunk = vec![0; 1 << 18];
            let read = root.read(&mut chunk).await?;
            if read > 0 {
                chunk.truncate(read);
                return Ok(Some((chunk, (child, root))));
            }
            let status = child.wait().await?;
            if status.success() {
                return Ok(None);
            }
            // It ends once.
            failed.get_or_init(|| status);
            Err(io::Error::other(format!("mmdebstrap ended with {status}")))
        }
    })
}

fn not_made(status: ExitStatus) -> Error {
    let what = format!("the Debian base cannot be built: mmdebstrap ended with {status}");
    Error::new(Kind::NotRight, what)
        .hint("sudo mmdebstrap --variant=minbase bookworm /dev/null, which shows the error")
}

/// The last lines of what the child logs.
async fn last_words(mut log: impl AsyncRead + Unpin) -> Vec<String> {
    let mut text = Vec::new();
    // After a read error the lines so far are still useful.
    drop(log.read_to_end(&mut text).await);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..]
        .iter()
        .map(|l| (*l).to_owned())
        .collect()
}

fn cannot_run(e: &io::Error) -> Error {
    let what = "no image, no registry, and the Debian base cannot be built: mmdebstrap cannot run";
    let error = Error::new(Kind::Unreachable, what).because(e.to_string());
    match e.kind() {
        io::ErrorKind::NotFound => error.hint("sudo apt-get install mmdebstrap"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that `script` writes.
    async fn streamed(script: &str) -> (io::Result<Vec<Vec<u8>>>, Option<ExitStatus>) {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("a shell");
        let root = child.stdout.take().expect("a pipe");
        let failed = Arc::<OnceLock<ExitStatus>>::default();
        let chunks = archive(child, root, Arc::clone(&failed)).try_collect();
        (chunks.await, failed.get().copied())
    }

    #[tokio::test]
    async fn an_incomplete_root_filesystem_is_an_error_of_mmdebstrap() {
        let (chunks, failed) = streamed("printf whole").await;
        assert_eq!(chunks.expect("all of it").concat(), b"whole");
        assert_eq!(failed, None);
        let (chunks, failed) = streamed("printf half; exit 25").await;
        assert!(chunks.is_err());
        let error = not_made(failed.expect("its status"));
        assert_eq!(
            error.what,
            "the Debian base cannot be built: mmdebstrap ended with exit status: 25"
        );
    }
}
