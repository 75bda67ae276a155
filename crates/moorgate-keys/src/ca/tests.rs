use std::{path::Path, process::Command};

use super::*;

fn names(names: &[&str]) -> Vec<SubjectName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn pem(der: &CertificateDer<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn openssl(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "openssl {args:?}: {text}");
    text
}

/// Issues for `wanted` and lets OpenSSL check it strictly against each name of `checks` (`-verify_hostname x`).
fn check_strict(ca: &LocalCa, wanted: &[&str], checks: &[[&str; 2]]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca.cert_pem()).unwrap();
    let issued = ca.issue(&names(wanted)).unwrap();
    std::fs::write(dir.path().join("leaf.pem"), pem(&issued.chain[0])).unwrap();
    for [option, name] in checks {
        let args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem", option, name, "leaf.pem"];
        openssl(dir.path(), &args);
    }
    let text = openssl(dir.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    assert!(text.contains("TLS Web Server Authentication"), "{text}");
    assert!(text.contains(&format!("CN = {}", wanted[0])), "{text}");
}

#[test]
fn what_the_ca_issues_passes_strict_verification_for_each_of_its_names() {
    let ca = LocalCa::create("Moorgate local CA").unwrap();
    check_strict(
        &ca,
        &["localhost", "127.0.0.1", "::1", "*.Example.com"],
        &[
            ["-verify_hostname", "localhost"],
            ["-verify_ip", "127.0.0.1"],
            ["-verify_ip", "::1"],
            ["-verify_hostname", "app.example.com"],
        ],
    );
}

#[test]
fn a_ca_taken_up_again_issues_what_the_first_ones_clients_trust() {
    let made = LocalCa::create("Moorgate local CA").unwrap();
    let again = LocalCa::from_pem(&made.cert_pem(), &made.key_der()).unwrap();
    assert_eq!(again.cert_pem(), made.cert_pem());
    assert_eq!(again.not_after(), made.not_after());
    check_strict(&again, &["proxy.example.com"], &[["-verify_hostname", "proxy.example.com"]]);
    let key =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&*made.key_der()));
    LocalCa::from_pem(&made.cert_pem(), key.as_bytes()).unwrap();
}

#[test]
fn a_ca_with_a_foreign_key_or_a_certificate_that_may_not_issue_is_refused() {
    let (ca, other) = (LocalCa::create("one").unwrap(), LocalCa::create("two").unwrap());
    let with = |certificate: &str, key: &[u8]| LocalCa::from_pem(certificate, key).unwrap_err();
    assert!(matches!(with(&ca.cert_pem(), &other.key_der()), KeyError::KeyMismatch));
    let leaf = ca.issue(&names(&["localhost"])).unwrap();
    assert!(matches!(with(&pem(&leaf.chain[0]), leaf.key.secret_der()), KeyError::NotACa));
    assert!(matches!(with("nothing", &ca.key_der()), KeyError::CertificatePem(_)));
    assert!(matches!(with(&ca.cert_pem(), b"nothing"), KeyError::PrivateKey));
}

#[test]
fn a_certificate_says_when_it_ends_and_serial_numbers_never_repeat() {
    let ca = LocalCa::create("Moorgate local CA").unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let issue = || ca.issue_at(&names(&["localhost"]), now).unwrap();
    let (one, two) = (issue(), issue());
    assert_eq!(one.not_after, now + 90 * DAY);
    let (first, second) = (parse(&one.chain[0]).unwrap(), parse(&two.chain[0]).unwrap());
    assert_eq!(first.validity().not_before.timestamp(), 2_000_000_000 - 3600);
    assert_ne!(first.raw_serial(), second.raw_serial());
    assert_eq!(first.raw_serial().len(), 16);
    let stored = CertifiedChain::new(one.chain.clone(), one.key.clone_key()).unwrap();
    assert_eq!(stored.not_after, one.not_after);
}

#[test]
fn no_name_and_names_that_are_none_are_refused() {
    let ca = LocalCa::create("Moorgate local CA").unwrap();
    assert!(matches!(ca.issue(&[]), Err(KeyError::Missing("name"))));
    for name in ["", "*", "a b", "*.*.example.com", "127.1.", "exämple.com", "[::1]"] {
        assert!(name.parse::<SubjectName>().is_err(), "{name}");
    }
}

#[test]
fn debug_shows_no_key() {
    let ca = LocalCa::create("Moorgate local CA").unwrap();
    let issued = ca.issue(&names(&["localhost"])).unwrap();
    assert!(!format!("{ca:?} {issued:?}").contains("key"));
}
