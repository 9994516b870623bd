//! One-shots: run to completion, and run again if their effect is missing.

use std::convert::Infallible;

use crate::{apply::Apply, wait::NotReady};
use declaration::{Effect, Service};
use diagnostics::Result;
use platform::Question;
use platform::{Outcome, State};

impl Apply<'_> {
    /// Waits for a one-shot's container to exit with code 0. A kept container is run again if its effect is
    /// missing.
    ///
    /// # Errors
    /// It exited with another code.
    pub(super) async fn complete(
        &self,
        service: &Service,
        id: &str,
        name: &str,
        outcome: Outcome,
    ) -> Result<Outcome> {
        if outcome == Outcome::Kept {
            let container = self.engine.inspect(id).await?;
            if container.is_some_and(|c| c.state == State::Exited) {
                let Some(reason) = self.missing_effect(service).await else {
                    return Ok(Outcome::Kept);
                };
                self.report(service, &format!("running again: {reason}"));
                self.start(service, id, name).await?;
            }
        }
        self.report(service, "waiting for it to complete");
        let ended = self.engine.watch(id, service, |_| None::<Infallible>);
        match ended.await {
            Ok(never) => match never {},
            Err(NotReady::Ended(container)) if container.exit_code == Some(0) => {
                Ok(Outcome::Completed)
            }
            Err(why) => Err(self.explain(service, why, true).await),
        }
    }

    /// The part of a one-shot's effect that is missing. If it cannot be checked it counts as missing, because
    /// another run is harmless.
    pub(super) async fn missing_effect(&self, service: &Service) -> Option<String> {
        let effect = service.effect?;
        self.report(service, "checking its effect");
        let endpoint = match effect {
            Effect::Topics => self.pipeline.kafka.as_ref(),
            Effect::Migrations => self.pipeline.postgres.as_ref(),
        };
        let address = endpoint.map_or("", |endpoint| endpoint.address.as_str());
        let pipeline = Box::new(self.pipeline.clone());
        let question = Question::Effect { pipeline, effect };
        self.engine
            .ask(self.pipeline, address, &question)
            .await
            .unwrap_or_else(|e| Err(e.to_string()))
            .unwrap_or_else(|why| Some(format!("its effect cannot be checked ({why})")))
    }
}
