//! Dependencies point one way (architecture, section 3): pure libraries know nothing of I/O, libraries around one
//! outside system know the pure ones, services know those, and only the binary knows the services.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Where a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// No I/O, no clock, no chance.
    Pure,
    /// Around one outside system.
    Library,
    /// The tables, known to `store` and to whoever migrates.
    Migrations,
    /// The API: messages, and the client made from them.
    Proto,
    Client,
    Service,
    Binary,
    /// Never part of what users run.
    TestOnly,
}

/// Every crate of the workspace stands here.
const LAYERS: &[(&str, Layer)] = &[
    ("windhover-types", Layer::Pure),
    ("windhover-flow", Layer::Pure),
    ("windhover-expression", Layer::Pure),
    ("windhover-engine", Layer::Pure),
    ("windhover-alerting", Layer::Pure),
    ("windhover-store", Layer::Library),
    ("windhover-queue", Layer::Library),
    ("windhover-storage", Layer::Library),
    ("windhover-outbound", Layer::Library),
    ("windhover-tasks", Layer::Library),
    ("windhover-telemetry", Layer::Library),
    ("windhover-migrations", Layer::Migrations),
    ("windhover-proto", Layer::Proto),
    ("windhover-client", Layer::Client),
    ("windhover-gateway", Layer::Service),
    ("windhover-executor", Layer::Service),
    ("windhover-worker", Layer::Service),
    ("windhover-scheduler", Layer::Service),
    ("windhover-alerter", Layer::Service),
    ("windhover-shipper", Layer::Service),
    ("windhover", Layer::Binary),
    ("windhover-testkit", Layer::TestOnly),
    ("windhover-faults", Layer::TestOnly),
    ("windhover-conformance", Layer::TestOnly),
    ("windhover-loadtest", Layer::TestOnly),
];

/// What reads a socket, a file of somebody else, a clock's alarm or chance. A pure crate names none of these.
const OUTSIDE: &[&str] = &[
    "async-std",
    "axum",
    "fastrand",
    "fred",
    "getrandom",
    "hyper",
    "hyper-util",
    "mio",
    "object_store",
    "rand",
    "redis",
    "reqwest",
    "rustls",
    "sea-orm",
    "sea-orm-migration",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tower",
    "tower-http",
    "tracing-subscriber",
    "ureq",
    "uuid",
];

/// Neighbours in one layer that may know each other: whoever stands first knows the second.
const NEIGHBOURS: &[(&str, &str)] = &[
    // The gateway hands what it accepts to the executor of its process.
    ("windhover-gateway", "windhover-executor"),
    // A scheduler reads flows and renders templates as the executor does; the gateway changes triggers by its rules.
    ("windhover-scheduler", "windhover-executor"),
    ("windhover-gateway", "windhover-scheduler"),
    // Tasks call out through the one HTTP client.
    ("windhover-tasks", "windhover-outbound"),
    // … and keep files in the one internal storage.
    ("windhover-tasks", "windhover-storage"),
];

fn layer(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

fn is_ours(name: &str) -> bool {
    name == "windhover" || name.starts_with("windhover-")
}

/// Why `from` must not depend on `on`; `None` when it may.
fn objection(from: &str, on: &str) -> Option<String> {
    let Some(of) = layer(from) else {
        return Some(format!("{from} has no place in the table of layers"));
    };
    if !is_ours(on) {
        let wrong = of == Layer::Pure && OUTSIDE.contains(&on);
        return wrong.then(|| format!("{from} is pure and depends on {on}"));
    }
    let Some(to) = layer(on) else {
        return Some(format!("{on} has no place in the table of layers"));
    };
    let allowed = match (of, to) {
        (Layer::TestOnly, _) => true,
        (_, Layer::TestOnly | Layer::Binary) => false,
        (Layer::Binary, _) => true,
        (Layer::Service, to) => matches!(to, Layer::Pure | Layer::Library | Layer::Proto),
        (Layer::Library, Layer::Migrations) => from == "windhover-store",
        (Layer::Library | Layer::Pure, to) => to == Layer::Pure,
        (Layer::Client, to) => to == Layer::Proto,
        (Layer::Proto | Layer::Migrations, _) => false,
    };
    let allowed = allowed || NEIGHBOURS.contains(&(from, on));
    (!allowed).then(|| format!("{from} ({of:?}) must not depend on {on} ({to:?})"))
}

fn objections(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found: Vec<String> =
        dependencies.iter().flat_map(|(from, all)| all.iter().filter_map(|on| objection(from, on))).collect();
    found.extend(dependencies.keys().filter(|name| layer(name).is_none()).map(|name| format!("{name} has no layer")));
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_crates_of_the_workspace_depend_only_on_what_their_layer_allows() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let dependencies: BTreeMap<String, Vec<String>> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            // What a crate's tests use is not part of it.
            let built = package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development);
            (package.name.to_string(), built.map(|one| one.name.clone()).collect())
        })
        .collect();
    assert!(dependencies.contains_key("windhover-engine"), "the workspace was not found: {dependencies:?}");
    let objections = objections(&dependencies);
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn what_would_break_the_layers_is_found() {
    for (from, on) in [
        ("windhover-engine", "tokio"),
        ("windhover-types", "rand"),
        ("windhover-flow", "windhover-store"),
        ("windhover-queue", "windhover-store"),
        ("windhover-queue", "windhover-migrations"),
        ("windhover-outbound", "windhover-tasks"),
        ("windhover-tasks", "windhover-worker"),
        ("windhover-executor", "windhover-gateway"),
        ("windhover-worker", "windhover-executor"),
        ("windhover-gateway", "windhover-migrations"),
        ("windhover-gateway", "windhover-testkit"),
        ("windhover", "windhover-testkit"),
        ("windhover-store", "windhover-testkit"),
        ("windhover-worker", "windhover"),
        ("windhover-client", "windhover-types"),
        ("windhover-proto", "windhover-types"),
        ("windhover-engine", "windhover-newcomer"),
        ("windhover-newcomer", "serde"),
    ] {
        assert!(objection(from, on).is_some(), "{from} on {on}");
    }
    for (from, on) in [
        ("windhover-engine", "windhover-flow"),
        ("windhover-engine", "serde"),
        ("windhover-store", "windhover-migrations"),
        ("windhover-store", "tokio"),
        ("windhover-gateway", "windhover-executor"),
        ("windhover", "windhover-gateway"),
        ("windhover-client", "windhover-proto"),
        ("windhover-loadtest", "windhover-testkit"),
    ] {
        assert_eq!(objection(from, on), None, "{from} on {on}");
    }
    let unknown = BTreeMap::from([("windhover-newcomer".to_owned(), Vec::new())]);
    assert_eq!(objections(&unknown), ["windhover-newcomer has no layer"]);
}
