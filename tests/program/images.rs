//! A host without a network: one file brings all images, and `up` asks nobody for anything.

use std::fs;

use crate::support::small::Small;

#[test]
fn a_host_without_a_network_gets_one_file() {
    let small = Small::declared("images");
    small.caravan(&["images", "build"]).expect(0);
    let listed = small
        .caravan(&["images", "list", "-o", "json"])
        .expect(0)
        .json();
    let images = listed["images"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{listed:#}");
    assert_eq!(
        (&images[0]["from"], &images[1]["from"]),
        (&"self".into(), &"local".into())
    );
    small.caravan(&["up"]).expect(0);
    let running = small.web();

    let saved = small.caravan(&["images", "save", "images.tar"]).expect(0);
    assert!(
        saved.stderr.contains("images load images.tar"),
        "{}",
        saved.stderr
    );
    let files = fs::read_dir(small.path("")).unwrap();
    let names: Vec<_> = files.map(|f| f.unwrap().file_name()).collect();
    assert!(
        !names.iter().any(|n| n.to_string_lossy().ends_with(".tmp")),
        "{names:?}"
    );

    // Its name is gone, not what runs from it: loading brings back the very same image.
    small.docker(&["rmi", "-f", &small.image]);
    let missing = small.caravan(&["up"]).expect(1);
    assert!(
        missing.stderr.contains("images load FILE"),
        "{}",
        missing.stderr
    );
    let loaded = small.caravan(&["images", "load", "images.tar"]).expect(0);
    assert!(loaded.stdout.contains(&small.image), "{}", loaded.stdout);
    small.caravan(&["up"]).expect(0);
    assert_eq!(small.web(), running, "what runs is kept");

    // Nothing of it is left, as on another host.
    small.caravan(&["down"]).expect(0);
    small.docker(&["rmi", "-f", &small.image]);
    small.caravan(&["images", "load", "images.tar"]).expect(0);
    small.caravan(&["up"]).expect(0);
    assert!(small.web().trim().ends_with("true"));

    let whole = fs::read(small.path("images.tar")).unwrap();
    fs::write(small.path("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    let cut = small.caravan(&["images", "load", "cut.tar"]).expect(2);
    assert!(cut.stderr.contains("truncated"), "{}", cut.stderr);
    small.caravan(&["images", "load", "nowhere.tar"]).expect(2);
    small
        .caravan(&["images", "save", "nowhere/images.tar"])
        .expect(2);
}
