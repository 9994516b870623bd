//! Shows the images that a pipeline needs.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Console, Paint,
    json::{Outcome, Time},
    listing::{self, Cell, Column},
};
use declaration::units;
use docker::images::{Needed, Present, Provenance};

/// As a table.
pub(crate) fn text(console: &Console, needed: &[Needed]) -> String {
    let rows = needed.iter().map(|image| row(console, image)).collect();
    let created = console.clock.header("CREATED");
    let columns = [
        Column::name(""),
        Column::name("IMAGE"),
        Column::name("ID").optional(3),
        Column::number("SIZE").optional(1),
        Column::name(&created).optional(2),
        Column::name("FROM").optional(4),
        Column::names("SERVICES"),
    ];
    listing::table(console, &columns, rows)
}

fn row(console: &Console, image: &Needed) -> Vec<Cell> {
    let mark = match (&image.present, image.needs_network()) {
        (Some(_), _) => Cell::painted(Paint::Good, "✓"),
        (None, true) => Cell::painted(Paint::Bad, "✗"),
        (None, false) => Cell::painted(Paint::Faint, "-"),
    };
    let [id, size, created] = match &image.present {
        Some(present) => columns(console, present),
        None => ["not here".to_owned(), String::new(), String::new()],
    };
    vec![
        mark,
        image.reference.clone().into(),
        id.into(),
        size.into(),
        created.into(),
        from(image.from).into(),
        image.services.join(", ").into(),
    ]
}

fn columns(console: &Console, present: &Present) -> [String; 3] {
    let created = created(present).map(|at| console.clock.minutes(at));
    [
        short(&present.id).to_owned(),
        units::size(present.size),
        created.unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A reproducible image has no creation time: it is 0.
fn created(present: &Present) -> Option<DateTime<Utc>> {
    present.created.filter(|at| at.timestamp() > 0)
}

/// `sha256:0123456789abcdef…` -> `0123456789ab`, as in `docker images`.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

fn from(from: Provenance) -> String {
    match from {
        Provenance::Caravan => "this executable".to_owned(),
        Provenance::Declared => "build".to_owned(),
        Provenance::Template(name) => format!("template {name}"),
        Provenance::RegistryOrTemplate(name) => format!("registry, else template {name}"),
        Provenance::Registry => "registry".to_owned(),
        Provenance::Local => "local".to_owned(),
    }
}

/// The number of images.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    total: usize,
    present: usize,
    /// Missing images that only a registry or packages can provide.
    missing: usize,
    /// The size of those that are present, in bytes; of `images save`, of the file.
    size_bytes: u64,
}

/// The images that the pipeline's services need.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Images<'a> {
    images: Vec<Image<'a>>,
}

/// An image.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Image<'a> {
    name: &'a str,
    /// The services that run it.
    services: &'a [String],
    /// Where it comes from: `self` (this executable), `build`, `template`, `registry` or `local`.
    from: &'static str,
    /// The template that it is built from if no registry has it.
    template: Option<&'static str>,
    /// Whether the engine has it.
    present: bool,
    id: Option<&'a str>,
    size_bytes: Option<u64>,
    /// Null: it is missing, or its time of creation is not recorded.
    created_at: Option<Time>,
}

/// Writes the images as JSON. `file`: the size of the file that they were saved to. With `must_have`, a missing
/// image is a failure.
pub(crate) fn report(console: &Console, needed: &[Needed], file: Option<u64>, must_have: bool) {
    let present = needed.iter().filter_map(|image| image.present.as_ref());
    let missing = needed.iter().filter(|n| n.needs_network()).count();
    let summary = Summary {
        total: needed.len(),
        present: present.clone().count(),
        missing,
        size_bytes: file.unwrap_or_else(|| present.map(|p| p.size).sum()),
    };
    let status = match must_have {
        true => Outcome::of(missing == 0),
        false => Outcome::doubtful(missing > 0),
    };
    let images = needed.iter().map(Image::of).collect();
    console.report(status, summary, Images { images });
}

impl<'a> Image<'a> {
    fn of(image: &'a Needed) -> Self {
        let (from, template) = match image.from {
            Provenance::Caravan => ("self", None),
            Provenance::Declared => ("build", None),
            Provenance::Template(name) => ("template", Some(name)),
            Provenance::RegistryOrTemplate(name) => ("registry", Some(name)),
            Provenance::Registry => ("registry", None),
            Provenance::Local => ("local", None),
        };
        let present = image.present.as_ref();
        Self {
            name: &image.reference,
            services: &image.services,
            from,
            template,
            present: present.is_some(),
            id: present.map(|p| p.id.as_str()),
            size_bytes: present.map(|p| p.size),
            created_at: Time::of(present.and_then(created)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::output::widths;

    fn needed(reference: &str, services: &[&str], from: Provenance, at: Option<i64>) -> Needed {
        let created = |at| -> DateTime<Utc> { Utc.timestamp_opt(at, 0).single().expect("a time") };
        Needed {
            services: services.iter().map(|s| (*s).to_owned()).collect(),
            reference: reference.to_owned(),
            from,
            present: at.map(|at| Present {
                id: "sha256:0123456789abcdef".to_owned(),
                size: 636_000_000,
                created: Some(created(at)),
            }),
        }
    }

    #[test]
    fn images_are_listed_with_what_is_missing() {
        let needed = [
            needed(
                "caravan.local/kafka:4.1.1",
                &["kafka"],
                Provenance::Template("kafka"),
                Some(1_764_084_337),
            ),
            needed(
                "postgres:15",
                &["postgres"],
                Provenance::RegistryOrTemplate("postgres"),
                None,
            ),
            needed(
                "caravan.local/caravan:0123456789ab",
                &["migrate", "worker"],
                Provenance::Caravan,
                Some(0),
            ),
            needed(
                "caravan.local/other:0123456789ab",
                &["other"],
                Provenance::Caravan,
                None,
            ),
            needed(
                "shop/web:2",
                &["web"],
                Provenance::Registry,
                Some(1_764_084_337),
            ),
            needed(
                "shop/api:2",
                &["api"],
                Provenance::Local,
                Some(1_764_084_337),
            ),
            needed(
                "shop/orders",
                &["stock", "billing"],
                Provenance::Declared,
                None,
            ),
        ];
        insta::assert_snapshot!(text(&Console::plain(), &needed));
        widths::expect_readable(|console| text(console, &needed));
    }
}
