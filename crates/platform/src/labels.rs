//! Labels. Compose's, so that `docker compose ps`, `logs`, `stop` and `down` work on what Caravan
//! started, and Caravan's own, by which it decides.

/// The project that an object belongs to.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service of a container.
pub const SERVICE: &str = "com.docker.compose.service";
/// A container's number among its service's replicas, from 1.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// Which Compose made it; here, which Caravan.
pub const VERSION: &str = "com.docker.compose.version";
/// Directory of the first Compose file.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The Compose files, comma separated.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// `True` on containers of `docker compose run`.
pub const ONEOFF: &str = "com.docker.compose.oneoff";
/// Compose's hash. Compose looks at no container without it; it is Caravan's own hash here, so
/// `docker compose up` would recreate the container.
pub const COMPOSE_HASH: &str = "com.docker.compose.config-hash";
/// `kafka:service_healthy:false,…`
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Id of the image that the container was made from.
pub const IMAGE: &str = "com.docker.compose.image";
/// What stands in [`CONFIG_FILES`] for the pipeline that Caravan ships.
pub const EMBEDDED: &str = "embedded";
/// Key of a network in the declaration.
pub const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume in the declaration.
pub const VOLUME: &str = "com.docker.compose.volume";
/// Hash of all that Docker was handed for a container, its image apart.
pub const HASH: &str = "caravan.config-hash";
/// On a replica that `caravan scale` added to the declared ones: `up` leaves it there.
pub const SCALED: &str = "caravan.scaled";
/// Digest of the secrets and configs that a container was given: their content is no part of what
/// Docker is handed.
pub const GRANTS: &str = "caravan.grants";
/// Of a container: the directory with the project's `.env`, chosen ports and written secrets.
pub const STATE_DIR: &str = "caravan.state-dir";
/// Of a container whose variables came from a file that `--env-file` named: that file.
pub const ENV_FILE: &str = "caravan.env-file";
/// Of a container that `docker compose` made: what its `--env-file` named, comma separated.
pub const COMPOSE_ENV_FILE: &str = "com.docker.compose.project.environment_file";
/// Of an image that was built for a service of a project. Images carry none of Compose's labels:
/// every container made from them would inherit those as its own.
pub const BUILT_PROJECT: &str = "caravan.project";
/// Of such an image: the service.
pub const BUILT_SERVICE: &str = "caravan.service";
/// Of such an image: which Caravan built it.
pub const BUILT_VERSION: &str = "caravan.version";
/// Of an image built here: hash of its template and base.
pub const CONTENT: &str = "caravan.content";
/// Of a volume: the image of the service that it was made for.
pub const VOLUME_IMAGE: &str = "caravan.image";
/// Of what `doctor` makes to look inside, and removes again.
pub const DOCTOR: &str = "caravan.doctor";
/// Of what a command runs in, inside a project's networks: the project. It ends with the command.
pub const INSIDE: &str = "caravan.inside";

/// The project of a container with these labels. An image that `docker compose` built labels every
/// container made from it with project and service: only a container with a number and a
/// configuration hash was made by Compose or by Caravan.
pub fn project<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<&'a String> {
    label(NUMBER)?;
    label(COMPOSE_HASH)?;
    label(PROJECT)
}

/// What [`VERSION`] begins with on all that any Caravan made.
pub const VERSION_PREFIX: &str = "caravan-";
/// What stands in [`VERSION`].
pub const THIS_VERSION: &str = concat!("caravan-", env!("CARGO_PKG_VERSION"));
