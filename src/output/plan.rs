//! Shows what `up --dry-run` would do: one line per container, with the causes.

use super::{Console, Paint, change};
use crate::{flags::Format, state::Chosen};
use platform::{Action, MissingImage, Planned, PortConflict, Preview};

/// What would happen to a missing image.
const FETCH: &str = "fetch";
const BUILD: &str = "build";

/// Shows a preview, and the ports that would be chosen in place of default ports in use.
pub(crate) fn show(console: &Console, preview: &Preview, chosen: &[Chosen], format: Format) {
    match format {
        Format::Json => {
            let taken = unresolved(preview, chosen);
            change::preview(console, preview, chosen, taken);
        }
        Format::Table => {
            let mut lines: Vec<_> = lines(console, preview);
            lines.extend(ports(console, preview, chosen));
            console.composed(&lines.join("\n"));
            console.composed_note(&format!("\n{}. Nothing was changed.", summary(preview)));
        }
    }
}

/// Shows the steps of another command's dry run.
pub(crate) fn show_steps(console: &Console, steps: Vec<Planned>, format: Format) {
    let preview = Preview {
        images: Vec::new(),
        steps,
        port_conflicts: Vec::new(),
    };
    show(console, &preview, &[], format);
}

/// One line per missing image, then one per container, even if nothing would happen to it.
fn lines(console: &Console, preview: &Preview) -> Vec<String> {
    let image = |image: &MissingImage| {
        let (verb, how) = match image.declared {
            true => (BUILD, "as declared"),
            false => (FETCH, "a missing image: pulled, else built"),
        };
        let word = console.out(Paint::Good, &format!("{verb:<9}"));
        format!("{word} {} ({how})", image.reference)
    };
    let steps = preview.steps.iter().flat_map(|step| {
        let paint = match &step.action {
            Action::Keep => Paint::Faint,
            Action::Create | Action::Start { .. } | Action::Unpause => Paint::Good,
            Action::Recreate { .. } | Action::Restart { .. } => Paint::Doubtful,
            Action::Remove => Paint::Bad,
        };
        let word = console.out(paint, &format!("{:<9}", word(&step.action)));
        let causes = causes(&step.action);
        let first = format!("{word} {}", step.container);
        let rest = causes
            .iter()
            .map(|cause| format!("{:9}   {}", "", console.masked(cause)));
        std::iter::once(first).chain(rest).collect::<Vec<_>>()
    });
    preview.images.iter().map(image).chain(steps).collect()
}

/// Ports that would be chosen, then port conflicts without a choice.
fn ports(console: &Console, preview: &Preview, chosen: &[Chosen]) -> Vec<String> {
    let word = |paint, word: &str| console.out(paint, &format!("{word:<9}"));
    let choice = chosen.iter().map(|c| {
        format!(
            "{} {} for {} ({}): {} has {}",
            word(Paint::Doubtful, "port"),
            c.number,
            c.service,
            c.variable,
            console.masked(&c.holder),
            c.instead_of
        )
    });
    let conflicts = unresolved(preview, chosen).map(|conflict| {
        format!(
            "{} {} of {}: {} has it, so it would not start",
            word(Paint::Bad, "taken"),
            conflict.port,
            conflict.service,
            console.masked(&conflict.holder)
        )
    });
    choice.chain(conflicts).collect()
}

/// Port conflicts that no chosen port resolves.
fn unresolved<'a>(
    preview: &'a Preview,
    chosen: &'a [Chosen],
) -> impl Iterator<Item = &'a PortConflict> {
    let is_unresolved = |conflict: &&PortConflict| {
        let is = |c: &Chosen| c.instead_of == conflict.port && c.service == conflict.service;
        !chosen.iter().any(is)
    };
    preview.port_conflicts.iter().filter(is_unresolved)
}

/// `1 to create, 2 to recreate, 8 to keep`
fn summary(preview: &Preview) -> String {
    let kinds = [
        FETCH, BUILD, "create", "recreate", "start", "unpause", "restart", "remove", "keep",
    ];
    let images = |declared| {
        preview
            .images
            .iter()
            .filter(|i| i.declared == declared)
            .count()
    };
    let count = |kind: &&str| match *kind {
        FETCH => images(false),
        BUILD => images(true),
        kind => preview
            .steps
            .iter()
            .filter(|s| word(&s.action) == kind)
            .count(),
    };
    let counts = kinds.iter().map(|kind| (kind, count(kind)));
    let counts: Vec<_> = counts
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| format!("{n} to {kind}"))
        .collect();
    match counts.is_empty() {
        true => "Nothing to do".to_owned(),
        false => counts.join(", "),
    }
}

pub(super) fn word(action: &Action) -> &'static str {
    match action {
        Action::Keep => "keep",
        Action::Create => "create",
        Action::Recreate { .. } => "recreate",
        Action::Start { .. } => "start",
        Action::Unpause => "unpause",
        Action::Restart { .. } => "restart",
        Action::Remove => "remove",
    }
}

pub(super) fn causes(action: &Action) -> Vec<&str> {
    match action {
        Action::Recreate { causes } => causes.iter().map(String::as_str).collect(),
        Action::Start { cause } | Action::Restart { cause } => vec![cause],
        Action::Keep | Action::Create | Action::Unpause | Action::Remove => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_keeps_its_names_whatever_the_secrets() {
        let console = Console::plain();
        let secrets = ["create", "shop-web", "true", "a\"b\\c", "registry"];
        console.mask(&secrets.map(str::to_owned));
        let preview = Preview {
            images: vec![MissingImage {
                reference: "registry/web:1".to_owned(),
                declared: false,
            }],
            steps: vec![Planned {
                service: "web".to_owned(),
                container: "shop-web".to_owned(),
                action: Action::Recreate {
                    causes: vec!["labels.flag: true -> a\"b\\c".to_owned()],
                },
            }],
            port_conflicts: Vec::new(),
        };
        assert_eq!(
            lines(&console, &preview),
            [
                "fetch     registry/web:1 (a missing image: pulled, else built)",
                "recreate  shop-web\n            labels.flag: **** -> ****",
            ]
            .join("\n")
            .split('\n')
            .collect::<Vec<_>>()
        );
    }
}
