//! The order in which containers are stopped: each as soon as the processes of all its dependants have ended. Read
//! from the containers' labels, so that it also works for services that the declaration no longer has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    future::pending,
    pin::pin,
};

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::{broadcast, watch};

use crate::{connect::Engine, labels};
use diagnostics::Result;
use platform::Container;

/// How many ends of containers may be unread. A lost one costs time only.
const UNREAD: usize = 256;

/// Some containers that are being stopped.
pub(super) struct Stopping<'a> {
    /// The services that have to stop before this one.
    dependants: BTreeMap<&'a str, Vec<&'a str>>,
    /// How many containers of a service have not stopped yet.
    left: BTreeMap<&'a str, watch::Sender<usize>>,
    /// The ids of containers whose process has ended, by Docker's events.
    ended: broadcast::Sender<String>,
}

impl<'a> Stopping<'a> {
    pub(super) fn new(containers: &[&'a Container]) -> Self {
        let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut left: BTreeMap<&str, watch::Sender<usize>> = BTreeMap::new();
        for container in containers {
            let service = container.service.as_str();
            needs
                .entry(service)
                .or_default()
                .extend(depends_on(container));
            left.entry(service).or_default().send_modify(|n| *n += 1);
        }
        Self {
            dependants: dependants(&needs),
            left,
            ended: broadcast::channel(UNREAD).0,
        }
    }

    /// Waits until all dependants of a service have stopped.
    pub(super) async fn turn(&self, service: &str) {
        let dependants = self.dependants.get(service).into_iter().flatten();
        for left in dependants.filter_map(|dependant| self.left.get(dependant)) {
            // Never closed: `self` owns the sender.
            drop(left.subscribe().wait_for(|n| *n == 0).await);
        }
    }

    /// Runs `stop`, the request that stops a container. Its dependencies need not wait for the whole of it: once the
    /// process has ended, Docker takes most of the time to release the container's network.
    ///
    /// # Errors
    /// That of `stop`.
    pub(super) async fn stop(
        &self,
        container: &Container,
        stop: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        // Subscribed just before the request, so that an earlier crash does not count.
        let ended = until_ended(self.ended.subscribe(), &container.id);
        let mut stop = pin!(stop);
        tokio::select! {
            biased;
            stopped = &mut stop => {
                stopped?;
                self.stopped(&container.service);
                Ok(())
            }
            () = ended => {
                self.stopped(&container.service);
                stop.await
            }
        }
    }

    /// Records that one more container of a service has stopped.
    pub(super) fn stopped(&self, service: &str) {
        if let Some(left) = self.left.get(service) {
            left.send_modify(|n| *n = n.saturating_sub(1));
        }
    }
}

/// Never completes if the container's end is not reported.
async fn until_ended(mut ended: broadcast::Receiver<String>, id: &str) {
    loop {
        match ended.recv().await {
            Ok(one) if one == id => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => pending().await,
        }
    }
}

impl Engine {
    /// Runs `work`, which stops containers in this order, and follows Docker's events meanwhile.
    pub(super) async fn stopping<T>(
        &self,
        order: &Stopping<'_>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            biased;
            never = self.report_ends(&order.ended) => match never {},
            done = work => done,
        }
    }

    /// Reports containers whose process ends. Without events, the answers to the stop requests remain.
    async fn report_ends(&self, ended: &broadcast::Sender<String>) -> Infallible {
        let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["die"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = pin!(self.docker.events(Some(options)));
        while let Some(Ok(event)) = events.next().await {
            if let Some(id) = event.actor.and_then(|actor| actor.id) {
                // An error: no container is being stopped at this moment.
                drop(ended.send(id));
            }
        }
        pending().await
    }
}

/// The dependants of each service. Labels of different declarations may contradict each other: services in a
/// dependency cycle do not wait for each other.
fn dependants<'a>(needs: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let reaches = |from: &'a str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(service) = next.pop() {
            if service == to {
                return true;
            }
            if seen.insert(service) {
                next.extend(needs.get(service).into_iter().flatten());
            }
        }
        false
    };
    let mut dependants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (&service, on) in needs {
        for &needed in on.iter().filter(|needed| !reaches(needed, service)) {
            dependants.entry(needed).or_default().push(service);
        }
    }
    dependants
}

