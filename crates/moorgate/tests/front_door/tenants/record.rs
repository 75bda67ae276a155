//! The audit log and the gateways: who changed what, and who serves it.

use std::path::Path;

use super::account;
use crate::{
    gateway::Gateway,
    talk,
    tools::{run, tool},
};

/// Runs a statement on the store, as somebody with access to the file would.
fn sql(directory: &Path, statement: &str) {
    let script = "import glob, sqlite3, sys\n\
        for path in glob.glob(sys.argv[1] + '/*'):\n\
        \x20   try:\n\
        \x20       with sqlite3.connect(path, timeout=10) as store:\n\
        \x20           if store.execute(\"SELECT 1 FROM sqlite_master WHERE name = 'audit'\").fetchone():\n\
        \x20               print(store.execute(sys.argv[2]).rowcount)\n\
        \x20   except sqlite3.DatabaseError:\n\
        \x20       pass\n";
    let changed = run(tool("python3").args(["-c", script]).arg(directory).arg(statement));
    assert_eq!(changed.trim(), "1", "one row was changed");
}

#[test]
fn the_audit_log_says_who_did_what_and_an_edit_of_it_is_found() {
    let gateway = Gateway::start();
    let user = account(&gateway, "acme", &["--requests-per-month", "1000"]);
    let token = gateway.cli_json(&["token", "add", "acme"]);
    let (id, secret) = (token["id"].as_str().unwrap(), token["token"].as_str().unwrap());
    let rules = serde_json::json!({ "rules": [{ "effect": "deny", "match": "evil.example" }] });
    assert_eq!(talk::api_as(&gateway, secret, "PUT", "/api/v1/accounts/acme/policy", Some(&rules)).0, 200);

    let log = gateway.cli(&["audit", "list", "--account", "acme"]);
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].contains(&format!("account acme {id} from 127.0.0.1  set account acme")), "{log}");
    assert!(lines[0].ends_with("policy: [deny evil.example]"), "{log}");
    assert!(lines.iter().any(|line| line.contains("operator ") && line.ends_with("tier: acme")), "{log}");
    assert!(lines.iter().any(|line| line.contains(&format!("add credential {} of acme", user.0))), "{log}");
    assert!(!log.contains(&user.1) && !log.contains(secret));
    assert_eq!(gateway.cli(&["audit", "list", "--limit", "2"]).lines().count(), 2);
    let own = talk::api_as(&gateway, secret, "GET", "/api/v1/audit", None).1;
    assert!(!own.contains("\"kind\":\"tier\"") && own.contains("\"kind\":\"credential\""), "{own}");

    let whole = gateway.cli(&["audit", "verify"]);
    let newest = gateway.cli_json(&["audit", "list", "--limit", "1"])[0].clone();
    assert!(whole.contains(newest["hash"].as_str().unwrap()) && whole.contains("entries are"), "{whole}");
    sql(gateway.data_dir(), "UPDATE audit SET name = 'mallory' WHERE seq = 3");
    let broken = gateway.try_cli(&["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let said = String::from_utf8_lossy(&broken.stderr);
    assert!(said.contains("entry 3 is not what was written") && said.contains("first 2 entries"), "{said}");
    assert!(said.contains("backup") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_gateway_is_listed_with_what_it_serves() {
    let gateway = Gateway::start();
    let listed = gateway.cli_json(&["gateway", "list"]);
    let [one] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["health"], &one["is_this"], &one["is_newest"]), (&"up".into(), &true.into(), &true.into()));
    let name = one["name"].as_str().unwrap();
    let shown = gateway.cli(&["gateway", "show", name]);
    assert!(shown.contains(&gateway.address("outbound_http").to_string()), "{shown}");
    assert!(shown.contains("(newest)") && shown.contains(env!("CARGO_PKG_VERSION")), "{shown}");
    assert!(gateway.cli(&["gateway", "list"]).contains("LAST SEEN"));
    let none = gateway.try_cli(&["gateway", "show", "none"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("moorgate gateway list"), "{none:?}");
}
