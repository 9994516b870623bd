//! Another team's pipeline: examples/orders, whose workers are Node's, which publishes no port and
//! knows nothing of Caravan. It is brought up, proven, and broken in many ways; docs/faults.md is what
//! `verify` said of each.

mod faults;
mod shop;

use crate::support::{
    eventually, eventually_ok,
    fault_records::{self, Red},
    shared::{Lease, lease, lease_fresh},
    terminal::Session,
};
use faults::Fault;
use shop::Shop;

/// A shop that is green, whose groups have committed something; each scenario leaves it so.
fn deployed() -> Lease<Shop> {
    let shop = lease("shop", Shop::up);
    if shop.sql("SELECT count(*) FROM mails") == "0" {
        let order = shop.order("the first one");
        shop.expect_mailed(&order);
    }
    shop.expect_green();
    shop
}

/// A shop that nobody has ordered from.
fn fresh() -> Lease<Shop> {
    lease_fresh("shop", Shop::up)
}

/// Brings the faults of a scene about, records what `verify` says of them, and puts them right.
fn each_is_found_and_healed(shop: &Shop, scene: &[Fault]) {
    scene.iter().for_each(|fault| (fault.seed)(shop));
    let red = expect_red(shop, scene);
    scene.iter().for_each(|fault| (fault.heal)(shop));
    shop.expect_green();
    for fault in scene {
        record(shop, fault, &red);
    }
}

/// For docs/faults.md: what of `red` the fault's roots account for.
fn record(shop: &Shop, fault: &Fault, red: &[Red]) {
    let is_of = |id: &str| fault.roots.contains(&id);
    let of_fault = red
        .iter()
        .filter(|r| is_of(&r.id) || r.cause.as_deref().is_some_and(is_of))
        .filter(|r| is_of(&r.id) || !fault.silences(&r.id));
    let of_fault: Vec<_> = of_fault.collect();
    let table = "another team's pipeline";
    fault_records::record(table, &shop.project, fault.name, &of_fault, fault.silenced);
}

/// Inside the pipeline's network, too, progress is erased before the result is written.
#[test]
fn no_progress_is_left_on_the_terminal() {
    const ERASE: &str = "\x1b[2K";
    let shop = &deployed();
    for (args, result) in [
        (&["verify"][..], "checks passed in"),
        (&["test-flow"], "order ord_"),
    ] {
        let mut command = shop.command(args);
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut session = Session::sized(80, 24, &command);
        assert_eq!(session.ended(), 0, "{}", session.screen());
        session.expect(result);
        let screen = session.screen();
        let (drawn, shown) = (screen.find(ERASE), screen.find(result));
        assert!(drawn < shown && drawn.is_some(), "{screen:?}");
        assert!(screen.rfind(ERASE) < shown, "{screen:?}");
    }
}

#[test]
fn it_is_proven() {
    let shop = &deployed();
    let published = format!("label=com.docker.compose.project={}", shop.project);
    let ports = shop.docker(&["ps", "--filter", &published, "--format", "{{.Ports}}"]);
    assert!(!ports.contains("->"), "{ports}");
    shop.expect_green();

    const TABLES: [&str; 4] = ["orders", "reservations", "invoices", "mails"];
    let rows = |table| shop.sql(&format!("SELECT count(*) FROM {table}"));
    let before = TABLES.map(rows);
    let flow = shop.caravan(&["test-flow", "-o", "json"]).expect(0).json();
    assert_eq!(flow["status"], "pass", "{flow:#}");
    assert_eq!(flow["cleanup"]["outcome"], "deleted", "{flow:#}");
    assert_eq!(TABLES.map(rows), before);
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

/// A group of KIP-848's protocol is judged as any other. Kafka's own console consumer speaks it; it runs
/// in the container of `kafka`, which is declared to be that group's worker.
#[test]
fn a_group_of_the_new_protocol_is_judged() {
    let shop = &deployed();
    let own = "x-caravan: {image-from: kafka, ready: kafka";
    let grouped = format!("{own}, group: next-generation, consumes: [orders.placed]");
    let declared = [(own, grouped.as_str())];
    let kafka = shop.container("kafka");
    let consumer = "echo $$ > /tmp/consumer; exec kafka-console-consumer --topic orders.placed \
        --from-beginning --bootstrap-server kafka:9092 --group next-generation \
        --consumer-property group.protocol=consumer > /dev/null";
    shop.docker(&["exec", "-d", &kafka, "sh", "-c", consumer]);
    let red = |shop: &Shop| {
        let red = Red::all(&shop.verify(&declared).json()).into_iter();
        red.map(|red| red.id).collect::<Vec<_>>()
    };
    // Kafka's container is not what `up` would make of that declaration.
    let drift = "containers.kafka.as-declared";
    eventually("it holds all, and has committed", || {
        (red(shop) == [drift]).then_some(())
    });
    let groups = shop.caravan(&["groups", "-o", "json"]).expect(0).json();
    let group = |name: &str| {
        let groups = groups["groups"].as_array().unwrap().iter();
        groups.clone().find(|g| g["name"] == name).unwrap().clone()
    };
    assert_eq!(group("next-generation")["protocol"], "consumer");
    assert_eq!(group("next-generation")["state"], "Stable");
    assert_eq!(group("lantern.stock")["protocol"], "classic");
    shop.docker(&["exec", &kafka, "sh", "-c", "kill $(cat /tmp/consumer)"]);
    eventually("nobody holds anything", || {
        (red(shop) == [drift, "groups.kafka.assigned"]).then_some(())
    });
}

/// Waits until exactly the findings of the scene's faults are no pass.
#[track_caller]
fn expect_red(shop: &Shop, scene: &[Fault]) -> Vec<Red> {
    let names: Vec<_> = scene.iter().map(|fault| fault.name).collect();
    let declared: Vec<_> = scene.iter().flat_map(|f| f.declared).copied().collect();
    eventually_ok(|| {
        let ran = shop.verify(&declared);
        let document = ran.json();
        let red = Red::all(&document);
        let mut seen: Vec<_> = red
            .iter()
            .map(|r| (r.id.clone(), r.cause.clone()))
            .collect();
        seen.sort();
        let all = document["findings"].as_array().unwrap();
        let expected = expected(scene, all.iter().map(|f| f["id"].as_str().unwrap()));
        if seen == expected {
            let is_failure = red.iter().any(|r| r.status == "fail");
            assert_eq!(ran.code, i32::from(is_failure), "{names:?}");
            return Ok(red);
        }
        Err(format!(
            "{names:?}: expected {expected:#?}\nbut saw {red:#?}"
        ))
    })
}

/// Ids and causes of all that is to be no pass, of the `ids` that there are.
fn expected<'a>(
    scene: &[Fault],
    ids: impl Iterator<Item = &'a str>,
) -> Vec<(String, Option<String>)> {
    let ids: Vec<_> = ids.collect();
    let mut expected = Vec::new();
    for fault in scene {
        let roots = fault.roots.iter().map(|id| ((*id).to_owned(), None));
        let follow = fault.follow.iter();
        let follow = follow.map(|(id, cause)| ((*id).to_owned(), Some((*cause).to_owned())));
        let silenced = ids.iter().filter(|id| fault.silences(id));
        let silenced = silenced.map(|id| ((*id).to_owned(), Some(fault.roots[0].to_owned())));
        expected.extend(roots.chain(follow).chain(silenced));
    }
    expected.sort();
    expected
}
