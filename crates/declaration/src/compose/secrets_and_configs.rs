//! `secrets` and `configs`: the definitions at the top level, and their mounts in services.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{checked_name, mounts::host_path, notes::Notes};
use crate::{
    GeneratedFile, SecretOrConfigMount, UNSET_SECRET,
    context::Context,
    problem::{Problem, Problems, did_you_mean},
    yaml::{Fields, Key, View},
};

/// The kind of a definition. The kinds differ in their sources and default targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    Config,
}

impl Kind {
    /// The key at the top level and in services.
    fn section(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Config => "configs",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    /// The directory of relative targets.
    fn directory(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets/",
            Self::Config => "/",
        }
    }
}

/// The definitions at the top level, by kind and name. Faults in a definition are reported once, even
/// if several services use it.
#[derive(Default)]
pub(super) struct Definitions<'a>(Vec<(Kind, String, Result<Definition<'a>, Problem>)>);

struct Definition<'a> {
    kind: Kind,
    name: String,
    source: Source,
    /// The node that defines `source`.
    view: View<'a>,
}

enum Source {
    /// A file of the user; an absolute path.
    File(PathBuf),
    /// An absolute path of a file that `up` generates from an environment variable of Caravan: its value, or a
    /// password that is derived from the value and the text `derive`.
    Drawn {
        path: PathBuf,
        from: String,
        derive: Option<String>,
    },
    /// The value of an environment variable of Caravan.
    Environment(String),
    /// The literal text.
    Content(String),
}

impl<'a> Definitions<'a> {
    /// Reads `secrets` and `configs` of the top level.
    pub(super) fn read(
        root: &mut Fields<'a>,
        context: &Context<'_>,
        problems: &mut Problems,
    ) -> Self {
        let mut all = Vec::new();
        for kind in [Kind::Secret, Kind::Config] {
            let Some(view) = root.take(kind.section()) else {
                continue;
            };
            for (key, view) in problems.keep(view.entries()).unwrap_or_default() {
                let definition = definition(kind, key, &view, context);
                if let Err(problem) = &definition {
                    problems.add(problem.clone());
                }
                all.push((kind, key.name.clone(), definition));
            }
        }
        Self(all)
    }

    fn find(&self, kind: Kind, name: &str, view: &View<'_>) -> Result<&Definition<'a>, Problem> {
        let known = || self.0.iter().filter(|(k, ..)| *k == kind);
        if let Some((_, _, found)) = known().find(|(_, n, _)| n == name) {
            return found.as_ref().map_err(Problem::clone);
        }
        let near = did_you_mean(name, known().map(|(_, name, _)| name.as_str()));
        let (word, section) = (kind.word(), kind.section());
        Err(view
            .problem(format!("there is no {word} `{name}`{near}"))
            .hint(format!("define it under `{section}` at the top level")))
    }
}

impl Definitions<'_> {
    /// The secrets of a build, by the id that its Dockerfile uses.
    pub(super) fn for_build(
        &self,
        view: &View<'_>,
        context: &Context<'_>,
        notes: &mut Notes,
    ) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
        let mut secrets = BTreeMap::new();
        for item in view.items()? {
            let reference = Reference::read(Kind::Secret, &item, notes)?;
            let definition = self.find(Kind::Secret, &reference.source, &reference.view)?;
            let id = reference.target.unwrap_or(reference.source);
            secrets.insert(id, definition.content(context, notes)?);
        }
        Ok(secrets)
    }
}

