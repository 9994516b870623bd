//! The Debian base of everything built from packages, made where no registry has one.

use std::{io, process::Stdio, time::Duration};

use bollard::{body_try_stream, query_parameters::CreateImageOptionsBuilder};
use futures_util::{Stream, TryStreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::{
    engine::{Engine, connect::timed_out},
    error::{Error, Kind, Result},
};

/// What the templates' Dockerfiles are FROM.
pub(super) const DEBIAN: &str = "caravan.local/debian:bookworm";
/// Debian's packages may come over a slow line.
const LIMIT: Duration = Duration::from_secs(900);

impl Engine {
    /// Makes [`DEBIAN`] with `mmdebstrap`.
    ///
    /// # Errors
    /// No `mmdebstrap`, or it fails: with its last words.
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
        let body = body_try_stream(archive(child, root).map_ok(Into::into));
        let import = self.docker.create_image(Some(options), Some(body), None);
        let import = import.try_for_each(|_| async { Ok(()) });
        let what = "import the Debian base";
        let imported = match tokio::time::timeout(LIMIT, import).await {
            Ok(imported) => imported.map_err(|e| self.refused(what, &e)),
            Err(_) => Err(timed_out(what, LIMIT)),
        };
        let words = words.await.unwrap_or_default();
        imported.map_err(|e| words.into_iter().fold(e, Error::because))
    }
}

impl Engine {
    /// Whether the Debian base is here, or could be made.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn can_build_from_packages(&self) -> Result<bool> {
        if self.local_image(DEBIAN).await?.is_some() {
            return Ok(true);
        }
        let version = Command::new("mmdebstrap").arg("--version").output().await;
        Ok(version.is_ok_and(|version| version.status.success()))
    }
}

/// What the child writes, as an error in the end if it failed: half a root filesystem must not
/// become an image.
fn archive(
    child: Child,
    root: impl AsyncRead + Unpin + Send + 'static,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold((child, root), |(mut child, mut root)| async move {
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
        Err(io::Error::other(format!("mmdebstrap ended with {status}")))
    })
}

/// The last lines of what the child logs.
async fn last_words(mut log: impl AsyncRead + Unpin) -> Vec<String> {
    let mut text = Vec::new();
    // Whatever was read is better than nothing.
    drop(log.read_to_end(&mut text).await);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..]
        .iter()
        .map(|l| (*l).to_owned())
        .collect()
}

fn cannot_run(e: &io::Error) -> Error {
    let what = "no image, no registry, and the Debian base cannot be made: mmdebstrap cannot run";
    let error = Error::new(Kind::Unreachable, what).because(e.to_string());
    match e.kind() {
        io::ErrorKind::NotFound => error.hint("sudo apt-get install mmdebstrap"),
        _ => error,
    }
}
