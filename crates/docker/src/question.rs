//! Queries that `up` sends to services: from the host if the address is reachable there, else from a
//! temporary container in the pipeline's network (docs/decisions/0028).

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::connect::Engine;
use declaration::{Needs, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::{Answer, Inside, Question};

impl Engine {
    /// Answers a question by querying the service at `address`.
    ///
    /// # Errors
    /// The address is inside the Docker network, and the temporary container cannot run.
    pub(super) async fn ask(
        &self,
        pipeline: &Pipeline,
        address: &str,
        question: &Question,
    ) -> Result<Answer> {
        match pipeline.is_inside(address) {
            true => self.ask_inside(pipeline, question).await,
            false => Ok(self.answers.answer(question).await),
        }
    }

    async fn ask_inside(&self, pipeline: &Pipeline, question: &Question) -> Result<Answer> {
        let networks = pipeline.networks_inside(Needs::Everything);
        let networks = self.existing_networks(&networks).await?;
        let name = Self::network_container_name(pipeline);
        let cleanup = Cleanup(Some((self.clone(), name.clone())));
        let attempt = async {
            let started = self.start_in_network(pipeline, &name, &networks, &["run", "ask"]);
            exchange(started.await?, question).await
        };
        let answer = attempt.await;
        cleanup.now().await;
        answer
    }
}

async fn exchange(inside: Inside, question: &Question) -> Result<Answer> {
    let Inside {
        mut connection,
        end,
    } = inside;
    let attempt = async {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        connection.write_all(&line).await?;
        connection.flush().await?;
        let mut answer = String::new();
        BufReader::new(&mut connection)
            .read_line(&mut answer)
            .await?;
        Ok::<_, std::io::Error>(serde_json::from_str(&answer)?)
    };
    match attempt.await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            let what = "a container inside the pipeline's network ended without an answer";
            let error = Error::new(Kind::Unreachable, what);
            Err(end.await.into_iter().fold(error, Error::because))
        }
    }
}

/// Removes the container, also if the future that waits for the answer is dropped.
struct Cleanup(Option<(Engine, String)>);

impl Cleanup {
    async fn now(mut self) {
        if let Some((engine, name)) = self.0.take() {
            // Errors are ignored: the engine removes it anyway (`AutoRemove`).
            drop(engine.remove_network_container(&name).await);
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let (Some((engine, name)), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { drop(engine.remove_network_container(&name).await) });
        }
    }
}
