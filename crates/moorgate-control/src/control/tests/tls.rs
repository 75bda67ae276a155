//! TLS to PostgreSQL: on every connection, verified where that was asked for, and refused with what to do.

use std::{fs, path::PathBuf, time::Duration};

use moorgate_keys::LocalCa;
use tempfile::TempDir;
use test_postgres::Postgres;

use crate::{
    error::chain,
    testing::{House, Made, until},
};

/// A server that takes nothing in the clear, and files with its CA and with another of the same name.
struct Secure {
    server: Postgres,
    files: TempDir,
}

impl Secure {
    fn start(names: &[&str]) -> Self {
        let (files, ca) = (TempDir::new().unwrap(), LocalCa::create("Test CA").unwrap());
        let Made { chain, key, .. } = Made::by(&ca, names);
        fs::write(files.path().join("ca.pem"), ca.cert_pem()).unwrap();
        fs::write(files.path().join("other.pem"), LocalCa::create("Test CA").unwrap().cert_pem()).unwrap();
        let server = Postgres::start_with_tls(&chain, &key);
        server.sql("postgres", "CREATE DATABASE shared TEMPLATE template0");
        Self { server, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A gateway that reaches it with these parameters and a password, which is not asked for.
    fn house(&self, name: &str, parameters: &str) -> House {
        let store_url = format!("postgres://postgres:hunter2@127.0.0.1:{}/shared{parameters}", self.server.port());
        House { store_url, name: name.to_owned(), ..House::new() }
    }

    fn verified(&self, name: &str, ca: &str) -> House {
        self.house(name, &format!("?sslmode=verify-full&sslrootcert={}", self.file(ca).display()))
    }

    /// What a start that fails says, in one line and without the password.
    async fn refusal(house: &House) -> String {
        let said = chain(&house.open().await.map(drop).unwrap_err());
        assert!(!said.contains("hunter2") && !said.contains('\n'), "{said}");
        said
    }
}

#[tokio::test]
async fn gateways_share_a_store_over_tls_that_is_verified() {
    let secure = Secure::start(&["127.0.0.1"]);
    let (first, second) = (secure.verified("one", "ca.pem"), secure.verified("two", "ca.pem"));
    let (one, start) = first.open().await.unwrap();
    let (two, joined) = second.open().await.unwrap();
    assert!(start.degraded.is_none() && joined.degraded.is_none());
    let secured = |also: &str| {
        let connections = format!(
            "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
             WHERE datname = 'shared' AND application_name <> 'psql' {also}"
        );
        secure.server.sql("postgres", &connections).trim().parse::<usize>().unwrap()
    };
    // By these each hears of the other's changes at once.
    until(|| secured("AND ssl AND query LIKE 'LISTEN%'") == 2).await;
    one.add_account("acme").await.unwrap();
    until(|| second.plane.served().account("acme").is_some()).await;
    two.remove_account("acme").await.unwrap();
    until(|| first.plane.served().account("acme").is_none()).await;
    assert_eq!(secured("AND NOT ssl"), 0);
    assert!(secured("AND ssl AND version IN ('TLSv1.2', 'TLSv1.3')") >= 4);
}

#[tokio::test]
async fn without_a_word_about_tls_it_is_used_and_in_the_clear_nobody_gets_in() {
    let secure = Secure::start(&["db.example"]);
    let (first, second) = (secure.house("one", ""), secure.house("two", "?sslmode=require"));
    let (one, _) = first.open().await.unwrap();
    let (_two, _) = second.open().await.unwrap();
    one.add_account("acme").await.unwrap();
    until(|| second.plane.served().account("acme").is_some()).await;
    let said = Secure::refusal(&secure.house("three", "?sslmode=disable")).await;
    assert!(said.contains("no encryption"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused_with_what_to_do() {
    let secure = Secure::start(&["127.0.0.1"]);
    let server = format!("postgres://127.0.0.1:{}/shared", secure.server.port());
    for (house, why) in [
        (secure.verified("one", "other.pem"), "BadSignature"),
        (secure.house("one", "?sslmode=verify-full"), "UnknownIssuer"),
    ] {
        let said = Secure::refusal(&house).await;
        let line =
            format!("the certificate of {server} is not trusted: name its CA in [store] url with sslrootcert=FILE");
        assert!(said.contains(&line) && said.ends_with(&format!("invalid peer certificate: {why}")), "{said}");
    }
    let said = Secure::refusal(&secure.verified("one", "missing.pem")).await;
    assert!(said.contains("cannot open a file that [store] url names") && said.contains("No such file"), "{said}");

    let elsewhere = Secure::start(&["db.example"]);
    let said = Secure::refusal(&elsewhere.verified("one", "ca.pem")).await;
    assert!(said.contains("is not trusted") && said.contains("not valid for name"), "{said}");
    let chain_only = format!("?sslmode=verify-ca&sslrootcert={}", elsewhere.file("ca.pem").display());
    elsewhere.house("one", &chain_only).open().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_trusted_any_more_is_not_written_to_and_its_sealed_copy_served() {
    let secure = Secure::start(&["127.0.0.1"]);
    let house = secure.verified("one", "ca.pem");
    let (one, _) = house.open().await.unwrap();
    house.sealed().await;
    one.close().await;
    drop(one);
    fs::copy(secure.file("other.pem"), secure.file("ca.pem")).unwrap();
    let (one, start) = house.open().await.unwrap();
    assert!(start.degraded.unwrap().contains("is not trusted"));
    assert!(one.add_account("acme").await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(one.status().store_problem.unwrap().contains("is not trusted"));
}
