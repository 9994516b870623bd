//! The engine as a [`Platform`].

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use platform::{
    Container, Drifted, EachLine, Events, Goal, LogLine, LogOptions, Logs, Platform, Preview,
    Scanned, UpReport,
};
use tokio_util::sync::CancellationToken;

use crate::Engine;

impl Platform for Engine {
    fn containers<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>> {
        Self::containers(self, project).boxed()
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
}
