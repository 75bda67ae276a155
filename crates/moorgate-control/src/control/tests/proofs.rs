//! What people come in with beside a password.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moorgate_contract::time::Timestamp;
use totp_rs::{Builder, Secret};

use super::people::{BROWSER, EMAIL, invalid, member, operator, password};
use crate::{
    AuditFilter, Control, Entered, Identity, Invalid, Joining, PasskeyProblem, PasskeyQuestion, Password, RelyingParty,
    Role, Standing, control::now, proofs::passkey::tests::Authenticator, testing::House,
};

/// An authenticator app: the code that it shows so many half minutes from now.
fn code(secret: &str, steps: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let at = now().seconds();
    let totp = Builder::new().with_secret(secret).with_account_name("ann").build().unwrap();
    totp.generate(at.saturating_add_signed(steps * 30)).to_string()
}

/// Somebody's password is right, and a code is wanted.
async fn step(control: &Control) -> String {
    match control.sign_in(EMAIL, &password(), BROWSER).await.unwrap() {
        Some(Entered::Code { step }) => step,
        other => panic!("{other:?}"),
    }
}

fn party() -> RelyingParty {
    RelyingParty { id: "console.example.com".into(), origin: "https://console.example.com".into() }
}

fn challenge(question: &PasskeyQuestion) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(&question.challenge).unwrap()
}

#[tokio::test]
async fn with_an_app_a_password_alone_lets_nobody_in() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (first, ann) = operator(&control).await;
    let here = match control.sign_in(EMAIL, &password(), BROWSER).await.unwrap().unwrap() {
        Entered::In(made) => made.token.reveal().to_owned(),
        Entered::Code { .. } => panic!("no app was set up"),
    };
    let sign_in = control.signed_in(&here).unwrap().sign_in;
    let setup = control.begin_app(&ann.id).unwrap();
    assert!(!format!("{setup:?}").contains(&setup.secret));
    let set = async |code: &str| control.set_app(&ann.id, &sign_in, &setup.step, code).await.unwrap();
    assert!(set("000000").await.is_none() || set("000001").await.is_none());
    let before = code(&setup.secret, -1);
    let codes = set(&before).await.unwrap();
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.len() == 19), "{codes:?}");
    assert!(control.signed_in(&first).is_none(), "who came in without a code has to show one");
    assert!(control.signed_in(&here).unwrap().person.has_app);

    let wanted = step(&control).await;
    assert_eq!(control.who_steps(&wanted).as_deref(), Some(EMAIL));
    let enter = async |step: &str, code: &str| control.sign_in_by_code(step, code, BROWSER).await;
    assert!(enter(&wanted, "000000").await.unwrap().is_none() || enter(&wanted, "000001").await.unwrap().is_none());
    assert!(enter(&wanted, &before).await.unwrap().is_none(), "a code is taken once");
    assert!(enter(&wanted, &code(&setup.secret, 0)).await.unwrap().is_some());
    // What was written down, each once, however it is typed.
    let typed = codes[0].to_uppercase().replace('-', " ");
    assert!(enter(&wanted, &typed).await.unwrap().is_some());
    assert!(enter(&wanted, &codes[0]).await.unwrap().is_none());
    assert_eq!(control.list_people(None).unwrap()[0].recovery_codes, 9);
    assert_eq!(invalid(enter("made up", &codes[1]).await), Invalid::StepGone);

    // Another password ends what was begun with the old one.
    let new = Password::given("another horse battery");
    assert!(control.change_password(&ann.id, &sign_in, &password(), &new).await.unwrap());
    assert_eq!(invalid(enter(&wanted, &codes[1]).await), Invalid::StepGone);
    assert!(!control.remove_app(&ann.id, &password()).await.unwrap(), "the password is asked for");
    assert!(control.remove_app(&ann.id, &new).await.unwrap());
    assert!(matches!(control.sign_in(EMAIL, &new, BROWSER).await.unwrap(), Some(Entered::In(_))));
}

#[tokio::test]
async fn a_passkey_lets_its_owner_in_once_for_each_question() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (_, ann) = operator(&control).await;
    let authenticator = Authenticator::new();
    let question = control.begin_passkey(&ann.id).unwrap();
    let answer = authenticator.make(&party(), &challenge(&question));
    let add = async |person: &str, step: &str| control.add_passkey(person, &party(), step, " a\tphone ", &answer).await;
    assert_eq!(invalid(add("somebody", &question.step).await), Invalid::StepGone);
    let other = control.begin_passkey(&ann.id).unwrap();
    assert_eq!(invalid(add(&ann.id, &other.step).await), Invalid::Passkey(PasskeyProblem::Challenge));
    add(&ann.id, &question.step).await.unwrap();
    assert_eq!(invalid(add(&ann.id, &question.step).await), Invalid::PasskeyKnown);
    assert_eq!(control.begin_passkey(&ann.id).unwrap().known, [URL_SAFE_NO_PAD.encode(&answer.id)]);

    let question = control.ask_passkey().unwrap();
    let shown = authenticator.shows(&party(), &challenge(&question), 0);
    let enter = async |step: &str, shown| control.sign_in_by_passkey(&party(), step, shown, BROWSER).await;
    let made = enter(&question.step, &shown).await.unwrap().unwrap();
    let person = control.signed_in(made.token.reveal()).unwrap().person;
    assert_eq!((&*person.email, &*person.passkeys[0].name), (EMAIL, "aphone"));
    assert!(person.passkeys[0].used.is_some());
    let again = enter(&question.step, &shown).await;
    assert_eq!(invalid(again), Invalid::Passkey(PasskeyProblem::Challenge), "an answer is good once");
    let question = control.ask_passkey().unwrap();
    let wrong = Authenticator::new().shows(&party(), &challenge(&question), 0);
    assert_eq!(invalid(enter(&question.step, &wrong).await), Invalid::Passkey(PasskeyProblem::Signature));
    control.remove_passkey(&ann.id, &person.passkeys[0].id).await.unwrap();
    let shown = authenticator.shows(&party(), &challenge(&question), 0);
    assert!(enter(&question.step, &shown).await.unwrap().is_none());
}

