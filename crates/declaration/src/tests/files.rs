//! Location of the declaration, its project name, and its `.env` and state directory.

use crate::testing::{TestDirectory, shown};
use crate::{Origin, VariableSource};

const PLAIN: &str = "services: {app: {image: app}}\n";
const OURS: &str = "x-caravan: {}\nservices: {app: {image: ours}}\n";

fn image(place: &TestDirectory) -> String {
    place.pipeline().services[0].image.clone()
}

#[test]
fn the_first_default_name_with_x_caravan_is_used() {
    let place = TestDirectory::new();
    place.write("compose.yaml", PLAIN);
    place.write("docker-compose.yml", &OURS.replace("ours", "last"));
    assert_eq!(image(&place), "last");
    place.write("compose/compose.yaml", OURS);
    assert_eq!(
        image(&place),
        "last",
        "what lies here goes before what lies below"
    );
    place.write("compose.yml", &OURS.replace("ours", "second"));
    assert_eq!(image(&place), "second");
    let path = place.path("compose.yml");
    assert_eq!(place.source().origin, Origin::Files(vec![path]));
}

#[test]
fn compose_files_without_x_caravan_are_ignored_even_if_invalid() {
    let place = TestDirectory::new();
    place.write("compose.yaml", "services: [broken\n");
    place.write("docker-compose.yaml", "# no x-caravan here\nservices: {}\n");
    assert_eq!(place.source().origin, Origin::Embedded);
}

#[test]
fn an_invalid_file_with_x_caravan_is_an_error() {
    let place = TestDirectory::new();
    place.write("compose.yaml", "x-caravan: [broken\nservices: {}\n");
    let error = place.locate().err().expect("a broken file");
    assert!(error.what.starts_with("compose.yaml:"), "{}", error.what);
}

#[test]
fn named_files_are_merged_and_need_no_x_caravan() {
    let mut place = TestDirectory::new();
    place.write(
        "base.yaml",
        "services: {app: {image: a, ports: ['1:1'], labels: {x: '1'}}}\n",
    );
    place.write(
        "over/over.yaml",
        "services: {app: {image: b, ports: ['2:2']}, more: {image: c}}\n",
    );
    place.request.files = vec!["base.yaml".into(), "over/../over/over.yaml".into()];
    let pipeline = place.pipeline();
    let app = &pipeline.services[0];
    assert_eq!((app.image.as_str(), app.ports.len()), ("b", 2));
    assert_eq!(app.labels["x"], "1");
    assert_eq!(pipeline.services[1].name, "more");
    let files = vec![place.path("base.yaml"), place.path("over/over.yaml")];
    assert_eq!(pipeline.origin, Origin::Files(files));
    assert_eq!(place.source().state_dir(), place.request.cwd);
}

#[test]
fn an_error_in_an_overlay_names_the_overlay() {
    let mut place = TestDirectory::new();
    place.write("base.yaml", PLAIN);
    place.write("over.yaml", "services:\n  app:\n    prots: []\n");
    place.request.files = vec!["base.yaml".into(), "over.yaml".into()];
    let error = place.error();
    assert!(error.what.starts_with("over.yaml:3:5: "), "{}", error.what);
}

#[test]
fn a_missing_named_file_is_an_error() {
    let mut place = TestDirectory::new();
    place.request.files = vec!["nowhere.yaml".into()];
    assert_eq!(place.error().what, "no such Compose file: nowhere.yaml");
}

#[test]
fn the_projects_name_comes_from_flag_environment_file_directory_in_this_order() {
    let mut place = TestDirectory::new();
    place.write("compose.yaml", OURS);
    assert_eq!(place.source().project(), "shop2");
    place.write("compose.yaml", &format!("name: ${{NAME:-filed}}\n{OURS}"));
    assert_eq!(place.source().project(), "filed");
    place.write(".env", "COMPOSE_PROJECT_NAME=dotted\n");
    assert_eq!(place.source().project(), "dotted");
    place.set("COMPOSE_PROJECT_NAME", "exported");
    assert_eq!(place.source().project(), "exported");
    place.request.project = Some("flagged".to_owned());
    assert_eq!(place.source().project(), "flagged");
    place.request.project = Some("Not A Name".to_owned());
    assert!(shown(&place.error()).contains("-p/--project"));
}

#[test]
fn the_embedded_pipelines_state_is_in_the_users_state_home() {
    let mut place = TestDirectory::new();
    let expected = place.home().join(".local/state/caravan/kodingcaravan");
    assert_eq!(place.source().state_dir(), expected);
    assert_eq!(place.source().env_path(), expected.join(".env"));
    place.set("XDG_STATE_HOME", "/var/lib/states");
    place.request.project = Some("other".to_owned());
    assert_eq!(
        place.source().state_dir().display().to_string(),
        "/var/lib/states/caravan/other"
    );
    place.request.env.clear();
    assert!(shown(&place.locate().err().expect("no home")).contains("XDG_STATE_HOME"));
}

#[test]
fn the_environment_overrides_the_file_of_variables() {
    let mut place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\nservices: {app: {image: 'a:${TAG:-0}'}}\n",
    );
    assert_eq!(image(&place), "a:0");
    place.write(".env", "TAG=1\n");
    assert_eq!(image(&place), "a:1");
    place.write("other.env", "TAG=2\n");
    place.request.env_file = Some("other.env".into());
    assert_eq!(image(&place), "a:2");
    place.set("TAG", "3");
    assert_eq!(image(&place), "a:3");
    place.request.env_file = Some("none.env".into());
    assert!(place.error().what.ends_with("none.env does not exist"));
}

