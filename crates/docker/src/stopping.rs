//! The order in which containers are stopped: each as soon as all its dependants have stopped. Read from the
//! containers' labels, so that it also works for services that the declaration no longer has.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::labels;
use platform::Container;

/// Some containers that are being stopped.
pub(super) struct Stopping<'a> {
    /// The services that have to stop before this one.
    dependants: BTreeMap<&'a str, Vec<&'a str>>,
    /// How many containers of a service have not stopped yet.
    left: BTreeMap<&'a str, watch::Sender<usize>>,
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

    /// Records that one more container of a service has stopped.
    pub(super) fn stopped(&self, service: &str) {
        if let Some(left) = self.left.get(service) {
            left.send_modify(|n| *n = n.saturating_sub(1));
        }
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

    use super::*;
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
