//! The drawing of ARCHITECTURE.md, checked against what the crates really depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use cargo_metadata::{DependencyKind, Metadata};

use crate::{error::XtaskError, step::output};

/// The arrows: each crate, and the crates of ours that it may name. Arrows point down only.
const DRAWN: &[(&str, &[&str])] = &[
    ("moorgate-wire", &[]),
    ("moorgate-contract", &["moorgate-wire"]),
    ("moorgate-net", &["moorgate-contract", "moorgate-wire"]),
    ("moorgate-dns", &["moorgate-contract", "moorgate-wire"]),
    ("moorgate-keys", &[]),
    ("moorgate-tls", &["moorgate-keys", "moorgate-net"]),
    ("moorgate-fetch", &["moorgate-contract", "moorgate-net", "moorgate-tls", "moorgate-wire"]),
    ("moorgate-acme", &["moorgate-contract", "moorgate-fetch", "moorgate-keys", "moorgate-net", "moorgate-tls"]),
    ("moorgate-alarm", &["moorgate-contract", "moorgate-fetch", "moorgate-net", "moorgate-tls", "moorgate-wire"]),
    ("moorgate-proxy", &["moorgate-contract", "moorgate-net", "moorgate-tls", "moorgate-wire"]),
    (
        "moorgate-control",
        &["moorgate-acme", "moorgate-alarm", "moorgate-contract", "moorgate-dns", "moorgate-keys", "moorgate-wire"],
    ),
    ("moorgate-api", &["moorgate-contract", "moorgate-control", "moorgate-tls", "moorgate-wire"]),
    ("moorgate-console", &["moorgate-api", "moorgate-contract", "moorgate-control", "moorgate-wire"]),
    (
        "moorgate",
        &[
            "moorgate-acme",
            "moorgate-alarm",
            "moorgate-api",
            "moorgate-console",
            "moorgate-contract",
            "moorgate-control",
            "moorgate-dns",
            "moorgate-fetch",
            "moorgate-keys",
            "moorgate-net",
            "moorgate-proxy",
            "moorgate-tls",
            "moorgate-wire",
        ],
    ),
    // The benchmark's load stands beside the drawing: what measures the gateway shares nothing with it.
    ("moorgate-load", &[]),
];

/// What may not be linked, by whatever way: it could read what passes, or what passes would be its to parse.
const NEVER: &[(&str, &[&str])] = &[
    ("moorgate-net", &["rustls", "tokio-rustls", "aws-lc-rs", "aws-lc-sys", "ring", "openssl", "h2", "http", "hyper"]),
    ("moorgate-dns", &["sqlx", "rustls"]),
    ("moorgate-proxy", &["sqlx"]),
    ("moorgate-wire", &["tokio", "rustls", "aws-lc-rs"]),
];

/// One arrow that is not as drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It exists and is not drawn.
    Undrawn {
        /// Who depends.
        from: String,
        /// On what.
        to: String,
    },
    /// It is drawn and does not exist.
    Missing {
        /// Who should depend.
        from: String,
        /// On what.
        to: String,
    },
    /// A crate of ours that the drawing does not have.
    Unknown {
        /// The crate.
        name: String,
    },
    /// A library that may not be linked.
    Linked {
        /// Into what.
        from: String,
        /// The library.
        to: String,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undrawn { from, to } => write!(f, "{from} depends on {to}, and no arrow says so"),
            Self::Missing { from, to } => write!(f, "{from} does not depend on {to}, though an arrow says so"),
            Self::Unknown { name } => write!(f, "{name} is not in the drawing"),
            Self::Linked { from, to } => {
                write!(f, "{from} must not link {to}; see: cargo tree -p {from} -e normal -i {to}")
            }
        }
    }
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Checks the workspace.
///
/// # Errors
/// Every arrow that is not as drawn.
pub(crate) fn check(metadata: &Metadata) -> Result<(), XtaskError> {
    let mut wrong = wrong_arrows(&ours(metadata));
    for (from, never) in NEVER {
        wrong.extend(wrong_links(from, never, &linked(from)?));
    }
    if wrong.is_empty() { Ok(()) } else { Err(XtaskError::Arrows(wrong)) }
}

/// What each crate of ours names of our crates. Tests may name more: they see both sides.
fn ours(metadata: &Metadata) -> Graph {
    let members = metadata.workspace_packages();
    let is_ours = |name: &str| name == "moorgate" || name.starts_with("moorgate-");
    members
        .iter()
        .filter(|package| is_ours(&package.name))
        .map(|package| {
            let named =
                package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development && is_ours(&it.name));
            (package.name.to_string(), named.map(|it| it.name.clone()).collect())
        })
        .collect()
}

/// The names of all that a crate links, as the auditor's own command has them. (The graph of cargo metadata also holds
/// optional libraries that nobody switched on.)
fn linked(from: &str) -> Result<BTreeSet<String>, XtaskError> {
    let tree = output(&[
        "tree",
        "--package",
        from,
        "--edges",
        "normal",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])?;
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn wrong_arrows(found: &Graph) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (from, named) in found {
        let Some((_, drawn)) = DRAWN.iter().find(|(name, _)| name == from) else {
            wrong.push(Wrong::Unknown { name: from.clone() });
            continue;
        };
        let undrawn = named.iter().filter(|to| !drawn.contains(&to.as_str()));
        wrong.extend(undrawn.map(|to| Wrong::Undrawn { from: from.clone(), to: to.clone() }));
        let missing = drawn.iter().filter(|to| !named.contains(**to));
        wrong.extend(missing.map(|to| Wrong::Missing { from: from.clone(), to: (*to).to_owned() }));
    }
    wrong
}

fn wrong_links(from: &str, never: &[&str], linked: &BTreeSet<String>) -> Vec<Wrong> {
    let there = never.iter().filter(|library| linked.contains(**library));
    there.map(|library| Wrong::Linked { from: from.to_owned(), to: (*library).to_owned() }).collect()
}

#[cfg(test)]
mod tests;
