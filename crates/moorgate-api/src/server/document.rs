//! The description of the API (OpenAPI 3.1): what the handlers say of themselves, with what holds for all of them (who
//! may call, how it is refused, conditions, pages, keys) and the bounds of what is accepted.

use axum::response::{IntoResponse, Response};
use http::{Method, header};
use moorgate_control::{GroupBy, Scope};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::{
    access::{self, Need},
    conditional,
    idempotency::KEY_BYTES,
    page::{CURSOR_BYTES, Listing},
};
use crate::problem::MEDIA_TYPE;

/// Bounds of schemas, as a merge patch (RFC 7396).
const BOUNDS: &str = include_str!("document/bounds.json");

/// Listings by their paths, with the pattern of their cursors.
const LISTINGS: [(&str, Listing, &str); 9] = [
    ("/api/v1/accounts", Listing::Accounts, "^a([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/accounts/{account}/credentials", Listing::Credentials, "^c([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/tokens", Listing::Tokens, "^t([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/routes", Listing::Routes, "^r([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/certificates", Listing::Certificates, "^x([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/tiers", Listing::Tiers, "^i([0-7][0-9a-f]){1,255}$"),
    ("/api/v1/usage", Listing::Usage, "^g([0-7][0-9a-f]){1,255}$"),
    // A number in it.
    ("/api/v1/audit", Listing::Audit, "^u(3[0-9]){1,15}$"),
    // A flow's id in it: thirteen letters and digits.
    ("/api/v1/flows", Listing::Flows, "^f(3[0-9]|6[1-6])(3[0-9]|6[1-8abde]|7[0-46-9a]){12}$"),
];

/// The description as it is sent.
pub(super) fn text(document: OpenApi, version: &str) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    merge(&mut document, &serde_json::from_str(BOUNDS).unwrap_or_default());
    merge(&mut document, &json!({"info": {"version": version}}));
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        routes(schemas);
    }
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) {
                describe(&method, path, operation);
            }
        }
    }
    document.to_string()
}

/// The description itself.
pub(super) fn answer(document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_owned()).into_response()
}

