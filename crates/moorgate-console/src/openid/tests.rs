//! With a provider of the tests' own, that signs with a key made here.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn keys(&self) -> JwkSet {
        let point = self.0.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let keys = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "use": "enc", "kid": "1", "x": y, "y": x },
            { "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "x": x, "y": y },
        ] });
        serde_json::from_value(keys).unwrap()
    }

    fn token_with(&self, head: &Value, claims: &Value) -> String {
        let signed = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": "moorgate", "sub": "7", "nonce": "n", "exp": NOW + 300, "iat": NOW,
            "email": "ann@example.com", "email_verified": true,
        });
        change(&mut claims);
        self.token_with(&json!({ "alg": "ES256", "kid": "1" }), &claims)
    }
}

fn settings() -> OpenId {
    OpenId {
        issuer: "https://id.example.com".into(),
        client_id: "moorgate".into(),
        client_secret: Zeroizing::new("a secret: &+".into()),
        label: "Example".into(),
        trust_email: false,
        domains: vec!["example.com".into()],
        joining: Some(Joining { account: "default".into(), role: moorgate_control::Role::Viewer }),
    }
}

fn metadata(more: &Value) -> Result<Metadata, OpenIdProblem> {
    let mut all = json!({
        "issuer": "https://id.example.com",
        "authorization_endpoint": "https://id.example.com/authorize?tenant=1",
        "token_endpoint": "https://id.example.com/token",
        "jwks_uri": "https://id.example.com/keys",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Metadata::parse("https://id.example.com", all.to_string().as_bytes())
}

fn attempt() -> Try {
    Try { state: "s".into(), nonce: "n".into(), verifier: "v".into() }
}

fn check(token: &str, signer: &Signer) -> Result<Claims, OpenIdProblem> {
    verified(token, &signer.keys(), &settings(), "n", NOW)
}

#[test]
fn a_token_names_somebody() {
    let signer = Signer::new();
    let claims = check(&signer.token(|_| {}), &signer).unwrap();
    assert_eq!((&*claims.sub, claims.address.email.as_deref()), ("7", Some("ann@example.com")));
    assert!(check(&signer.token(|claims| claims["aud"] = json!(["other", "moorgate"])), &signer).is_ok());
    assert!(check(&signer.token(|claims| claims["exp"] = json!(NOW - 30)), &signer).is_ok(), "a clock a bit off");
    let unnamed = signer.token_with(
        &json!({ "alg": "ES256" }),
        &json!({
            "iss": "https://id.example.com", "aud": "moorgate", "sub": "7", "nonce": "n", "exp": NOW + 1,
        }),
    );
    assert!(check(&unnamed, &signer).is_ok(), "a provider with one key need not name it");
}

#[test]
fn a_token_of_another_for_another_or_of_another_time_names_nobody() {
    let signer = Signer::new();
    let change = |name: &'static str, value: Value| signer.token(move |claims| claims[name] = value);
    for (what, token) in [
        ("issuer", change("iss", json!("https://evil.example.com"))),
        ("audience", change("aud", json!("other"))),
        ("no audience", change("aud", Value::Null)),
        ("nonce", change("nonce", json!("another"))),
        ("no nonce", change("nonce", json!(""))),
        ("party", change("azp", json!("other"))),
        ("end", change("exp", json!(NOW - 61))),
        ("begin", change("iat", json!(NOW + 61))),
        ("key", Signer::new().token(|_| {})),
        ("none", format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"))),
        ("hmac", signer.token_with(&json!({ "alg": "HS256", "kid": "1" }), &json!({}))),
        ("another's name", signer.token_with(&json!({ "alg": "ES256", "kid": "2" }), &json!({}))),
        ("nothing", String::new()),
        ("too much", "a".repeat(MAX_TOKEN + 1)),
    ] {
        assert!(check(&token, &signer).is_err(), "{what}");
    }
    let token = signer.token(|_| {});
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{}.{signature}", rest.replacen(&rest[30..31], "A", 1));
    assert!(forged == token || check(&forged, &signer).is_err());
}

#[test]
fn an_address_counts_when_it_was_confirmed() {
    let address = |verified: Option<Value>| Address { email: Some("a@b.c".into()), email_verified: verified };
    assert!(confirmed(address(Some(json!(true))), false).is_ok());
    assert!(confirmed(address(Some(json!("true"))), false).is_ok());
    assert!(confirmed(address(None), true).is_ok());
    for (verified, trust) in
        [(None, false), (Some(json!(false)), true), (Some(json!("false")), true), (Some(json!(1)), true)]
    {
        assert!(matches!(confirmed(address(verified), trust), Err(OpenIdProblem::Unconfirmed(_))));
    }
    assert!(matches!(confirmed(Address::default(), true), Err(OpenIdProblem::NoEmail)));
}

#[test]
fn a_browser_is_sent_to_the_provider_with_what_comes_back_known_by() {
    let url = metadata(&json!({})).unwrap().authorization("moor gate", "https://c.example.com/back", &attempt());
    assert!(
        url.starts_with("https://id.example.com/authorize?tenant=1&response_type=code&scope=openid%20email&"),
        "{url}"
    );
    assert!(url.contains("client_id=moor%20gate&redirect_uri=https%3A%2F%2Fc%2Eexample%2Ecom%2Fback&state=s&nonce=n"));
    // SHA-256 of "v".
    assert!(
        url.ends_with("code_challenge=TJRIXgwhrmxBzh3%2De2v6zupato5AokdvUCCOUm9QYIA&code_challenge_method=S256"),
        "{url}"
    );
}

#[test]
fn the_secret_goes_as_the_provider_takes_it() {
    let ask =
        |more: Value| metadata(&more).unwrap().token_request(&settings(), "https://c/back", "c&d", &attempt()).unwrap();
    let basic = ask(json!({}));
    let pair = STANDARD.encode("moorgate:a%20secret%3A%20%26%2B");
    assert_eq!(basic.headers()[header::AUTHORIZATION], format!("Basic {pair}"));
    assert!(!String::from_utf8_lossy(basic.body()).contains("secret"));
    let post = ask(json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }));
    assert!(!post.headers().contains_key(header::AUTHORIZATION));
    let body = String::from_utf8_lossy(post.body()).into_owned();
    assert!(body.contains("code=c%26d") && body.ends_with("client_secret=a%20secret%3A%20%26%2B"), "{body}");
}

#[test]
fn a_provider_that_calls_itself_otherwise_or_speaks_in_the_clear_is_not_taken() {
    let wrong = |more| metadata(&more).unwrap_err().to_string();
    assert!(wrong(json!({ "issuer": "https://evil.example.com" })).contains("calls itself https://evil.example.com"));
    assert!(wrong(json!({ "token_endpoint": "http://id.example.com/token" })).contains("token_endpoint is no https"));
    assert!(Metadata::parse("x", b"{").is_err());
    assert!(!format!("{:?}", settings()).contains("secret"));
}