fn definition<'a>(
    kind: Kind,
    key: &Key,
    view: &View<'a>,
    context: &Context<'_>,
) -> Result<Definition<'a>, Problem> {
    let name = checked_name(key, view)?;
    let mut fields = view.fields()?;
    if name.starts_with('.') {
        return Err(fields.problem("a name does not begin with a dot"));
    }
    if let Some(external) = fields.take("external")
        && external.bool()?
    {
        let message = "`external` is not supported: Caravan cannot read the secrets of Swarm or \
                       a vault";
        return Err(external
            .problem(message)
            .hint("name a `file`, or an `environment` variable"));
    }
    let mut sources = Vec::new();
    let file = fields.take("file");
    let from = fields.read("x-caravan", from)?;
    if let Some(view) = file {
        let path = view.parse("a path", |path| host_path(path, context))?;
        sources.push(match &from {
            None => (Source::File(path), view),
            Some((from, derive)) if is_ours(&path, context) => {
                let source = Source::Drawn {
                    path,
                    from: from.filled()?,
                    derive: derive.clone(),
                };
                (source, from.clone())
            }
            Some(_) => return Err(not_ours(&name, &view)),
        });
    } else if let Some((from, _)) = from {
        let message = "`from` needs `file`, which `up` writes";
        return Err(from.problem(message).hint(file_hint(&name)));
    }
    if let Some(view) = fields.take("environment") {
        sources.push((Source::Environment(view.filled()?), view));
    }
    if kind == Kind::Config
        && let Some(view) = fields.take("content")
    {
        sources.push((Source::Content(view.text()?), view));
    }
    // The name in Swarm; it has no effect.
    fields.read("name", View::text)?;
    let count = sources.len();
    let wrong = fields.problem(format!("it has {count} sources, and needs one"));
    fields.finish_compose(&["driver", "driver_opts", "labels", "template_driver"])?;
    match (sources.pop(), count) {
        (Some((source, view)), 1) => Ok(Definition {
            kind,
            name,
            source,
            view,
        }),
        _ => {
            let content = if kind == Kind::Config {
                ", `content`"
            } else {
                ""
            };
            Err(wrong.hint(format!("give it one of `file`, `environment`{content}")))
        }
    }
}

/// `x-caravan` of a definition: the variable from which `up` generates the file, and `derive`.
fn from<'a>(view: &View<'a>) -> Result<(View<'a>, Option<String>), Problem> {
    let mut fields = view.fields()?;
    let from = fields.require("from")?;
    let derive = fields.read("derive", View::filled)?;
    fields.finish()?;
    Ok((from, derive))
}

/// Whether `up` may write `path`: only in the project's own directory, and not over the
/// subdirectories for generated files without a declared path.
fn is_ours(path: &Path, context: &Context<'_>) -> bool {
    let reserved = [Kind::Secret, Kind::Config].map(|kind| context.files_dir.join(kind.section()));
    path.parent() == Some(context.files_dir) && !reserved.iter().any(|reserved| reserved == path)
}

fn not_ours(name: &str, view: &View<'_>) -> Problem {
    let message = "`up` would write this file, but it writes only into the project's own directory";
    view.problem(message).hint(file_hint(name))
}

fn file_hint(name: &str) -> String {
    format!("file: .caravan-${{COMPOSE_PROJECT_NAME}}/{name}")
}

/// Reads `secrets` and `configs` of a service. Those of an inactive service are ignored.
pub(super) fn secrets_and_configs(
    fields: &mut Fields<'_>,
    active: bool,
    definitions: &Definitions<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Result<Vec<SecretOrConfigMount>, Problem> {
    let mut mounts: Vec<(usize, SecretOrConfigMount)> = Vec::new();
    for kind in [Kind::Secret, Kind::Config] {
        let Some(view) = fields.take(kind.section()).filter(|_| active) else {
            continue;
        };
        for item in view.items()? {
            let reference = Reference::read(kind, &item, notes)?;
            let definition = definitions.find(kind, &reference.source, &reference.view)?;
            let mount = definition.mount(&reference, context, notes)?;
            // A later file may replace the mount at the same target.
            let file = item.at().file;
            match mounts.iter().position(|(_, g)| g.target == mount.target) {
                Some(index) if mounts[index].0 != file => mounts[index] = (file, mount),
                Some(_) => {
                    let message = format!("{} is given twice", mount.target);
                    return Err(item.problem(message));
                }
                None => mounts.push((file, mount)),
            }
        }
    }
    Ok(mounts.into_iter().map(|(_, mount)| mount).collect())
}

/// `NAME`, or the long form.
struct Reference<'a> {
    source: String,
    view: View<'a>,
    target: Option<String>,
    executable: bool,
}

impl<'a> Reference<'a> {
    fn read(kind: Kind, item: &View<'a>, notes: &mut Notes) -> Result<Self, Problem> {
        if !item.is_mapping() {
            return Ok(Self {
                source: item.filled()?,
                view: item.clone(),
                target: None,
                executable: false,
            });
        }
        let mut fields = item.fields()?;
        let view = fields.require("source")?;
        for key in ["uid", "gid"] {
            if let Some(ignored) = fields.take(key) {
                let why = format!("every user of the container can read a {}", kind.word());
                notes.no_effect(&ignored, &why);
            }
        }
        let reference = Self {
            source: view.filled()?,
            view,
            target: fields.read("target", View::filled)?,
            executable: fields
                .read_set("mode", View::mode)?
                .is_some_and(|mode| mode & 0o111 != 0),
        };
        fields.finish_compose(&[])?;
        Ok(reference)
    }
}