#[test]
fn an_unset_variable_is_empty_with_one_warning() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\nx-shared: &shared {A: '$MISSING'}\n\
         services:\n  a: {image: a, environment: *shared}\n  b: {image: 'b$MISSING', environment: *shared}\n",
    );
    let pipeline = place.pipeline();
    assert_eq!(
        pipeline.warnings,
        ["the variable MISSING is not set; an empty string is used"]
    );
    assert_eq!(pipeline.services[1].image, "b");
}

#[test]
fn files_of_variables_are_read_once() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\nservices: {web: {image: web, environment: {A: '${A}', P: '${P}'}}}",
    );
    place.write(".env", "A=1\n");
    place.write(".env.shop2", "P=1\n");
    let source = place.source();
    let values = || {
        let pipeline = source.resolve().expect("resolves");
        let environment = &pipeline.services[0].environment;
        (environment["A"].clone(), environment["P"].clone())
    };
    place.write(".env", "A=2\n");
    place.write(".env.shop2", "P=2\n");
    assert_eq!(values(), ("1".to_owned(), "1".to_owned()));
    assert!(
        source.reload().expect("readable"),
        "they say something else"
    );
    assert_eq!(values(), ("2".to_owned(), "2".to_owned()));
    assert!(!source.reload().expect("readable"), "nothing changed");
}

#[test]
fn a_variable_that_was_set_takes_effect_without_another_read() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {secrets: [S]}\nservices:\n  \
         web: {image: web, ports: ['${P:-80}:80'], environment: {A: '${S}', B: '${P:-80}'}}\n",
    );
    let source = place.source();
    assert_eq!(source.missing_secrets(), ["S"]);
    let draft = source.resolve_without_secrets().expect("well declared");
    assert_eq!(draft.services[0].environment["A"], "unset");
    assert_eq!(draft.variable_ports[0].set, VariableSource::Unset);
    let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    source.set_in_env_file(&one("S", "secret"));
    source.set_in_ports_file(&one("P", "81"));
    let pipeline = source.resolve().expect("complete");
    let environment = &pipeline.services[0].environment;
    assert_eq!([&environment["A"], &environment["B"]], ["secret", "81"]);
    let port = &pipeline.variable_ports[0];
    assert_eq!((port.number, port.set), (81, VariableSource::PortsFile));
}

#[test]
fn the_override_file_is_laid_over_the_default_file() {
    let mut place = TestDirectory::new();
    place.write("docker-compose.yml", OURS);
    place.write(
        "docker-compose.override.yml",
        "services: {app: {image: overridden}}\n",
    );
    assert_eq!(image(&place), "overridden");
    let files = ["docker-compose.yml", "docker-compose.override.yml"];
    let files = files.map(|name| place.path(name)).to_vec();
    assert_eq!(place.source().origin, Origin::Files(files));
    place.request.files = vec!["docker-compose.yml".into()];
    assert_eq!(image(&place), "ours", "-f names all files");
}

#[test]
fn compose_file_names_the_files() {
    let mut place = TestDirectory::new();
    place.write("compose.yaml", OURS);
    place.write("a.yaml", "services: {app: {image: a, user: a}}\n");
    place.write("b.yaml", "services: {app: {image: b}}\n");
    place.write(".env", "COMPOSE_FILE=a.yaml:b.yaml\n");
    assert_eq!(image(&place), "b");
    place.set("COMPOSE_FILE", "b.yaml|a.yaml");
    place.set("COMPOSE_PATH_SEPARATOR", "|");
    assert_eq!(image(&place), "a");
    place.request.files = vec!["compose.yaml".into()];
    assert_eq!(image(&place), "ours", "-f goes before it");
}

#[test]
fn an_included_file_has_the_variables_of_its_directory() {
    let mut place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\ninclude: [infra/compose.yaml]\nservices: {app: {image: 'app:${TAG:-own}'}}\n",
    );
    place.write("infra/.env", "TAG=infra\nPRICE=5$$\n");
    place.write(
        "infra/compose.yaml",
        "services: {db: {image: 'db:${TAG}', environment: {PRICE: '${PRICE}'}}}\n",
    );
    let pipeline = place.pipeline();
    let service = |name: &str| pipeline.service(name).expect("it is there");
    assert_eq!(service("app").image, "app:own");
    assert_eq!(service("db").image, "db:infra");
    assert_eq!(service("db").environment["PRICE"], "5$");
    place.set("TAG", "outer");
    assert_eq!(place.pipeline().services[0].image, "app:outer");
}

#[test]
fn what_is_included_and_declared_must_be_equal() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\ninclude:\n  - other.yaml\nservices: {app: {image: app}}\n",
    );
    place.write("other.yaml", "services:\n  app:\n    image: app\n");
    assert_eq!(image(&place), "app");
    place.write("other.yaml", "services: {app: {image: other}}\n");
    let error = place.error().what;
    assert!(
        error.starts_with("compose.yaml:3:5: include[0]: services.app"),
        "{error}"
    );
}

#[test]
fn a_fault_in_an_included_file_names_that_file() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\ninclude: [infra/db.yaml]\nservices: {}\n",
    );
    place.write(
        "infra/db.yaml",
        "services:\n  db: {image: db, extends: {file: base.yaml, service: b}}\n",
    );
    place.write("infra/base.yaml", "services:\n  b:\n    prots: []\n");
    let error = place.error().what;
    assert!(
        error.starts_with("infra/base.yaml:3:5: services.db.prots"),
        "{error}"
    );
}
