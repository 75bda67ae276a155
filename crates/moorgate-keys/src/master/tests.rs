use std::fs::Permissions;

use aws_lc_rs::hkdf;

use super::*;

#[test]
fn a_created_key_is_private_and_is_the_one_that_is_loaded_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let (made, created) = MasterKey::load_or_create(&path).unwrap();
    assert!(created);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (loaded, created) = MasterKey::load_or_create(&path).unwrap();
    assert!(!created);
    assert_eq!(loaded.key_id(), made.key_id());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n'));
    assert_eq!(MasterKey::parse(&text.to_uppercase()).unwrap().key_id(), made.key_id());
}

#[test]
fn creating_never_overwrites_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let first = MasterKey::create(&path).unwrap();
    assert!(matches!(MasterKey::create(&path), Err(KeyError::Io { source, .. })
        if source.kind() == io::ErrorKind::AlreadyExists));
    assert_eq!(MasterKey::load(&path).unwrap().key_id(), first.key_id());
}

#[test]
fn a_key_file_that_others_may_read_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    MasterKey::create(&path).unwrap();
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(mode {mode:04o}): chmod 600 /")), "{error}");
    }
}

#[test]
fn what_is_not_a_key_is_refused_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    for text in ["", "secret", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
        assert!(matches!(MasterKey::parse(text), Err(KeyError::NotAMasterKey)));
        file::write_private(&path, text.as_bytes()).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::NotAMasterKeyFile { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn derivation_is_hkdf_and_each_purpose_has_its_own_key() {
    struct Len;
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            LEN
        }
    }
    let key = MasterKey::parse(&"5a".repeat(LEN)).unwrap();
    let mut expected = [0; LEN];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&[0x5a; LEN]);
    extracted.expand(&[b"store"], Len).unwrap().fill(&mut expected).unwrap();
    assert_eq!(*key.derive("store"), expected);
    assert_ne!(*key.derive("snapshot"), expected);
}

#[test]
fn debug_shows_the_id_and_not_the_key() {
    let key = MasterKey::parse(&"5a".repeat(LEN)).unwrap();
    assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.key_id()));
    assert!(!format!("{key:?}").contains("5a5a"));
}
