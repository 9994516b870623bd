//! For tests, here and in the crates above: declarations in temporary directories, the shipped
//! pipeline, and pages of docs/ that are generated from code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    Condition, Dependency, ImageFrom, LetterHeaders, Origin, Pipeline, PullPolicy, Request,
    Restart, Runtime, Service, Source, locate,
};
use diagnostics::{Error, Result};

/// The shipped pipeline; nothing but its secrets is set.
pub fn shipped() -> Pipeline {
    let mut place = Place::new();
    for name in [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ] {
        place.set(name, &format!("the-{name}"));
    }
    place.pipeline()
}

/// A directory with files, a home, and an environment that has nothing else.
pub struct Place {
    directory: TempDir,
    pub request: Request,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let cwd = directory.path().join("Shop 2");
        fs::create_dir(&cwd).expect("a working directory");
        let home = directory.path().join("home").display().to_string();
        let request = Request {
            cwd,
            env: BTreeMap::from([("HOME".to_owned(), home)]),
            ..Request::default()
        };
        Self { directory, request }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.request.cwd.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.request.env.insert(name.to_owned(), value.to_owned());
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn source(&self) -> Source {
        self.locate()
            .unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    pub fn locate(&self) -> Result<Source> {
        locate(&self.request)
    }

    pub fn pipeline(&self) -> Pipeline {
        let pipeline = self.source().resolve();
        pipeline.unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    /// An error without the directory that only this test has.
    pub fn shown(&self, error: &Error) -> String {
        let directory = self.directory.path().display().to_string();
        shown(error).replace(&directory, "")
    }

    pub fn error(&self) -> Error {
        let resolved = self.locate().and_then(|source| source.resolve());
        resolved.expect_err("something wrong")
    }
}

/// An error as a person reads it.
pub fn shown(error: &Error) -> String {
    let mut text = format!("error: {}\n", error.what);
    for line in &error.evidence {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("next: {hint}\n"));
    }
    text
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("crates/NAME is two levels below the root")
}

/// What `tests/declarations` holds.
pub fn corpus() -> PathBuf {
    repository().join("tests/declarations")
}

/// When set, [`expect_generated`] writes the pages instead of comparing them.
const WRITE: &str = "CARAVAN_WRITE_DOCS";

/// Fails the test unless the page `name` below docs/ is `text`.
pub fn expect_generated(name: &str, text: &str) {
    let path = repository().join("docs").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text).expect("the page is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/{name} is not what the code generates; update it with: \
         {WRITE}=1 cargo test --workspace"
    );
}

/// A pipeline called `shop`.
pub fn pipeline(services: Vec<Service>) -> Pipeline {
    Pipeline {
        project: "shop".to_owned(),
        origin: Origin::Embedded,
        state: Default::default(),
        services,
        inactive: Vec::new(),
        drivers: Default::default(),
        networks: Vec::new(),
        volumes: Vec::new(),
        kafka: None,
        postgres: None,
        redis: None,
        topics: Vec::new(),
        dead_letters: None,
        letter_headers: LetterHeaders::default(),
        migrations: None,
        tables: Vec::new(),
        stages: BTreeMap::new(),
        forbidden_logs: Vec::new(),
        allowed_logs: Vec::new(),
        error_logs: None,
        flow: None,
        invariants: Vec::new(),
        secrets: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A service that needs these others to be healthy.
pub fn depending(name: &str, on: &[&str]) -> Service {
    let dependency = |service: &&str| Dependency {
        service: (*service).to_owned(),
        condition: Condition::Healthy,
        required: true,
        restart: false,
    };
    Service {
        name: name.to_owned(),
        profiles: Vec::new(),
        image: format!("{name}:1"),
        build: None,
        pull_policy: PullPolicy::Missing,
        container_name: None,
        entrypoint: None,
        command: None,
        environment: BTreeMap::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
        grants: Vec::new(),
        networks: Vec::new(),
        depends_on: on.iter().map(dependency).collect(),
        healthcheck: None,
        restart: Restart::No,
        replicas: 1,
        user: None,
        working_dir: None,
        hostname: None,
        read_only: false,
        init: false,
        tmpfs: Vec::new(),
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        labels: BTreeMap::new(),
        logging: None,
        stop_grace_period: None,
        stop_signal: None,
        mem_limit: None,
        pids_limit: None,
        shm_size: None,
        extra_hosts: Vec::new(),
        runtime: Runtime::default(),
        image_from: ImageFrom::Registry,
        ready: None,
        startup: None,
        effect: None,
        http: None,
        group: None,
        consumes: Vec::new(),
        emits: Vec::new(),
        writes: Vec::new(),
        calls: Vec::new(),
        stages: Vec::new(),
    }
}
