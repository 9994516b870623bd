//! What a service shares with other containers: `links`, `external_links`, `volumes_from`, namespaces.

use crate::{
    Link, Namespace, Other, VolumesFrom,
    problem::Problem,
    yaml::{Fields, View},
};

/// `links` (`SERVICE[:ALIAS]`) and `external_links` (`CONTAINER[:ALIAS]`).
pub(super) fn links(fields: &mut Fields<'_>) -> Result<Vec<Link>, Problem> {
    let link = |of: fn(String) -> Other| {
        move |text: &str| {
            let (name, alias) = text.split_once(':').unwrap_or((text, text));
            match name.is_empty() || alias.is_empty() || alias.contains(':') {
                true => Err("it has one name, or two around a colon"),
                false => Ok(Link {
                    of: of(name.to_owned()),
                    alias: alias.to_owned(),
                }),
            }
        }
    };
    let mut links: Vec<Link> = fields.read_or_default("links", |view| {
        let items = view.items()?.into_iter();
        items
            .map(|item| item.parse("SERVICE[:ALIAS]", link(Other::Service)))
            .collect()
    })?;
    let external: Vec<Link> = fields.read_or_default("external_links", |view| {
        let items = view.items()?.into_iter();
        items
            .map(|item| item.parse("CONTAINER[:ALIAS]", link(Other::Container)))
            .collect()
    })?;
    links.extend(external);
    Ok(links)
}

/// `SERVICE[:ro|rw]` or `container:NAME[:ro|rw]` each.
pub(super) fn volumes_from(view: &View<'_>) -> Result<Vec<VolumesFrom>, Problem> {
    let from = |text: &str| {
        let (name, is_container) = match text.strip_prefix(CONTAINER) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let (name, mode) = name.split_once(':').unwrap_or((name, "rw"));
        let of = match is_container {
            _ if name.is_empty() => return Err("it has no name"),
            true => Other::Container(name.to_owned()),
            false => Other::Service(name.to_owned()),
        };
        match mode {
            "ro" | "rw" => Ok(VolumesFrom {
                of,
                read_only: mode == "ro",
            }),
            _ => Err("it ends with `:ro` or `:rw`"),
        }
    };
    let items = view.items()?.into_iter();
    items
        .map(|item| item.parse("SERVICE[:ro] or container:NAME[:ro]", from))
        .collect()
}

const CONTAINER: &str = "container:";
const SERVICE: &str = "service:";

/// One of Docker's words, or `service:NAME` or `container:NAME`.
pub(super) fn namespace(view: &View<'_>, words: &[&str]) -> Result<Namespace, Problem> {
    let text = view.str()?;
    let other = match (text.strip_prefix(SERVICE), text.strip_prefix(CONTAINER)) {
        (Some(""), _) | (_, Some("")) => return Err(view.problem("it has no name")),
        (Some(name), _) => Some(Other::Service(name.to_owned())),
        (_, Some(name)) => Some(Other::Container(name.to_owned())),
        (None, None) => None,
    };
    if let Some(other) = other {
        return Ok(Namespace::Of(other));
    }
    let words: Vec<_> = words.iter().map(|word| (*word, ())).collect();
    view.word(&words)?;
    view.text().map(Namespace::Mode)
}