impl Definition<'_> {
    fn mount(
        &self,
        reference: &Reference<'_>,
        context: &Context<'_>,
        notes: &mut Notes,
    ) -> Result<SecretOrConfigMount, Problem> {
        let target = match &reference.target {
            Some(target) if target.starts_with('/') => target.clone(),
            Some(target) => format!("{}{target}", self.kind.directory()),
            None => format!("{}{}", self.kind.directory(), self.name),
        };
        let (path, content, generated) = match &self.source {
            Source::File(path) => (path.clone(), self.read_file(path)?, None),
            Source::Drawn { path, from, derive } => {
                let content = self.drawn(from, derive.as_deref(), context)?;
                let bytes = content.clone().into_bytes();
                let generated = GeneratedFile {
                    content,
                    executable: false,
                };
                (path.clone(), bytes, Some(generated))
            }
            Source::Environment(name) => {
                self.write(self.variable(name, context)?, reference, context)
            }
            Source::Content(text) => self.write(text.clone(), reference, context),
        };
        if self.kind == Kind::Secret
            && let Ok(text) = std::str::from_utf8(&content)
        {
            notes.secret(text);
        }
        Ok(SecretOrConfigMount {
            target,
            path,
            generated,
            digest: Sha256::digest(&content).into(),
        })
    }

    /// The content.
    fn content(&self, context: &Context<'_>, notes: &mut Notes) -> Result<Vec<u8>, Problem> {
        let content = match &self.source {
            Source::File(path) => self.read_file(path)?,
            Source::Drawn { from, derive, .. } => {
                let content = self.drawn(from, derive.as_deref(), context)?;
                content.into_bytes()
            }
            Source::Environment(name) => self.variable(name, context)?.into_bytes(),
            Source::Content(text) => text.clone().into_bytes(),
        };
        if self.kind == Kind::Secret
            && let Ok(text) = std::str::from_utf8(&content)
        {
            notes.secret(text);
        }
        Ok(content)
    }

    /// The path and content of the generated file.
    fn write(
        &self,
        content: String,
        reference: &Reference<'_>,
        context: &Context<'_>,
    ) -> (PathBuf, Vec<u8>, Option<GeneratedFile>) {
        let executable = reference.executable;
        let directory = context.files_dir.join(self.kind.section());
        let suffix = if executable { ".x" } else { "" };
        let path = directory.join(format!("{}{suffix}", self.name));
        let bytes = content.clone().into_bytes();
        let generated = GeneratedFile {
            content,
            executable,
        };
        (path, bytes, Some(generated))
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>, Problem> {
        let word = self.kind.word();
        match std::fs::read(path) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self
                .view
                .problem("there is no such file")
                .hint(format!("write the {word} into {}", path.display()))),
            Err(error) => Err(self.view.problem(format!("cannot read it: {error}"))),
        }
    }

    /// The content of a file that `up` generates.
    fn drawn(
        &self,
        from: &str,
        derive: Option<&str>,
        context: &Context<'_>,
    ) -> Result<String, Problem> {
        let value = self.variable(from, context)?;
        // Without the secrets, all of them have the same placeholder.
        Ok(match derive.filter(|_| value != UNSET_SECRET) {
            Some(text) => derived(&value, text),
            None => value,
        })
    }

    fn variable(&self, name: &str, context: &Context<'_>) -> Result<String, Problem> {
        let value = context.variables.get(name).map(str::to_owned);
        value.ok_or_else(|| {
            self.view
                .problem(format!("the variable {name} is not set"))
                .hint(format!("export {name}=…, or set it in .env"))
        })
    }
}

/// A password that is derived from a secret: HMAC-SHA-256 (RFC 2104), in hexadecimal. It reveals nothing about the
/// secret.
fn derived(secret: &str, text: &str) -> String {
    const BLOCK: usize = 64;
    let mut key = [0; BLOCK];
    let digest = Sha256::digest(secret);
    let short = match secret.len() > BLOCK {
        true => &digest[..],
        false => secret.as_bytes(),
    };
    key[..short.len()].copy_from_slice(short);
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36));
    let inner = inner.chain_update(text).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c));
    let outer = outer.chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::derived;

    /// RFC 4231, test case 2.
    #[test]
    fn a_password_is_derived_as_the_standard_says() {
        let short = derived("Jefe", "what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(short, expected);
        let long = "k".repeat(65);
        let digest = derived(&long, "one");
        assert_ne!(digest, derived(&long, "two"));
        assert_eq!(digest.len(), 64);
    }
}