#[tokio::test]
async fn an_identity_provider_lets_in_whom_we_know_and_whom_it_may_add() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    operator(&control).await;
    let identity = |subject: &str| Identity { issuer: "https://id.example.com".into(), subject: subject.into() };
    let joining = Joining { account: "default".into(), role: Role::Viewer };
    let enter = async |subject: &str, email: &str, joining: Option<&Joining>| {
        let made = control.sign_in_by_identity(&identity(subject), email, joining, BROWSER).await?;
        Ok(made.map(|made| control.signed_in(made.token.reveal()).unwrap().person))
    };
    let ann = enter("1", "Ann@Example.com", None).await.unwrap().unwrap();
    assert!(ann.operator && ann.issuer.as_deref() == Some("https://id.example.com"));
    // The subject is who they are; an address may change, or go to somebody else.
    assert_eq!(enter("1", "ann@married.example", None).await.unwrap().unwrap().id, ann.id);
    assert!(matches!(invalid(enter("2", EMAIL, Some(&joining)).await), Invalid::IdentityOfAnother { .. }));
    assert!(enter("3", "eve@example.com", None).await.unwrap().is_none());
    let bob = enter("4", "bob@example.com", Some(&joining)).await.unwrap().unwrap();
    assert_eq!((bob.role_in("default"), bob.operator, bob.has_password), (Some(Role::Viewer), false, false));
    assert!(control.sign_in("bob@example.com", &Password::given(""), BROWSER).await.unwrap().is_none());
}

#[tokio::test]
async fn who_has_lost_everything_comes_in_again_by_a_link_for_them_alone() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    operator(&control).await;
    let invited = member(&control, "bob@example.com", Role::Member).await;
    let made = control.accept_invitation(invited.token.reveal(), "bob@example.com", &password(), BROWSER).await;
    let cookie = made.unwrap().token.reveal().to_owned();
    let bob = control.signed_in(&cookie).unwrap();
    let setup = control.begin_app(&bob.person.id).unwrap();
    control.set_app(&bob.person.id, &bob.sign_in, &setup.step, &code(&setup.secret, 0)).await.unwrap().unwrap();
    let link = control.let_in_again(&bob.person.id).await.unwrap();
    assert_eq!(control.invitation(link.token.reveal()).unwrap().standing, Standing::Known);
    assert!(control.signed_in(&cookie).is_some(), "nothing changes before it is used");
    let new = Password::given("another horse battery");
    let other = control.accept_invitation(link.token.reveal(), "eve@example.com", &new, BROWSER).await;
    assert!(matches!(invalid(other), Invalid::InvitationOfAnother { .. }));
    let made = control.accept_invitation(link.token.reveal(), "bob@example.com", &new, BROWSER).await.unwrap();
    let again = control.signed_in(made.token.reveal()).unwrap().person;
    assert_eq!((again.role_in("default"), again.has_app), (Some(Role::Member), false));
    assert!(control.signed_in(&cookie).is_none() && control.invitation(link.token.reveal()).is_none());
}

#[tokio::test]
async fn proofs_outlive_a_restart_and_their_secrets_stand_nowhere() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (cookie, ann) = operator(&control).await;
    let sign_in = control.signed_in(&cookie).unwrap().sign_in;
    let setup = control.begin_app(&ann.id).unwrap();
    let codes = control.set_app(&ann.id, &sign_in, &setup.step, &code(&setup.secret, -1)).await.unwrap().unwrap();
    let log = format!("{:?}", control.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap());
    let rows = format!("{:?}", control.inner.book().rows());
    for secret in [&setup.secret, &codes[0], &codes[9]] {
        assert!(!log.contains(&**secret) && !rows.contains(&**secret));
    }
    assert!(log.contains("set app of"), "{log}");
    control.close().await;
    let (control, _) = house.open().await.unwrap();
    let wanted = step(&control).await;
    assert!(control.sign_in_by_code(&wanted, &code(&setup.secret, 0), BROWSER).await.unwrap().is_some());
    assert!(control.sign_in_by_code(&wanted, &codes[3], BROWSER).await.unwrap().is_some());
}

#[test]
fn proofs_of_a_later_version_let_nobody_in_by_a_password_alone() {
    let proofs = crate::proofs::Proofs::from_stored(r#"{"totp": "of another kind"}"#);
    assert!(proofs.totp.is_some_and(|app| app.since == Timestamp(0)));
    assert!(crate::proofs::Proofs::from_stored("").totp.is_none());
}
