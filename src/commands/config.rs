use super::Verdict;
use crate::{context::Context, flags::ReportFormat};
use diagnostics::Result;

/// Print the resolved project as `docker compose config` does, without asking Docker
///
/// All files merged, variables replaced, short forms written out, with the services whose profiles are active.
/// It is a Compose file again. With -q nothing is printed, so the exit code says whether the declaration is
/// valid. A value from `x-caravan.secrets` is printed as ***.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of the services only, a line each
    #[arg(long, conflicts_with = "images")]
    services: bool,
    /// Names of the services' images only, a line each
    #[arg(long)]
    images: bool,
    /// Format of the project: yaml, json
    #[arg(short, long, value_enum, default_value_t, env = "CARAVAN_OUTPUT")]
    pub(crate) output: ConfigFormat,
}

/// `-o` of `config`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ConfigFormat {
    #[default]
    #[value(alias = "table")]
    Yaml,
    /// The same as JSON
    Json,
}

impl From<ConfigFormat> for ReportFormat {
    fn from(format: ConfigFormat) -> Self {
        match format {
            ConfigFormat::Yaml => Self::Table,
            ConfigFormat::Json => Self::Json,
        }
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let source = context.source()?;
    let pipeline = context.resolve_without_secrets(source)?;
    if context.console.is_quiet() {
        return Ok(Verdict::Right);
    }
    let services = pipeline.services.iter();
    let text = match (args.services, args.images) {
        (true, _) => lines(services.map(|service| service.name.as_str())),
        (_, true) => lines(services.map(|service| service.image.as_str())),
        _ => project(&source.config()?, args.output)?,
    };
    let console = &context.console;
    console.composed(&console.masked(&text));
    Ok(Verdict::Right)
}

fn lines<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join("\n")
}

/// A dollar is doubled, because the text is a Compose file.
fn project(project: &serde_json::Value, format: ConfigFormat) -> Result<String> {
    let text = match format {
        ConfigFormat::Json => format!("{project:#}"),
        ConfigFormat::Yaml => declaration::yaml_text(project)?,
    };
    Ok(text.trim_end().replace('$', "$$"))
}
