//! `templates/images/`, embedded: the build contexts of infrastructure images, for hosts that cannot pull them.

use sha2::{Digest, Sha256};

use crate::spec::hex;
use diagnostics::{Error, Kind, Result};

/// A template: the files of an image's build context.
#[derive(Debug)]
pub(super) struct Template {
    /// The program and its version, as the packages have it; None: any version, by the image's tag.
    provides: (&'static str, Option<&'static str>),
    files: &'static [(&'static str, &'static str)],
    /// Measured bytes on disk of a build from packages, shared layers included.
    pub(super) takes: u64,
    /// The official image that `files` are added to, and the Dockerfile that replaces it if it cannot be
    /// pulled.
    pub(super) upstream: Option<Upstream>,
}

/// See [`Template::upstream`].
#[derive(Debug)]
pub(super) struct Upstream {
    /// Without a tag; the wanted image's tag is used.
    pub(super) image: &'static str,
    /// A Dockerfile whose last stage is called `packages`.
    from_packages: &'static str,
}

macro_rules! file {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../templates/images/",
            $path
        ))
    };
}

const KAFKA: Template = Template {
    provides: ("Kafka", None),
    files: &[
        ("Dockerfile", file!("kafka/Dockerfile")),
        ("pom.xml", file!("kafka/pom.xml")),
        ("libs-4.1.1.sha256", file!("kafka/libs-4.1.1.sha256")),
        ("kafka-start", file!("kafka/kafka-start")),
        ("kafka-tool", file!("kafka/kafka-tool")),
        ("log4j2.properties", file!("kafka/log4j2.properties")),
        (
            "tools-log4j2.properties",
            file!("kafka/tools-log4j2.properties"),
        ),
    ],
    takes: 1_300_000_000,
    upstream: Some(Upstream {
        image: "apache/kafka",
        from_packages: file!("kafka/packages.Dockerfile"),
    }),
};

const POSTGRES: Template = Template {
    provides: ("PostgreSQL", Some("15")),
    files: &[
        ("Dockerfile", file!("postgres/Dockerfile")),
        (
            "docker-entrypoint.sh",
            file!("postgres/docker-entrypoint.sh"),
        ),
    ],
    takes: 600_000_000,
    upstream: None,
};

const REDIS: Template = Template {
    provides: ("Redis", Some("7")),
    files: &[
        ("Dockerfile", file!("redis/Dockerfile")),
        ("docker-entrypoint.sh", file!("redis/docker-entrypoint.sh")),
    ],
    takes: 300_000_000,
    upstream: None,
};

/// A template by its name in [`declaration::TEMPLATES`].
///
/// # Errors
/// There is no template with that name, which the declaration's parser should have rejected.
pub(super) fn template(name: &str) -> Result<&'static Template> {
    match name {
        "kafka" => Ok(&KAFKA),
        "postgres" => Ok(&POSTGRES),
        "redis" => Ok(&REDIS),
        _ => Err(Error::new(
            Kind::Defect,
            format!("there is no image template {name}"),
        )),
    }
}

/// A template filled in for one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) files: Vec<(&'static str, String)>,
    /// Hash of the files: an image whose label has another hash is outdated.
    pub(super) content: String,
    /// Whether it needs the Debian base.
    pub(super) from_packages: bool,
}

impl Template {
    /// Fills in the template for a version, on top of the image `base`, else on packages.
    pub(super) fn render(&self, version: &str, base: Option<&str>) -> Rendered {
        let fill = |text: &str| {
            text.replace("{{base}}", base.unwrap_or("packages"))
                .replace("{{version}}", version)
        };
        let mut files: Vec<_> = self
            .files
            .iter()
            .map(|(name, text)| (*name, fill(text)))
            .collect();
        if let (Some(upstream), None, Some((_, dockerfile))) =
            (&self.upstream, base, files.first_mut())
        {
            *dockerfile = format!("{}\n{dockerfile}", fill(upstream.from_packages));
        }
        let mut hasher = Sha256::new();
        for (name, text) in &files {
            hasher.update(name.as_bytes());
            hasher.update([0]);
            hasher.update(text.as_bytes());
            hasher.update([0]);
        }
        Rendered {
            files,
            content: hex(&hasher.finalize()),
            from_packages: base.is_none(),
        }
    }

    /// Checks that a build from packages can replace an image with that tag.
    ///
    /// # Errors
    /// The packages have another version.
    pub(super) fn can_provide(&self, image: &str, tag: &str) -> Result<()> {
        let (product, Some(version)) = self.provides else {
            return Ok(());
        };
        let major = tag.split(['.', '-']).next().unwrap_or(tag);
        if major == version {
            return Ok(());
        }
        let what = format!("{image} is missing and cannot be pulled");
        Err(Error::new(Kind::NotRight, what)
            .because(format!(
                "the image that Caravan can build instead has {product} {version}"
            ))
            .hint(format!(
                "docker pull {image}, where a registry can be reached"
            )))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pull::split_tag, *};

    #[test]
    fn every_name_has_its_template() {
        for name in declaration::TEMPLATES {
            assert!(template(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        for name in declaration::TEMPLATES {
            for base in [None, Some("official:1")] {
                let rendered = template(name).expect("exists").render("4.1.1", base);
                for (file, text) in rendered.files {
                    assert!(!text.contains("{{"), "{name}/{file}");
                }
            }
        }
    }

    #[test]
    fn kafka_is_built_on_the_official_image_or_on_packages() {
        let official = KAFKA.render("4.1.1", Some("apache/kafka:4.1.1"));
        let packages = KAFKA.render("4.1.1", None);
        assert!(official.files[0].1.contains("\nFROM apache/kafka:4.1.1\n"));
        assert!(packages.files[0].1.contains(" AS packages\n"));
        assert!(packages.files[0].1.contains("\nFROM packages\n"));
        assert_ne!(official.content, packages.content);
    }

    #[test]
    fn the_shipped_version_has_its_checksums() {
        let shipped = declaration::testing::shipped();
        let (_, version) = split_tag(&shipped.service("kafka").expect("there").image);
        let rendered = KAFKA.render(version, None);
        let name = format!("libs-{version}.sha256");
        let known = rendered.files.iter().find(|(file, _)| *file == name);
        let (_, known) = known.expect("written when the version was last raised");
        assert!(known.contains(&format!("  kafka_2.13-{version}.jar\n")));
        assert!(rendered.files[0].1.contains(&name));
    }

    #[test]
    fn a_stand_in_has_one_major_version() {
        assert!(POSTGRES.can_provide("postgres:15", "15").is_ok());
        assert!(
            POSTGRES
                .can_provide("postgres:15.4-alpine", "15.4-alpine")
                .is_ok()
        );
        assert!(POSTGRES.can_provide("postgres:16", "16").is_err());
        assert!(
            KAFKA
                .can_provide("caravan.local/kafka:4.0.0", "4.0.0")
                .is_ok()
        );
    }
}
