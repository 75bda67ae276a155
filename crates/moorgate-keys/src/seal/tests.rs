use super::*;

fn key(byte: &str) -> MasterKey {
    MasterKey::parse(&byte.repeat(32)).unwrap()
}

#[test]
fn what_was_sealed_opens_again_and_never_looks_the_same_twice() {
    for plaintext in [&b""[..], b"secret", &[7; 100_000]] {
        let blob = seal(&key("01"), "store", plaintext).unwrap();
        assert_eq!(**open(&key("01"), "store", &blob).unwrap(), *plaintext);
        assert_ne!(blob, seal(&key("01"), "store", plaintext).unwrap());
    }
}

#[test]
fn a_wrong_master_key_is_refused_and_the_right_one_is_named() {
    let blob = seal(&key("01"), "store", b"secret").unwrap();
    let error = open(&key("02"), "store", &blob).unwrap_err();
    assert_eq!(error, SealError::WrongKey { wants: key("01").key_id(), have: key("02").key_id() });
    assert!(error.to_string().contains(&key("01").key_id().to_string()), "{error}");
}

#[test]
fn any_changed_byte_is_refused() {
    let blob = seal(&key("01"), "store", b"secret").unwrap();
    for at in 0..blob.len() {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        assert!(open(&key("01"), "store", &changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_blob_cut_anywhere_is_refused() {
    let blob = seal(&key("01"), "store", b"secret").unwrap();
    for len in 0..blob.len() {
        assert_eq!(open(&key("01"), "store", &blob[..len]), Err(SealError::Damaged), "{len} bytes");
    }
}

#[test]
fn what_was_sealed_for_one_purpose_does_not_open_for_another() {
    let blob = seal(&key("01"), "store", b"secret").unwrap();
    assert_eq!(open(&key("01"), "snapshot", &blob), Err(SealError::Damaged));
}
