//! With an authenticator of the tests' own: what it says is laid out by the standard, and signed by a real key.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};

use super::*;

const CHALLENGE: &[u8] = &[9; 32];

fn party() -> RelyingParty {
    RelyingParty { id: "console.example.com".into(), origin: "https://console.example.com".into() }
}

/// One that makes keys and signs with them, and never counts unless it is told to.
pub(crate) struct Authenticator(EcdsaKeyPair);

impl Authenticator {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn client(kind: &str, challenge: &[u8], origin: &str) -> Vec<u8> {
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#).into_bytes()
    }

    fn data(party: &str, flags: u8, counter: u32) -> Vec<u8> {
        [digest(&SHA256, party.as_bytes()).as_ref(), &[flags], &counter.to_be_bytes()].concat()
    }

    pub(crate) fn make(&self, party: &RelyingParty, challenge: &[u8]) -> MadePasskey {
        let id = b"a key's name".to_vec();
        let mut authenticator = Self::data(&party.id, PRESENT | VERIFIED | HAS_KEY, 0);
        authenticator.extend_from_slice(&[0; 16]);
        authenticator.extend_from_slice(&[0, id.len() as u8]);
        authenticator.extend_from_slice(&id);
        authenticator.extend_from_slice(b"the key in CBOR");
        let key = self.0.public_key().as_der().unwrap().as_ref().to_vec();
        let client = Self::client("webauthn.create", challenge, &party.origin);
        MadePasskey { id, client, authenticator, key, algorithm: -7 }
    }

    fn show(&self, client: Vec<u8>, authenticator: Vec<u8>) -> ShownPasskey {
        let signed = [&*authenticator, digest(&SHA256, &client).as_ref()].concat();
        let signature = self.0.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec();
        ShownPasskey { id: b"a key's name".to_vec(), client, authenticator, signature }
    }

    pub(crate) fn shows(&self, party: &RelyingParty, challenge: &[u8], counter: u32) -> ShownPasskey {
        let client = Self::client("webauthn.get", challenge, &party.origin);
        self.show(client, Self::data(&party.id, PRESENT | VERIFIED, counter))
    }
}

#[test]
fn a_passkey_is_made_and_shown() {
    let authenticator = Authenticator::new();
    let (key, counter) = made(&party(), CHALLENGE, &authenticator.make(&party(), CHALLENGE)).unwrap();
    assert_eq!(counter, 0);
    assert_eq!(
        shown(&party(), CHALLENGE, &key, 0, &authenticator.shows(&party(), CHALLENGE, 0)),
        Ok(0),
        "one that never counts"
    );
    assert_eq!(shown(&party(), CHALLENGE, &key, 4, &authenticator.shows(&party(), CHALLENGE, 5)), Ok(5));
    for back in [4, 3, 0] {
        assert_eq!(
            shown(&party(), CHALLENGE, &key, 4, &authenticator.shows(&party(), CHALLENGE, back)),
            Err(PasskeyProblem::Counter)
        );
    }
}

#[test]
fn what_was_made_elsewhere_or_for_another_question_is_not_taken() {
    let authenticator = Authenticator::new();
    let (key, _) = made(&party(), CHALLENGE, &authenticator.make(&party(), CHALLENGE)).unwrap();
    let data = || Authenticator::data("console.example.com", PRESENT | VERIFIED, 1);
    let origin = party().origin;
    let try_it =
        |client: Vec<u8>, data: Vec<u8>| shown(&party(), CHALLENGE, &key, 0, &authenticator.show(client, data));
    let client = |kind, challenge, origin| Authenticator::client(kind, challenge, origin);
    assert_eq!(try_it(client("webauthn.get", &[8; 32], &origin), data()), Err(PasskeyProblem::Challenge));
    assert_eq!(try_it(client("webauthn.create", CHALLENGE, &origin), data()), Err(PasskeyProblem::Challenge));
    for evil in ["https://console.example.com.evil", "http://console.example.com", "https://example.com"] {
        let said = try_it(client("webauthn.get", CHALLENGE, evil), data());
        assert!(matches!(said, Err(PasskeyProblem::Origin { .. })), "{evil}");
    }
    let good = || client("webauthn.get", CHALLENGE, &origin);
    let other = Authenticator::data("example.com", PRESENT | VERIFIED, 1);
    assert!(matches!(try_it(good(), other), Err(PasskeyProblem::Origin { .. })));
    for flags in [0, PRESENT, VERIFIED] {
        let weak = Authenticator::data("console.example.com", flags, 1);
        assert_eq!(try_it(good(), weak), Err(PasskeyProblem::Unverified));
    }
    let mut framed = String::from_utf8(good()).unwrap();
    framed = framed.replace("\"crossOrigin\":false", "\"crossOrigin\":true");
    assert!(matches!(try_it(framed.into_bytes(), data()), Err(PasskeyProblem::Origin { .. })));
}

#[test]
fn what_another_key_signed_or_somebody_changed_is_not_taken() {
    let (authenticator, other) = (Authenticator::new(), Authenticator::new());
    let (key, _) = made(&party(), CHALLENGE, &authenticator.make(&party(), CHALLENGE)).unwrap();
    assert_eq!(
        shown(&party(), CHALLENGE, &key, 0, &other.shows(&party(), CHALLENGE, 1)),
        Err(PasskeyProblem::Signature)
    );
    let mut changed = authenticator.shows(&party(), CHALLENGE, 1);
    changed.authenticator[36] = 9;
    assert_eq!(shown(&party(), CHALLENGE, &key, 0, &changed), Err(PasskeyProblem::Signature));
    let short = ShownPasskey { signature: Vec::new(), ..authenticator.shows(&party(), CHALLENGE, 1) };
    assert_eq!(shown(&party(), CHALLENGE, &key, 0, &short), Err(PasskeyProblem::Signature));
}

#[test]
fn what_is_cut_short_is_said_to_be_so() {
    let authenticator = Authenticator::new();
    let whole = authenticator.make(&party(), CHALLENGE);
    for length in 0..whole.authenticator.len() - b"the key in CBOR".len() {
        let cut = MadePasskey { authenticator: whole.authenticator[..length].to_vec(), ..whole.clone() };
        assert!(matches!(made(&party(), CHALLENGE, &cut), Err(PasskeyProblem::Unreadable(_))), "{length}");
    }
    let other = MadePasskey { id: b"another".to_vec(), ..whole.clone() };
    assert_eq!(made(&party(), CHALLENGE, &other).err(), Some(PasskeyProblem::Unreadable("its name")));
    let odd = MadePasskey { algorithm: -37, ..whole.clone() };
    assert_eq!(made(&party(), CHALLENGE, &odd).err(), Some(PasskeyProblem::Algorithm(-37)));
    let text = MadePasskey { client: b"{".to_vec(), ..whole };
    assert!(matches!(made(&party(), CHALLENGE, &text), Err(PasskeyProblem::Unreadable(_))));
}