/// `kafka:service_healthy:false,…`
fn depends_on(container: &Container) -> impl Iterator<Item = &str> {
    let label = container.labels.get(labels::DEPENDS_ON);
    let label = label.map_or("", String::as_str);
    label
        .split(',')
        .filter_map(|one| one.split(':').next())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;
    use diagnostics::{Error, Kind};
    use platform::testing::container;

    fn depending(service: &str, replica: u32, label: &str) -> Container {
        let mut container = container(service, replica);
        container
            .labels
            .insert(labels::DEPENDS_ON.to_owned(), label.to_owned());
        container
    }

    async fn may_stop(stopping: &Stopping<'_>, service: &str) -> bool {
        poll!(std::pin::pin!(stopping.turn(service))).is_ready()
    }

    #[tokio::test]
    async fn a_service_stops_after_its_dependants_only() {
        let needs = "topics:service_completed_successfully:false,redis:service_started:false";
        let containers = [
            depending("kafka", 1, ""),
            depending("redis", 1, ""),
            depending("topics", 1, "kafka:service_healthy:false"),
            depending("worker", 1, needs),
            depending("worker", 2, needs),
            depending("reader", 1, "kafka:service_healthy:false"),
        ];
        let containers: Vec<_> = containers.iter().collect();
        let stopping = Stopping::new(&containers);
        assert!(may_stop(&stopping, "worker").await && may_stop(&stopping, "reader").await);
        stopping.stopped("worker");
        assert!(!may_stop(&stopping, "redis").await, "one replica runs on");
        stopping.stopped("worker");
        assert!(may_stop(&stopping, "redis").await && may_stop(&stopping, "topics").await);
        stopping.stopped("topics");
        assert!(!may_stop(&stopping, "kafka").await, "the reader runs on");
        stopping.stopped("reader");
        assert!(may_stop(&stopping, "kafka").await);
    }

    #[tokio::test]
    async fn a_dependency_waits_for_the_process_not_for_the_answer_to_the_stop_request() {
        let mut worker = depending("worker", 1, "kafka:service_healthy:false");
        worker.id = "1".to_owned();
        let kafka = depending("kafka", 1, "");
        let stopping = Stopping::new(&[&worker, &kafka]);
        drop(stopping.ended.send("1".to_owned()));
        let (answer, answered) = oneshot::channel();
        let request = async { answered.await.expect("answered") };
        let mut stop = pin!(stopping.stop(&worker, request));
        assert!(poll!(&mut stop).is_pending());
        stopping.ended.send("2".to_owned()).expect("subscribed");
        assert!(poll!(&mut stop).is_pending());
        assert!(
            !may_stop(&stopping, "kafka").await,
            "neither a crash before the request nor another container's end counts"
        );
        stopping.ended.send("1".to_owned()).expect("subscribed");
        assert!(poll!(&mut stop).is_pending(), "Docker has not answered");
        assert!(may_stop(&stopping, "kafka").await);
        answer.send(Ok(())).expect("awaited");
        assert!(stop.await.is_ok());
    }

    #[tokio::test]
    async fn without_events_the_answer_to_the_stop_request_counts() {
        let worker = depending("worker", 1, "kafka:service_healthy:false");
        let kafka = depending("kafka", 1, "");
        let stopping = Stopping::new(&[&worker, &kafka]);
        let failed = async { Err(Error::new(Kind::Unreachable, "no answer")) };
        assert!(stopping.stop(&worker, failed).await.is_err());
        assert!(!may_stop(&stopping, "kafka").await);
        assert!(stopping.stop(&worker, async { Ok(()) }).await.is_ok());
        assert!(may_stop(&stopping, "kafka").await);
    }

    #[tokio::test]
    async fn a_cycle_in_the_labels_does_not_block() {
        let containers = [
            depending("a", 1, "b:x:false"),
            depending("b", 1, "a:x:false,c:x:false"),
            depending("c", 1, "c:x:false"),
        ];
        let containers: Vec<_> = containers.iter().collect();
        let stopping = Stopping::new(&containers);
        assert!(may_stop(&stopping, "a").await && may_stop(&stopping, "b").await);
        assert!(!may_stop(&stopping, "c").await);
    }
}