/// RFC 7396, but that `null` is a value.
fn merge(to: &mut Value, patch: &Value) {
    match (to, patch) {
        (Value::Object(to), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    to.remove(name);
                } else {
                    merge(to.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (to, patch) => *to = patch.clone(),
    }
}

/// What a route is set to. A new one is a change with three fields more: `allOf` would have each half refuse the other's.
fn routes(schemas: &mut Map<String, Value>) {
    let fields = schemas.remove("AddRouteFields").unwrap_or_default();
    let Some(change) = schemas.get_mut("ChangeRoute") else { return };
    for (field, kind) in [
        ("check", "Check"),
        ("clients", "ClientRules"),
        ("maintenance", "Maintenance"),
        ("request_headers", "HeaderChange"),
        ("response_headers", "HeaderChange"),
    ] {
        let Some(field) = change.pointer_mut(&format!("/properties/{field}")) else { continue };
        let kind = json!({"$ref": format!("#/components/schemas/{kind}")});
        *field = json!({"description": field.get("description"), "oneOf": [kind, {"type": "null"}]});
    }
    let mut add = change.clone();
    merge(&mut add, &fields);
    schemas.insert("AddRoute".into(), add);
}

/// Adds to an operation what its place in the table and its method bring with them.
fn describe(method: &Method, path: &str, operation: &mut Value) {
    let writes = *method != Method::GET;
    let has = |operation: &Value, status: &str| operation.pointer(&format!("/responses/{status}")).is_some();
    for (status, said) in
        [("200", "What there is now"), ("201", "It is made"), ("202", "It will be done"), ("204", "It is done")]
    {
        if has(operation, status) {
            merge(operation, &json!({"responses": {status: {"description": said}}}));
        }
    }
    refusals(method, path, operation);
    let mut more = Vec::new();
    if let Some((_, listing, pattern)) = LISTINGS.iter().find(|(listed, ..)| !writes && *listed == path) {
        let most = listing.rows();
        let most = json!({"type": "integer", "minimum": 1, "maximum": most, "default": most});
        more.push(parameter("query", "limit", "How many rows at most", most));
        let cursor = json!({"type": "string", "pattern": pattern, "maxLength": CURSOR_BYTES});
        more.push(parameter("query", "cursor", "Where to go on, from the Link header of the page before", cursor));
        let link =
            header_of("The next page, if there is one: `<…>; rel=\"next\"` (RFC 8288)", json!({"type": "string"}));
        merge(operation, &json!({"responses": {"200": {"headers": {"Link": link}}}}));
    }
    let is_one = conditional::is_one(path);
    if !writes && is_one {
        let had = "Answer 304 if what there is has one of these tags";
        more.push(parameter("header", "If-None-Match", had, json!({"type": "string"})));
        let same = json!({"description": "It is as you have it", "headers": {"ETag": tag()}});
        merge(operation, &json!({"responses": {"304": same}}));
    }
    if *method == Method::POST && conditional::is_whole_answer(path) {
        merge(operation, &json!({"responses": {"201": {"headers": {"ETag": tag()}}}}));
    }
    if is_one && (!writes || *method == Method::PATCH) {
        merge(operation, &json!({"responses": {"200": {"headers": {"ETag": tag()}}}}));
    }
    if matches!(*method, Method::PUT | Method::PATCH | Method::DELETE) {
        let seen = "Only if what was set still is what was read under one of these tags; else 412";
        more.push(parameter("header", "If-Match", seen, json!({"type": "string"})));
    }
    if *method == Method::POST {
        // Bare or as a string (RFC 8941 §3.3.3), whose quotes are no part of it; spaces stand within.
        let (bare, quoted) = (KEY_BYTES - 2, KEY_BYTES);
        let pattern = format!("^([!#-~]([ !#-~]{{0,{bare}}}[!#-~])?|\"[ !#-~]{{1,{quoted}}}\")$");
        let key = json!({"type": "string", "minLength": 1, "maxLength": KEY_BYTES + 2, "pattern": pattern});
        let once = "Done once, however often it is asked for under this key within a day, such as a UUID";
        more.push(parameter("header", "Idempotency-Key", once, key));
        let said = "The answer was given before, under the same key";
        let replayed = header_of(said, json!({"type": "string", "enum": ["true"]}));
        for status in ["200", "201"].into_iter().filter(|status| has(operation, status)).collect::<Vec<_>>() {
            merge(operation, &json!({"responses": {status: {"headers": {"Idempotency-Replayed": replayed}}}}));
        }
    }
    parameters(operation, more);
}

/// Bounds the parameters that are there and adds more.
fn parameters(operation: &mut Value, more: Vec<Value>) {
    let Some(operation) = operation.as_object_mut() else { return };
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    for parameter in parameters.iter_mut() {
        let bounds = bounds_of(parameter.get("name").and_then(Value::as_str).unwrap_or_default());
        merge(parameter, &json!({"schema": bounds}));
    }
    parameters.extend(more);
}

/// What is accepted for a parameter of this name, wherever it stands.
fn bounds_of(name: &str) -> Value {
    match name {
        "port" => json!({"minimum": 0, "maximum": 65535}),
        "client" => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        "account" | "domain" | "tier" => json!({"format": name}),
        "since" | "until" => json!({"format": "date-time"}),
        "by" => json!({"enum": GroupBy::ALL}),
        _ => json!({}),
    }
}

/// How an operation may be refused.
fn refusals(method: &Method, path: &str, operation: &mut Value) {
    let (writes, reads_body) = (*method != Method::GET, operation.get("requestBody").is_some());
    let is_write = matches!(
        access::need(method, path),
        Some(
            Need::Operator(Scope::Write)
                | Need::Anyone(Scope::Write)
                | Need::Owner(Scope::Write)
                | Need::OperatorOfAccount(Scope::Write)
        )
    );
    let asks = reads_body || !writes || path.ends_with("/policy") || *method == Method::POST;
    let plain = ["/api/v1/egress", "/api/v1/tokens"].contains(&path) && !writes;
    let judged = reads_body
        || path.contains("{domain}")
        || path.ends_with("explain")
        || path.ends_with("usage")
        || path.ends_with("dns/records")
        || *method == Method::POST;
    for (can, status, said) in [
        (asks, "400", "The query, a header or the body can't be read"),
        (true, "401", "No token, or one that is unknown"),
        (is_write, "403", "The token may not do this"),
        (!plain, "404", "No such thing, or none that this token may see"),
        (writes, "408", "The body did not come in time"),
        (
            writes || judged || path.contains("/policy"),
            "409",
            "What there is stands in the way; or the same key's first request still runs",
        ),
        (matches!(*method, Method::PUT | Method::PATCH | Method::DELETE), "412", "It has changed since it was read"),
        (writes, "413", "The body is too long"),
        (reads_body, "415", "The body is not JSON"),
        (true, "421", "The Host is not this gateway's"),
        (judged, "422", "A value that can't be; or a key that was used for another request"),
        (true, "500", "Something in the gateway failed; its log says what"),
        (true, "503", "The store can't be used now; traffic goes on"),
    ] {
        if can {
            merge(operation, &json!({"responses": {status: refusal(status, said)}}));
        }
    }
}

fn refusal(status: &str, said: &str) -> Value {
    let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
    let mut refusal = json!({"description": said, "content": {MEDIA_TYPE: problem}});
    let header = match status {
        "401" => json!({"WWW-Authenticate": header_of("Bearer (RFC 6750)", json!({"type": "string"}))}),
        "503" => json!({"Retry-After": header_of("In so many seconds", json!({"type": "integer", "minimum": 0}))}),
        _ => return refusal,
    };
    merge(&mut refusal, &json!({"headers": header}));
    refusal
}

fn parameter(place: &str, name: &str, said: &str, schema: Value) -> Value {
    json!({"in": place, "name": name, "description": said, "required": false, "schema": schema})
}

fn header_of(said: &str, schema: Value) -> Value {
    json!({"description": said, "schema": schema})
}

fn tag() -> Value {
    let said = "What this representation is known by (RFC 9110): what was set, then all with what is measured";
    header_of(said, json!({"type": "string", "pattern": "^\"[0-9a-f]{32}-[0-9a-f]{32}\"$"}))
}
