//! What `up` has to know of a service, asked from where it can be: from the host, or from inside
//! the pipeline's network, by a short-lived container (docs/decisions/0028).

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::{connect::Engine, network_container::NetworkContainer};
use declaration::{Needs, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::{Answer, Question};

impl Engine {
    /// Asks a question whose answer is at `address`.
    ///
    /// # Errors
    /// It has to be asked from inside, and no container can be had for that.
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
        let leaving = Leaving(Some((self.clone(), name.clone())));
        let asked = async {
            let network_container =
                self.start_in_network(pipeline, &name, &networks, &["run", "ask"]);
            answered(network_container.await?, question).await
        };
        let answer = asked.await;
        leaving.now().await;
        answer
    }
}

async fn answered(network_container: NetworkContainer, question: &Question) -> Result<Answer> {
    let NetworkContainer { mut socket, end } = network_container;
    let exchange = async {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        socket.write_all(&line).await?;
        socket.flush().await?;
        let mut answer = String::new();
        BufReader::new(&mut socket).read_line(&mut answer).await?;
        Ok::<_, std::io::Error>(serde_json::from_str(&answer)?)
    };
    match exchange.await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            let what = "a container inside the pipeline's network ended without an answer";
            let error = Error::new(Kind::Unreachable, what);
            Err(end.told().await.into_iter().fold(error, Error::because))
        }
    }
}

/// Removes the container, also when nobody waits for the answer any more.
struct Leaving(Option<(Engine, String)>);

impl Leaving {
    async fn now(mut self) {
        if let Some((engine, name)) = self.0.take() {
            // It goes by itself, too.
            drop(engine.remove_network_container(&name).await);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let (Some((engine, name)), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { drop(engine.remove_network_container(&name).await) });
        }
    }
}
