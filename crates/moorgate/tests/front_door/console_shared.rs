//! The console of two gateways on one PostgreSQL: whoever signs in at one is signed in at the other.

use tempfile::TempDir;
use test_postgres::Postgres;

use crate::{
    console::Browser,
    shared::{ask, setup, soon},
};

/// What stands between two texts of a page.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    page.split_once(from).unwrap_or_else(|| panic!("no {from} in {page}")).1.split_once(to).unwrap().0
}

#[test]
fn what_is_done_at_one_gateways_console_holds_at_the_others() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let (one, two) = (start("one"), start("two"));
    let here = Browser::invited(&one, &[], "ops@example.com");
    let there = here.at(&two);
    let csrf = here.csrf();
    soon("the sign-in, at the other", || there.get("/you").status == 200);
    assert_eq!(there.csrf(), csrf, "a form that one has drawn is taken by the other");

    let made = here.post("/a/default/connect/credential", &[("csrf", &csrf), ("to", "web"), ("with", "curl")]);
    let url = between(&made.body, "MOORGATE_STATIC_URL=http://", "@");
    let (username, password) = url.split_once(':').unwrap();
    let credential = (username.to_owned(), password.to_owned());
    for gateway in [&one, &two] {
        soon("the credential", || ask(gateway.address("outbound_http"), &credential) == Ok(200));
    }
    assert!(there.get("/a/default/credentials").body.contains(username));
    let fields =
        [("csrf", &*csrf), ("domain", "app.example.com"), ("url", "http://127.0.0.1:9"), ("mode", "terminate")];
    assert_eq!(here.post("/a/default/routes/new", &fields).status, 303);
    soon("the route", || there.get("/a/default/routes/app.example.com").status == 200);
    assert!(there.get("/a/default/routes").body.contains("app.example.com"));

    let revoked = there.post(&format!("/a/default/credentials/{username}/revoke"), &[("csrf", &csrf)]);
    assert_eq!(revoked.status, 303, "{}", revoked.body);
    for gateway in [&one, &two] {
        soon("the end of it", || ask(gateway.address("outbound_http"), &credential) == Ok(407));
    }
    soon("and of its line", || !here.get("/a/default/credentials").body.contains(&format!("/{username}/revoke")));

    assert_eq!(there.post("/sign-out", &[("csrf", &csrf)]).status, 303);
    soon("the sign-out, at the other", || here.get("/you").head.contains("location: /sign-in"));
    assert_eq!(there.get("/you").status, 303);
}
