//! The engine as a [`Platform`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use chrono::{DateTime, Utc};
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use platform::{
    Connection, Container, Deployment, Drifted, EachLine, Events, Goal, Inside, LogLine,
    LogOptions, Logs, OnLostLines, Platform, Preview, Scanned, UpReport, host_ports::UsedPorts,
};
use tokio_util::sync::CancellationToken;

use crate::Engine;

impl Platform for Engine {
    fn containers<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>> {
        Self::containers(self, project).boxed()
    }

    fn projects(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<Container>>>> {
        Self::projects(self).boxed()
    }

    fn deployment<'a>(
        &'a self,
        project: &'a str,
        queried_ports: &'a BTreeSet<u16>,
    ) -> BoxFuture<'a, Result<Deployment>> {
        Self::deployment(self, project, queried_ports).boxed()
    }

    fn volumes<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        Self::volumes(self, project).boxed()
    }

    fn existing_volumes<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>> {
        Self::existing_volumes(self, names).boxed()
    }

    fn used_ports(&self) -> BoxFuture<'_, Result<UsedPorts>> {
        async {
            Ok(UsedPorts {
                bindings: self.published().await?,
                local: self.local,
            })
        }
        .boxed()
    }

    fn drifted<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        observed: &'a [Container],
    ) -> BoxFuture<'a, BTreeMap<String, Result<Vec<Drifted>>>> {
        Self::drifted(self, pipeline, observed).boxed()
    }

    fn logs(&self, containers: &[Container], options: &LogOptions) -> Logs {
        Self::logs(self, containers, options)
    }

    fn scan_beginning<'a>(
        &'a self,
        container: &'a Container,
        least: usize,
        each: EachLine<'a>,
    ) -> BoxFuture<'a, Result<Scanned>> {
        Self::scan_beginning(self, container, least, each).boxed()
    }

    fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'a, Result<LogLine>> {
        Self::follow(self, container, after).boxed()
    }

    fn follow_services(
        &self,
        project: &str,
        services: Vec<String>,
        containers: &[Container],
        options: LogOptions,
        on_lost: OnLostLines,
    ) -> BoxStream<'static, Result<LogLine>> {
        Self::follow_services(self, project, services, containers, options, on_lost)
    }

    fn up<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
        deadline: Duration,
        events: &'a Events,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<UpReport>> {
        Self::up(self, goal, invocation, deadline, events, cancel).boxed()
    }

    fn preview<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
    ) -> BoxFuture<'a, Result<Preview>> {
        Self::preview(self, goal, invocation).boxed()
    }

    fn restart<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        services: &'a [String],
        invocation: &'a Invocation,
        deadline: Duration,
        events: &'a Events,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<UpReport>> {
        Self::restart(
            self, pipeline, services, invocation, deadline, events, cancel,
        )
        .boxed()
    }

    fn down<'a>(
        &'a self,
        project: &'a str,
        volumes: bool,
        events: &'a Events,
    ) -> BoxFuture<'a, Result<()>> {
        Self::down(self, project, volumes, events).boxed()
    }

    fn existing_networks<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>> {
        Self::existing_networks(self, names).boxed()
    }

    fn inside_name(&self, pipeline: &Pipeline) -> String {
        Self::network_container_name(pipeline)
    }

    fn start_inside<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        name: &'a str,
        networks: &'a [String],
        command: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Inside>> {
        self.start_in_network(pipeline, name, networks, command)
            .boxed()
    }

    fn remove_inside<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.remove_network_container(name).boxed()
    }

    fn open_connection(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        self.connection().boxed()
    }

    fn address(&self) -> &str {
        &self.host
    }
}
