//! Shows the images that a pipeline needs.

use serde_json::{Value, json};

use super::{Console, Paint, listing};
use declaration::units;
use docker::images::{Needed, Present, Provenance};

/// As a table.
pub(crate) fn text(console: &Console, needed: &[Needed]) -> String {
    let rows = needed.iter().map(|image| row(console, image)).collect();
    let header = ["", "IMAGE", "ID", "SIZE", "CREATED", "FROM", "SERVICES"];
    listing::table(console, &header, rows)
}

fn row(console: &Console, image: &Needed) -> Vec<String> {
    let mark = match (&image.present, image.needs_network()) {
        (Some(_), _) => console.out(Paint::Good, "✓"),
        (None, true) => console.out(Paint::Bad, "✗"),
        (None, false) => console.out(Paint::Faint, "-"),
    };
    let [id, size, created] = match &image.present {
        Some(present) => columns(present),
        None => ["not here".to_owned(), String::new(), String::new()],
    };
    vec![
        mark,
        image.reference.clone(),
        id,
        size,
        created,
        from(image.from),
        image.services.join(", "),
    ]
}

fn columns(present: &Present) -> [String; 3] {
    // A reproducible image has no creation time: it is 0.
    let created = present.created.filter(|at| at.timestamp() > 0);
    let created = created.map(|at| at.format("%Y-%m-%d %H:%M").to_string());
    [
        short(&present.id).to_owned(),
        units::size(present.size),
        created.unwrap_or_else(|| "-".to_owned()),
    ]
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

/// As JSON.
pub(crate) fn value(project: &str, needed: &[Needed]) -> Value {
    json!({
        "project": project,
        "images": needed.iter().map(image_value).collect::<Vec<_>>(),
    })
}

fn image_value(image: &Needed) -> Value {
    let (from, template) = match image.from {
        Provenance::Caravan => ("self", None),
        Provenance::Declared => ("build", None),
        Provenance::Template(name) => ("template", Some(name)),
        Provenance::RegistryOrTemplate(name) => ("registry", Some(name)),
        Provenance::Registry => ("registry", None),
        Provenance::Local => ("local", None),
    };
    let present = image.present.as_ref();
    json!({
        "reference": image.reference,
        "services": image.services,
        "from": from,
        "template": template,
        "present": present.is_some(),
        "id": present.map(|p| &p.id),
        "sizeBytes": present.map(|p| p.size),
        "created": present.and_then(|p| p.created),
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::*;

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
    }
}
