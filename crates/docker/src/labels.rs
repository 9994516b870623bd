//! Labels of Docker objects. Compose's labels make `docker compose ps`, `logs`, `stop` and `down` work
//! on Caravan's containers. Caravan compares its own labels to decide what to change.

/// The project that an object belongs to.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
/// The service of a container.
pub(crate) const SERVICE: &str = "com.docker.compose.service";
/// A container's number among its service's replicas, from 1.
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
/// Version of Compose that created the object; for Caravan's objects [`THIS_VERSION`].
pub(crate) const VERSION: &str = "com.docker.compose.version";
/// Directory of the first Compose file.
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The Compose files, comma separated.
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// `True` on containers of `docker compose run`.
pub(crate) const ONEOFF: &str = "com.docker.compose.oneoff";
/// Compose's configuration hash. Compose ignores containers without it. Caravan stores its own hash
/// here, so `docker compose up` recreates the container.
pub(crate) const COMPOSE_HASH: &str = "com.docker.compose.config-hash";
/// Dependencies of the service: `kafka:service_healthy:false,…`
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Id of the image that the container was created from.
pub(crate) const IMAGE: &str = "com.docker.compose.image";
/// Value of [`CONFIG_FILES`] for the pipeline that Caravan ships.
pub(crate) const EMBEDDED: &str = "embedded";
/// Key of a network in the declaration.
pub(crate) const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume in the declaration.
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
/// Hash of the configuration that a container was created with, without its image.
pub(crate) const HASH: &str = "caravan.config-hash";
/// On a replica that `caravan scale` added to the declared ones: `up` does not remove it.
pub(crate) const SCALED: &str = "caravan.scaled";
/// Digest of the secrets and configs that are mounted into a container. [`HASH`] does not cover
/// their content.
pub(crate) const SECRETS_DIGEST: &str = "caravan.grants";
/// On a container: the directory with the project's `.env`, chosen ports and written secrets.
pub(crate) const STATE_DIR: &str = "caravan.state-dir";
/// On a container that was created with `--env-file`: that file.
pub(crate) const ENV_FILE: &str = "caravan.env-file";
/// On a container that `docker compose` created: the files of its `--env-file`, comma separated.
pub(crate) const COMPOSE_ENV_FILE: &str = "com.docker.compose.project.environment_file";
/// On an image that was built for a service: its project. Caravan's images have no Compose labels,
/// because every container inherits the labels of its image.
pub(crate) const BUILT_PROJECT: &str = "caravan.project";
/// On an image that was built for a service: the service.
pub(crate) const BUILT_SERVICE: &str = "caravan.service";
/// On an image that was built for a service: the version of Caravan.
pub(crate) const BUILT_VERSION: &str = "caravan.version";
/// On an image that Caravan built: hash of its template and base image, or of its build context and
/// options.
pub(crate) const CONTENT: &str = "caravan.content";
/// On a volume: the image of the service that it was created for.
pub(crate) const VOLUME_IMAGE: &str = "caravan.image";
/// On objects that `doctor` creates for its checks and removes again.
pub(crate) const DOCTOR: &str = "caravan.doctor";
/// On the temporary container in which a command runs in a project's networks: the project.
pub(crate) const INSIDE: &str = "caravan.inside";

/// The project of a container with these labels. Containers inherit the project and service labels of
/// an image that `docker compose` built. Only a container with a number and a configuration hash was
/// created by Compose or Caravan.
pub(crate) fn project<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<&'a String> {
    label(NUMBER)?;
    label(COMPOSE_HASH)?;
    label(PROJECT)
}

/// Value of [`VERSION`] on objects that this version creates.
pub(crate) const THIS_VERSION: &str = concat!("caravan-", env!("CARGO_PKG_VERSION"));
