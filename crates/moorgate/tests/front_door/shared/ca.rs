//! One local CA for all gateways on a store: what an application was given holds for each.

use std::{fs, process::Command};

use super::*;
use crate::gateway::on_free_ports;

#[test]
fn a_client_that_trusts_one_gateway_trusts_the_other_and_still_does_after_restarts() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let (one, two) = (start("one"), start("two"));
    let ca = fs::read(one.ca()).unwrap();
    let given = directory.path().join("given.pem");
    fs::write(&given, &ca).unwrap();
    let (user, password) = one.credential();
    let asks = |gateway: &Gateway| {
        let proxy = format!("https://{user}:{password}@localhost:{}", gateway.address("outbound_https").port());
        let mut curl = Command::new("curl");
        curl.args(["--no-progress-meter", "--max-time", "10", "--proxy-cacert"]).arg(&given).args(["-x", &proxy]);
        let output = curl.arg("http://echo.moorgate.internal/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    asks(&one);
    asks(&two);
    assert_eq!(fs::read(two.ca()).unwrap(), ca);
    drop(two);
    let two = start("two");
    asks(&two);
    assert_eq!(fs::read(two.ca()).unwrap(), ca);
}

#[test]
fn a_start_with_the_wrong_key_or_none_leaves_nothing_that_the_next_one_trips_over() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let one = setup(&server, directory.path(), "one").start();
    let refused = |key: Option<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorgate"));
        on_free_ports(&mut command);
        command.args(["up", "--data-dir"]).arg(directory.path().join("two"));
        command
            .env("MOORGATE_STORE_URL", server.url("postgres"))
            .envs(key.map(|key| ("MOORGATE_SECRETS_MASTER_KEY", key)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let none = refused(None);
    assert!(none.contains("no master key was given") && none.contains("master_key_file"), "{none}");
    let wrong = refused(Some("02".repeat(32)));
    assert!(wrong.contains("start with the master key it was made under"), "{wrong}");
    let two = setup(&server, directory.path(), "two").start();
    assert_eq!(fs::read(two.ca()).unwrap(), fs::read(one.ca()).unwrap());
}
