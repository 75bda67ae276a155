//! The whole result as one JSON document.

use serde_json::{Value, json};

use super::{
    measure::{Cell, Row},
    promise::Promise,
    report::{Report, Whose},
    secrets::{Planted, Secret},
};
use crate::{commands::CommandError, output};

/// One line.
///
/// # Errors
/// When it can't be written as JSON.
pub(super) fn document(report: &Report, planted: &Planted) -> Result<String, CommandError> {
    let (found, of) = report.controlled();
    let planted: serde_json::Map<_, _> =
        Secret::ALL.iter().map(|secret| (secret.name().to_owned(), json!(planted.shown(*secret)))).collect();
    let certificates = report.certificates.iter().map(|seen| {
        json!({
            "way": seen.way.name(),
            "product": product(seen.product),
            "shown_by": seen.by,
            "sha256": seen.sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "key": whose(seen.whose),
            "expected": whose(seen.promised),
        })
    });
    let certificates: Vec<Value> = certificates.collect();
    let control = report.control.iter().map(|(way, own, secret, found)| {
        json!({"row": format!("{}-{}", way.name(), product(*own)), "secret": secret.name(), "found": found})
    });
    let control: Vec<Value> = control.collect();
    let broken: Vec<_> =
        report.broken().into_iter().map(|own| json!({"promise": own.promise, "found": own.found})).collect();
    let (agreed, claims) = report.claims();
    output::json_line(&json!({
        "as_promised": broken.is_empty(),
        "broken": broken,
        "planted": planted,
        "control": {"found": found, "of": of, "secrets": control},
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "cells": report.rows.iter().flat_map(|own| own.cells.iter().map(move |found| cell(own, found))).collect::<Vec<_>>(),
        "certificates": certificates,
        "origin_key": {
            "recordings_searched": report.key.recordings,
            "files_searched": report.key.files,
            "found_in": report.key.found,
        },
        "passthrough": report.passed.as_ref().map(|passed| json!({
            "identical": passed.identical,
            "connections": passed.connections,
            "bytes_up": passed.up,
            "bytes_down": passed.down,
        })),
        "egress": {"seen": report.egress, "other": report.strays()},
        "flow_records": {"agree": agreed, "of": claims},
        "took_ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    }))
}

fn product(product: moorgate_contract::listener::Product) -> String {
    product.name().to_ascii_lowercase()
}

fn whose(whose: Whose) -> &'static str {
    match whose {
        Whose::Own => "own",
        Whose::Gateway => "gateway",
    }
}

fn row(row: &Row) -> Value {
    json!({
        "row": format!("{}-{}", row.way.name(), product(row.product)),
        "party": row.party.name(),
        "bytes_searched": row.searched(),
    })
}

/// `found` and `expected` are null where there is no such secret; `found` alone where nothing is known.
fn cell(row: &Row, cell: &Cell) -> Value {
    let hit = cell.hit.as_ref();
    json!({
        "row": format!("{}-{}", row.way.name(), product(row.product)),
        "party": row.party.name(),
        "secret": cell.secret.name(),
        "found": cell.found(),
        "expected": match cell.promise {
            Promise::Read => Some(true),
            Promise::Hidden => Some(false),
            Promise::None => None,
        },
        "claimed_by_gateway": cell.claimed.filter(|_| cell.promise != Promise::None),
        "form": hit.map(|hit| hit.form.to_string()),
        "leg": hit.map(|hit| &hit.recording),
        "direction": hit.and_then(|hit| hit.direction).map(|direction| direction.name()),
        "offset": hit.map(|hit| hit.offset),
    })
}
