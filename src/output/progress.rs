//! Shows events when they occur: one live line per part on a terminal, plain lines otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Console, Paint, console::style_spinner, listing};
use platform::{Event, Events, Outcome};

/// Shows events until [`Progress::finish`].
pub(crate) struct Progress {
    events: Events,
    task: JoinHandle<()>,
}

impl Progress {
    pub(crate) fn start(console: &Arc<Console>) -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        let console = Arc::clone(console);
        let task = if console.live {
            tokio::spawn(live(console, receiver))
        } else {
            tokio::spawn(plain(console, receiver))
        };
        Self { events, task }
    }

    /// The channel to which events are sent.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// Shows the events that are still in the channel, then removes the live lines.
    pub(crate) async fn finish(self) {
        drop(self.events);
        // The task ends when the channel is closed. If it panicked, the panic hook has reported it.
        drop(self.task.await);
    }
}

/// Without a terminal, a step that is under way gets a line after this time.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

async fn plain(console: Arc<Console>, mut events: mpsc::UnboundedReceiver<Event>) {
    let mut under_way: BTreeMap<String, (Instant, Event)> = BTreeMap::new();
    let mut tick = tokio::time::interval(WORTH_A_LINE / 4);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                None => return,
                Some(event) => plain_event(&console, &mut under_way, event),
            },
            _ = tick.tick() => {
                under_way.retain(|_, (since, event)| {
                    let young = since.elapsed() < WORTH_A_LINE;
                    if !young {
                        console.composed_note(&line(&console, event));
                    }
                    young
                });
            }
        }
    }
}

fn plain_event(
    console: &Console,
    under_way: &mut BTreeMap<String, (Instant, Event)>,
    event: Event,
) {
    match &event {
        Event::Doing { part, .. } => {
            under_way.insert(part.clone(), (Instant::now(), event));
            return;
        }
        Event::Done { part, .. } | Event::Failed { part, .. } => {
            under_way.remove(part);
        }
        Event::Note(_) => {}
    }
    console.composed_note(&line(console, &event));
}

/// An event as one line, masked.
fn line(console: &Console, event: &Event) -> String {
    match event {
        Event::Doing { part, what } => format!("  {part}: {}", console.masked(what)),
        Event::Done {
            part,
            outcome,
            took,
        } => {
            let tick = console.err(Paint::Good, "✓");
            let took = listing::duration(*took);
            format!("{tick} {part}: {} ({took})", word(*outcome))
        }
        Event::Failed { part, why } => {
            let why = console.masked(why);
            format!("{} {part}: {why}", console.err(Paint::Bad, "✗"))
        }
        Event::Note(text) => format!("  {}", console.masked(text)),
    }
}

/// An outcome as one word.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Kept => "unchanged",
        Outcome::Created => "created",
        Outcome::Recreated => "recreated",
        Outcome::Started => "started",
        Outcome::Completed => "completed",
        Outcome::Removed => "removed",
        Outcome::Restarted => "restarted",
        Outcome::Pulled => "pulled",
        Outcome::Built => "built",
        Outcome::Saved => "saved",
        Outcome::Loaded => "loaded",
    }
}

async fn live(console: Arc<Console>, mut events: mpsc::UnboundedReceiver<Event>) {
    let screen = MultiProgress::new();
    let mut bars: HashMap<String, ProgressBar> = HashMap::new();
    while let Some(event) = events.recv().await {
        match &event {
            Event::Doing { part, what } => {
                let bar = bars
                    .entry(part.clone())
                    .or_insert_with(|| spinner(&screen, part));
                bar.set_message(console.masked(what));
            }
            Event::Done { part, .. } | Event::Failed { part, .. } => {
                if let Some(bar) = bars.remove(part) {
                    bar.finish_and_clear();
                }
                say(&screen, &console, &event);
            }
            Event::Note(_) => say(&screen, &console, &event),
        }
    }
    for bar in bars.into_values() {
        bar.finish_and_clear();
    }
}

fn say(screen: &MultiProgress, console: &Console, event: &Event) {
    screen.suspend(|| console.composed_note(&line(console, event)));
}

fn spinner(screen: &MultiProgress, part: &str) -> ProgressBar {
    let bar = screen.add(ProgressBar::new_spinner());
    style_spinner(&bar, part);
    bar
}
