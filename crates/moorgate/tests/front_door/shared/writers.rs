//! Writers at several gateways: none undoes what it has not seen, and nothing is done twice.

use serde_json::json;

use super::*;
use crate::talk::{Reply, Talk};

/// One request to a gateway's API, by the token of an operator and with more header fields.
fn api(gateway: &Gateway, token: &str, method: &str, path: &str, fields: &str, body: &Value) -> Reply {
    let address = gateway.api().trim_start_matches("http://").split('/').next().unwrap();
    let mut talk = Talk::to(address.parse().unwrap());
    let body = body.to_string();
    talk.send(format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{fields}\r\n{body}",
        body.len()
    ));
    talk.reply()
}

#[test]
fn of_writers_with_the_same_tag_at_two_gateways_one_gets_through() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let (one, two) = (start("one"), start("two"));
    one.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--mode", "terminate"]);
    soon("a route", || two.try_cli(&["route", "show", "app.example.com"]).status.success());
    let token = one.operator_token();
    for round in 0..20 {
        let read = api(&one, &token, "GET", "routes/app.example.com", "", &json!({}));
        let only_if = format!("If-Match: {}\r\n", read.field("etag").unwrap());
        let write = |gateway: &Gateway, most: u32| {
            api(gateway, &token, "PATCH", "routes/app.example.com", &only_if, &json!({ "max_body": most })).status
        };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| write(&one, 2 * round + 1));
            (write(&two, 2 * round + 2), first.join().unwrap())
        });
        let mut both = [first, second];
        both.sort_unstable();
        assert_eq!(both, [200, 412], "round {round}");
    }
}

#[test]
fn what_was_done_under_a_key_is_done_by_no_other_gateway_and_not_again_after_a_restart() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let (one, two) = (start("one"), start("two"));
    let token = one.operator_token();
    let add = |gateway: &Gateway, key: &str, name: &str| {
        let key = format!("Idempotency-Key: {key}\r\n");
        let reply = api(gateway, &token, "POST", "accounts", &key, &json!({ "name": name }));
        (reply.status, reply.body)
    };
    assert_eq!(add(&one, "k1", "acme").0, 201);
    assert_eq!(add(&one, "k1", "acme").0, 201, "it is remembered there");
    let (status, said) = add(&two, "k1", "acme");
    assert!(status == 409 && said.contains("already_done") && said.contains("(add account acme)"), "{said}");
    let reply =
        api(&two, &two.operator_token(), "POST", "accounts", "Idempotency-Key: k1\r\n", &json!({ "name": "acme" }));
    assert_eq!(reply.status, 409, "another operator's token, the same operators");
    let (status, said) = add(&two, "k1", "another");
    assert!(status == 422 && said.contains("idempotency_key_reused"), "{said}");
    one.signal("KILL");
    drop(one);
    let one = start("one");
    assert_eq!(add(&one, "k1", "acme").0, 409);
    assert_eq!(add(&one, "k2", "other").0, 201);
    let listed = || two.cli(&["account", "list"]);
    soon("the new accounts", || listed().contains("acme") && listed().contains("other"));
    assert!(!listed().contains("another"), "{}", listed());
}
