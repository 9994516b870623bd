//! Writes images into one file and loads them, by the engine's export and import, for hosts without a network.
//! Both stream, and the file has its name only once it is complete.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use bollard::{
    body_try_stream, errors::Error as DockerError, models::BuildInfo,
    query_parameters::ImportImageOptionsBuilder,
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

use crate::{
    Engine,
    connect::{failed, timed_out},
};
use declaration::units::size;
use diagnostics::{Error, Kind, Result};
use platform::{Event, Events, Outcome};

/// The engine collects all images before it sends the first byte, and unpacks them after it has
/// the last one.
const STALL: Duration = Duration::from_secs(600);
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// The time between two progress events.
const STEP: u64 = 16 << 20;

impl Engine {
    /// Writes images into `file`; events and errors call it `name`. Returns its size in bytes.
    ///
    /// # Errors
    /// Docker cannot export them; the file cannot be written.
    pub async fn export_images(
        &self,
        references: &[String],
        file: fs::File,
        name: &str,
        events: &Events,
    ) -> Result<u64> {
        refuse_digests(references)?;
        let mut progress = Progress::new(name, events);
        progress.about("collecting the images");
        let references: Vec<_> = references.iter().map(String::as_str).collect();
        let mut archive = std::pin::pin!(self.docker.export_images(&references));
        let mut file = File::from_std(file);
        let what = "export images";
        loop {
            let chunk = match tokio::time::timeout(STALL, archive.next()).await {
                Ok(None) => break,
                Ok(Some(chunk)) => chunk.map_err(|e| failed(what, &e))?,
                Err(_) => return Err(timed_out(what, STALL)),
            };
            let written = file.write_all(&chunk).await;
            written.map_err(|e| cannot_write(name, progress.bytes, &e))?;
            progress.add(chunk.len());
        }
        let flushed = file.flush().await;
        flushed.map_err(|e| cannot_write(name, progress.bytes, &e))?;
        progress.done(Outcome::Saved);
        Ok(progress.bytes)
    }

    /// Loads the images of a file; events and errors call it `name`. Returns the images' names.
    ///
    /// # Errors
    /// The file has another format or is incomplete, or Docker cannot import it.
    pub async fn import_images(
        &self,
        file: fs::File,
        name: &str,
        events: &Events,
    ) -> Result<Vec<String>> {
        let done = Progress::new(name, events);
        let progress = Progress::new(name, events);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let body = body_try_stream(chunks(File::from_std(file), progress).map_ok(Into::into));
        let mut answers = std::pin::pin!(self.docker.import_image(options, body, None));
        let mut loaded = Vec::new();
        let what = format!("load {name}");
        loop {
            let answer = match tokio::time::timeout(STALL, answers.next()).await {
                Ok(None) => break,
                Ok(Some(answer)) => answer.map_err(|e| not_loaded(name, &e))?,
                Err(_) => return Err(timed_out(&what, STALL)),
            };
            loaded.extend(loaded_names(&answer));
        }
        done.done(Outcome::Loaded);
        Ok(loaded)
    }
}

/// The name in `Loaded image: postgres:15`; for an image without a name, its id.
fn loaded_names(answer: &BuildInfo) -> Vec<String> {
    let lines = answer.stream.as_deref().unwrap_or_default().lines();
    let names = lines.filter_map(|line| {
        let name = line.strip_prefix("Loaded image: ");
        name.or_else(|| line.strip_prefix("Loaded image ID: "))
    });
    names.map(|name| name.trim().to_owned()).collect()
}

fn not_loaded(name: &str, e: &DockerError) -> Error {
    let error = failed(&format!("load {name}"), e);
    match e {
        // The engine read the file and rejected its content.
        DockerError::DockerStreamError { .. } => Error {
            kind: Kind::Usage,
            ..error
        }
        .because("it is not a file of images, or it is truncated")
        .hint("caravan images save FILE, on a host that has them"),
        _ => error,
    }
}

/// Refuses references by digest: such an image would have no name after loading.
fn refuse_digests(references: &[String]) -> Result<()> {
    match references.iter().find(|r| r.contains('@')) {
        None => Ok(()),
        Some(reference) => Err(Error::new(
            Kind::Usage,
            format!("{reference} cannot be saved for another host"),
        )
        .because("Docker drops digests when it exports an image")
        .hint("declare it by a tag")),
    }
}

fn cannot_write(name: &str, written: u64, e: &io::Error) -> Error {
    let error = Error::new(Kind::Unreachable, format!("cannot write {name}"))
        .because(e.to_string())
        .because(format!("{} were written", size(written)));
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            error.hint("write it to a disk with more room: caravan images save OTHER/FILE")
        }
        _ => error,
    }
}

/// Reports the progress of a transfer as events.
struct Progress {
    part: String,
    events: Events,
    bytes: u64,
    began: Instant,
}

impl Progress {
    fn new(name: &str, events: &Events) -> Self {
        Self {
            part: name.to_owned(),
            events: events.clone(),
            bytes: 0,
            began: Instant::now(),
        }
    }

    fn add(&mut self, bytes: usize) {
        let before = self.bytes / STEP;
        self.bytes += bytes as u64;
        if self.bytes / STEP > before {
            self.about(&size(self.bytes));
        }
    }

    fn done(&self, outcome: Outcome) {
        let (part, took) = (self.part.clone(), self.began.elapsed());
        drop(self.events.send(Event::Done {
            part,
            outcome,
            took,
        }));
    }

    fn about(&self, what: &str) {
        let (part, what) = (self.part.clone(), what.to_owned());
        // A closed event channel does not stop the work.
        drop(self.events.send(Event::Doing { part, what }));
    }
}

fn chunks(
    file: File,
    progress: Progress,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold((file, progress), |(mut file, mut progress)| async move {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            progress.about("unpacking");
            return Ok(None);
        }
        chunk.truncate(read);
        progress.add(read);
        Ok(Some((chunk, (file, progress))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_where_to_go() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = cannot_write("/a/images.tar", 812_000_000, &full);
        assert!(error.evidence.contains(&"774 MiB were written".to_owned()));
        assert!(error.hint.is_some_and(|hint| hint.contains("more room")));
    }

    #[test]
    fn loaded_names_are_read_from_the_response() {
        let answer = |text: &str| BuildInfo {
            stream: Some(text.to_owned()),
            ..BuildInfo::default()
        };
        assert_eq!(loaded_names(&answer("Loaded image: db:1\n")), ["db:1"]);
        assert_eq!(
            loaded_names(&answer("Loaded image ID: sha256:1\n")),
            ["sha256:1"]
        );
        assert!(loaded_names(&answer("anything else")).is_empty());
    }

    #[test]
    fn references_by_digest_are_refused() {
        assert!(refuse_digests(&["db:1".to_owned()]).is_ok());
        assert!(refuse_digests(&["db@sha256:1".to_owned()]).is_err());
    }
}
