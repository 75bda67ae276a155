//! One local CA for all gateways on a store: what an application was given holds for each.

use std::{fs, process::Command};

use super::*;

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
