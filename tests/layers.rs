//! Dependencies point one way: `domain` ← `render`, `store`, `outbound` ← `actors` ← `cluster` ←
//! `http` ← `app`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may use of the crate, besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("render", &["domain"]),
    (
        "store",
        &["domain", "clock", "config", "crash_point", "json"],
    ),
    ("outbound", &["domain", "clock", "config"]),
    (
        "actors",
        &[
            "domain",
            "render",
            "store",
            "outbound",
            "clock",
            "config",
            "crash_point",
        ],
    ),
    ("cluster", &["domain", "store", "actors", "clock", "config"]),
    (
        "http",
        &[
            "domain", "render", "store", "outbound", "actors", "cluster", "clock", "config", "json",
        ],
    ),
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The modules named by `crate::…` in a source text, comments left out, groups opened.
fn used_modules(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let boundary = code[..at]
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '$');
        if !boundary {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split("};").next().unwrap_or_default();
            let mut depth = 0_usize;
            let mut name = String::new();
            for c in group.chars().chain([',']) {
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    ',' if depth == 0 => {
                        let first = name.trim().split("::").next().unwrap_or_default();
                        used.push(first.to_owned());
                        name.clear();
                    }
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
        } else {
            used.push(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn no_layer_uses_one_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (layer, allowed) in LAYERS {
        let files = rust_files(&source.join(layer));
        assert!(!files.is_empty(), "the layer {layer} is gone");
        for file in files {
            for module in used_modules(&fs::read_to_string(&file).unwrap()) {
                if module != *layer && !allowed.contains(&module.as_str()) {
                    wrong.push(format!("{} uses crate::{module}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_use_that_points_the_wrong_way_is_seen() {
    assert_eq!(used_modules("use crate::http::router;"), ["http"]);
    assert_eq!(
        used_modules("use crate::{actors::{root, pool}, http};"),
        ["actors", "http"]
    );
    assert_eq!(
        used_modules("let x = crate::app::start(); // crate::cli"),
        ["app"]
    );
}
