use super::Verdict;
use crate::context::Context;
use diagnostics::Result;

/// Print the JSON Schema of the declaration, for editors
///
/// caravan schema > caravan.schema.json, and as the first line of a Compose file:
/// # yaml-language-server: $schema=./caravan.schema.json
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context) -> Result<Verdict> {
    context.console.document(&declaration::schema()?);
    Ok(Verdict::Right)
}
