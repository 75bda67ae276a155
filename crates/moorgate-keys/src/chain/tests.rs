use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    date_time_ymd,
};

use super::*;

/// A CA with a certificate of its own.
struct Ca {
    name: &'static str,
    key: KeyPair,
    pem: String,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Ca {
    fn root(name: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = ca_params(name).self_signed(&key).unwrap().pem();
        Self { name, key, pem }
    }

    fn below(&self, name: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = ca_params(name).signed_by(&key, &self.issuer()).unwrap().pem();
        Self { name, key, pem }
    }

    /// Its own key under another CA's signature.
    fn cross_signed_by(&self, other: &Self) -> String {
        ca_params(self.name).signed_by(&self.key, &other.issuer()).unwrap().pem()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_ca_cert_pem(&self.pem, &self.key).unwrap()
    }

    fn issue(&self, key: &KeyPair, names: &[&str], until: i32) -> String {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        params.signed_by(key, &self.issuer()).unwrap().pem()
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The chain that comes out of what was `given`.
fn check(given: &[&str], key: &KeyPair, expected: &[&str]) {
    let read = Uploaded::from_pem(given.concat().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(read.chain(), expected.iter().map(|pem| der(pem)).collect::<Vec<_>>());
    let again = Uploaded::stored(read.chain_pem().as_bytes(), read.key_der().clone()).unwrap();
    assert_eq!((again.chain(), again.facts()), (read.chain(), read.facts()));
}

#[test]
fn a_chain_is_put_in_order_whatever_order_it_comes_in() {
    let (root, stranger) = (Ca::root("root"), Ca::root("stranger"));
    let upper = root.below("upper");
    let lower = upper.below("lower");
    let key = KeyPair::generate().unwrap();
    let leaf = lower.issue(&key, &["app.example.com"], 2099);
    let unrelated = stranger.issue(&KeyPair::generate().unwrap(), &["app.example.com"], 2099);
    let all = [&leaf[..], &lower.pem, &upper.pem, &root.pem];
    // Every order of four.
    for n in 0..256 {
        let order = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3];
        if (0..4).all(|at| order.contains(&at)) {
            check(&order.map(|at| all[at]), &key, &all[..3]);
        }
    }
    check(&[&root.pem, &unrelated, &stranger.pem, &lower.pem, &leaf, &upper.pem, &leaf], &key, &all[..3]);
    check(&[&leaf], &key, &[&leaf]);
    check(&[&upper.pem, &leaf], &key, &[&leaf]);
    check(&[&root.pem, &lower.pem, &leaf], &key, &all[..2]);
}

#[test]
fn a_root_that_an_older_root_signed_leads_on() {
    let (old, new) = (Ca::root("old"), Ca::root("new"));
    let cross = new.cross_signed_by(&old);
    let key = KeyPair::generate().unwrap();
    let leaf = new.issue(&key, &["app.example.com"], 2099);
    check(&[&leaf, &new.pem, &cross, &old.pem], &key, &[&leaf, &cross]);
    // Of the same name, but with another key.
    let impostor = Ca::root("new");
    check(&[&leaf, &impostor.below("new").pem], &key, &[&leaf]);
}

#[test]
fn a_certificate_that_signed_itself_stays_and_the_longest_of_one_key_is_taken() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["app.example.com".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    check(&[&own], &key, &[&own]);
    let ca = Ca::root("root");
    let (shorter, longer) = (ca.issue(&key, &["a.example.com"], 2098), ca.issue(&key, &["a.example.com"], 2099));
    check(&[&shorter, &longer], &key, &[&longer]);
    check(&[&longer, &shorter], &key, &[&longer]);
}

/// The key, said to be on prime239v2 (ANSI X9.62) instead of P-256.
fn on_no_curve_of_ours(key: &KeyPair) -> Vec<u8> {
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut der = key.serialize_der();
    let at = der.windows(P256.len()).position(|part| part == P256).unwrap();
    der[at + P256.len() - 1] = 5;
    der
}

#[test]
fn what_can_not_be_used_is_refused_with_what_to_do() {
    let ca = Ca::root("root");
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let leaf = ca.issue(&key, &["app.example.com"], 2099);
    let (pem_key, other) = (key.serialize_pem(), other.serialize_pem());
    let check = |chain: &str, key: &str, part: &str| {
        let error = Uploaded::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    };
    check("", &pem_key, "no certificate");
    check(&pem_key, &pem_key, "no certificate");
    check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &pem_key, "not X.509");
    check("-----BEGIN CERTIFICATE-----\nA", &pem_key, "not PEM");
    check(&leaf, "", "no private key");
    check(&leaf, &leaf, "no private key");
    check(&leaf, &format!("{pem_key}{other}"), "2 private keys");
    check(&leaf, &other, "none of the 1 certificates");
    check(&leaf, &pem_key.replace("PRIVATE", "ENCRYPTED PRIVATE"), "openssl pkey");
    check(&leaf, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "openssl pkey");
    check(&leaf, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither PEM nor DER");
    check(
        &leaf,
        &pem(&on_no_curve_of_ours(&key).into()).replace("CERTIFICATE", "PRIVATE KEY"),
        "RSA (2048 to 8192 bits)",
    );
    check(&ca.issue(&key, &["app.example.com"], 2021), &pem_key, "ended on 2021-01-01");
    check(&ca.issue(&key, &["192.0.2.1"], 2099), &pem_key, "no DNS name");
}

#[test]
fn the_end_is_judged_by_the_time_it_is() {
    let key = KeyPair::generate().unwrap();
    let leaf = Ca::root("root").issue(&key, &["app.example.com"], 2021);
    let at = |year: u64| UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952);
    let read = |year| Uploaded::from_pem_at(leaf.as_bytes(), key.serialize_pem().as_bytes(), at(year));
    assert!(matches!(read(2019), Err(KeyError::NotYet { at }) if at == "2020-01-01"));
    assert!(read(2020).is_ok() && matches!(read(2022), Err(KeyError::Expired { .. })));
    // What is served is not taken away for it: a client that minds says so itself.
    let key = Zeroizing::new(key.serialize_der());
    assert!(Uploaded::stored(leaf.as_bytes(), key).is_ok());
    let other = Zeroizing::new(KeyPair::generate().unwrap().serialize_der());
    assert!(matches!(Uploaded::stored(leaf.as_bytes(), other), Err(KeyError::KeyMismatch)));
}

#[test]
fn a_certificate_says_what_it_is() {
    let ca = Ca::root("The\u{1b}[31m Issuer");
    let facts = |key: &KeyPair, names: &[&str]| {
        let leaf = ca.issue(key, names, 2099);
        Uploaded::from_pem(leaf.as_bytes(), key.serialize_pem().as_bytes()).unwrap().facts().clone()
    };
    let p256 = facts(&KeyPair::generate().unwrap(), &["App.example.com", "*.example.com", "192.0.2.1"]);
    assert_eq!((&p256.issuer[..], &p256.key[..]), ("The?[31m Issuer", "ECDSA P-256"));
    assert_eq!(p256.names, ["app.example.com", "*.example.com"]);
    assert_eq!(p256.fingerprint.len(), 64);
    assert!(p256.not_before < SystemTime::now() && p256.not_after > SystemTime::now());
    let kind = |algorithm| facts(&KeyPair::generate_for(algorithm).unwrap(), &["a.example.com"]).key;
    assert_eq!([kind(&PKCS_ECDSA_P384_SHA384), kind(&PKCS_ED25519)], ["ECDSA P-384", "Ed25519"]);
}

#[test]
fn a_certificate_is_good_for_its_names_and_no_others() {
    let facts = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let leaf = Ca::root("root").issue(&key, names, 2099);
        Uploaded::from_pem(leaf.as_bytes(), key.serialize_pem().as_bytes()).unwrap().facts().clone()
    };
    let check = |names: &[&str], domain: &str, expected| assert_eq!(facts(names).covers(domain), expected, "{domain}");
    check(&["app.example.com"], "app.example.com", true);
    check(&["app.example.com"], "APP.example.com", true);
    check(&["app.example.com"], "example.com", false);
    check(&["*.example.com"], "app.example.com", true);
    check(&["*.example.com"], "*.example.com", true);
    check(&["*.example.com"], "a.b.example.com", false);
    check(&["*.example.com"], "example.com", false);
    check(&["app.example.com"], "*.example.com", false);
    check(&["*.com"], "*.example.com", false);
}

#[test]
fn keys_as_openssl_writes_them_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |args: &str| {
        let mut command = std::process::Command::new("openssl");
        let output = command.args(args.split(' ')).current_dir(dir.path()).output().expect("openssl is installed");
        assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let check = |key: &str, label: &str, kind: &str| {
        openssl(&format!(
            "req -x509 -new -key {key} -subj /O=Acme -addext subjectAltName=DNS:a.example.com -out {key}.crt"
        ));
        let [chain, key] =
            [format!("{key}.crt"), key.to_owned()].map(|file| std::fs::read(dir.path().join(file)).unwrap());
        assert!(String::from_utf8_lossy(&key).contains(label));
        let read = Uploaded::from_pem(&chain, &key).unwrap();
        assert_eq!((&read.facts().key[..], &read.facts().issuer[..]), (kind, "Acme"));
        assert!(Uploaded::stored(&chain, read.key_der().clone()).is_ok());
    };
    openssl("ecparam -name prime256v1 -genkey -out sec1.pem");
    check("sec1.pem", "BEGIN EC PRIVATE KEY", "ECDSA P-256");
    openssl("genrsa -traditional -out pkcs1.pem 2048");
    check("pkcs1.pem", "BEGIN RSA PRIVATE KEY", "RSA 2048");
    openssl("rsa -in pkcs1.pem -out pkcs8.pem");
    check("pkcs8.pem", "BEGIN PRIVATE KEY", "RSA 2048");
    openssl("ec -in sec1.pem -aes128 -passout pass:secret -out locked.pem");
    let [chain, key] = ["sec1.pem.crt", "locked.pem"].map(|file| std::fs::read(dir.path().join(file)).unwrap());
    assert!(matches!(Uploaded::from_pem(&chain, &key), Err(KeyError::EncryptedKey)));
}
