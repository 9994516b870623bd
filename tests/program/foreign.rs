//! Another team's pipeline: examples/orders, whose workers are Node's, which publishes no port and
//! knows nothing of Caravan. It is brought up, proven, and broken in ten ways; docs/faults.md is what
//! `verify` said of each.

mod faults;
mod shop;

use std::{fmt::Write as _, path::Path, time::Duration};

use faults::{FAULTS, Fault};
use shop::{Red, Shop};

/// Two shops share the faults.
const SHOPS: usize = 2;

#[test]
fn another_teams_pipeline_is_proven_and_each_of_ten_faults_is_found() {
    let seen: Vec<_> = std::thread::scope(|scope| {
        let shops: Vec<_> = (0..SHOPS)
            .map(|n| scope.spawn(move || proven_and_broken(n)))
            .collect();
        shops
            .into_iter()
            .flat_map(|shop| shop.join().unwrap())
            .collect()
    });
    let mut seen: Vec<(usize, Vec<Red>)> = seen;
    seen.sort_by_key(|(n, _)| *n);
    expect_in_the_docs(&seen);
}

/// Faults by their number, with what was not green because of each.
fn proven_and_broken(number: usize) -> Vec<(usize, Vec<Red>)> {
    let shop = Shop::up(&format!("shop-{number}"));
    match number {
        0 => it_is_proven(&shop),
        _ => shop.expect_green(),
    }
    let own = FAULTS
        .iter()
        .enumerate()
        .filter(|(n, _)| n % SHOPS == number);
    own.map(|(n, fault)| {
        (fault.seed)(&shop);
        let red = expect_red(&shop, fault);
        (fault.heal)(&shop);
        shop.expect_green();
        (n, red)
    })
    .collect()
}

fn it_is_proven(shop: &Shop) {
    let published = format!("label=com.docker.compose.project={}", shop.project);
    let ports = shop.docker(&["ps", "--filter", &published, "--format", "{{.Ports}}"]);
    assert!(!ports.contains("->"), "{ports}");
    shop.expect_green();

    let flow = shop.caravan(&["test-flow", "-o", "json"]).expect(0).json();
    assert_eq!(flow["status"], "pass", "{flow:#}");
    assert_eq!(flow["cleanup"]["outcome"], "deleted", "{flow:#}");
    for table in ["orders", "reservations", "invoices", "mails"] {
        assert_eq!(
            shop.sql(&format!("SELECT count(*) FROM {table}")),
            "0",
            "{table}"
        );
    }
    let many = ["test-flow", "--direct", "--count", "20", "-o", "json"];
    let many = shop.caravan(&many).expect(0).json();
    let hops = many["hops"].as_array().unwrap();
    assert!(
        hops.len() >= 6 && hops.iter().all(|hop| hop["seen"] == 20),
        "{many:#}"
    );

    let order = shop.order("a customer");
    shop.expect_mailed(&order);
    let unchanged = shop
        .caravan(&["up", "--dry-run", "-o", "json"])
        .expect(0)
        .json();
    let actions: Vec<_> = unchanged["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["action"])
        .collect();
    assert!(
        actions.iter().all(|action| **action == "keep"),
        "{unchanged:#}"
    );
}

/// Waits until exactly the fault's findings are no pass.
#[track_caller]
fn expect_red(shop: &Shop, fault: &Fault) -> Vec<Red> {
    let mut expected: Vec<_> = fault
        .roots
        .iter()
        .map(|id| ((*id).to_owned(), None))
        .collect();
    expected.extend(
        fault
            .follow
            .iter()
            .map(|(id, cause)| ((*id).to_owned(), Some((*cause).to_owned()))),
    );
    expected.sort();
    let began = std::time::Instant::now();
    loop {
        let (ran, red) = shop.verify();
        let mut seen: Vec<_> = red
            .iter()
            .map(|r| (r.id.clone(), r.cause.clone()))
            .collect();
        seen.sort();
        if seen == expected {
            let is_failure = red.iter().any(|r| r.status == "fail");
            assert_eq!(ran.code, i32::from(is_failure), "{}", fault.name);
            return red;
        }
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{}: expected {expected:#?}\nbut saw {red:#?}",
            fault.name
        );
    }
}

/// The table in the docs is what this test saw. `CARAVAN_WRITE_DOCS=1` writes it.
fn expect_in_the_docs(seen: &[(usize, Vec<Red>)]) {
    let mut table = "| fault | what says so | what follows from it |\n|---|---|---|\n".to_owned();
    for (n, red) in seen {
        let fault = &FAULTS[*n];
        let (roots, follow): (Vec<_>, Vec<_>) = red.iter().partition(|r| r.cause.is_none());
        let root = |r: &&Red| format!("`{}`: {}", r.id, r.said());
        let roots: Vec<_> = roots.iter().map(root).collect();
        let follow: Vec<_> = follow.iter().map(|r| format!("`{}`", r.id)).collect();
        writeln!(
            table,
            "| {} | {} | {} |",
            fault.name,
            roots.join("<br>"),
            follow.join("<br>")
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("| fault |").unwrap();
    let (_, tail) = rest.split_once("\n\n").unwrap();
    let now = format!("{head}{table}\n{tail}");
    if std::env::var_os("CARAVAN_WRITE_DOCS").is_some() {
        return std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(
        page, now,
        "docs/faults.md is not what was seen: CARAVAN_WRITE_DOCS=1 writes it"
    );
}
