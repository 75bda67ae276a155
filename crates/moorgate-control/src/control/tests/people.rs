//! Who may use the console.

use crate::{
    AuditFilter, Control, ControlError, Entered, Invalid, NewInvitation, Password, PersonView, Role, Standing,
    testing::House,
};

pub(super) const EMAIL: &str = "ann@example.com";
pub(super) const BROWSER: &str = "A Browser/1.0";

pub(super) fn password() -> Password {
    Password::given("correct horse battery")
}

pub(super) fn invalid<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Invalid {
    match result.unwrap_err() {
        ControlError::Invalid(invalid) => invalid,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn operator(control: &Control) -> (String, PersonView) {
    let invited = control.invite(None, Standing::Operator).await.unwrap();
    let made = control.accept_invitation(invited.token.reveal(), EMAIL, &password(), BROWSER).await.unwrap();
    let cookie = made.token.reveal().to_owned();
    let person = control.signed_in(&cookie).unwrap().person;
    (cookie, person)
}

pub(super) async fn member(control: &Control, email: &str, role: Role) -> NewInvitation {
    let standing = Standing::Member { account: "default".to_owned(), role };
    control.invite(Some(email), standing).await.unwrap()
}

#[tokio::test]
async fn an_invitation_is_taken_up_once_by_whom_it_is_for() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let invited = member(&control, " Bob@Example.COM ", Role::Member).await;
    let token = invited.token.reveal();
    let shown = control.invitation(token).unwrap();
    assert_eq!(shown.email.as_deref(), Some("bob@example.com"));
    assert_eq!(control.list_invitations(Some("default")).unwrap(), [shown]);
    let accept = async |email: &str, password: &str| {
        control.accept_invitation(token, email, &Password::given(password), BROWSER).await
    };
    for email in
        ["", "bob", "@example.com", "bob@", "bob@example.com bob", "bob@example.com\r\nBcc: eve", "b<o>b@example.com"]
    {
        assert!(matches!(invalid(accept(email, "correct horse").await), Invalid::Email { .. }), "{email:?}");
    }
    let other = invalid(accept("eve@example.com", "correct horse").await);
    assert_eq!(other, Invalid::InvitationOfAnother { email: "bob@example.com".to_owned() });
    for weak in ["short", "bob@example.com", &"x".repeat(300)] {
        assert_eq!(invalid(accept("bob@example.com", weak).await), Invalid::Passphrase);
    }
    let made = accept("BOB@example.com", "correct horse").await.unwrap();
    let person = control.signed_in(made.token.reveal()).unwrap().person;
    assert_eq!(
        (person.role_in("default"), person.role_in("other"), person.operator),
        (Some(Role::Member), None, false)
    );
    assert_eq!(invalid(accept("bob@example.com", "correct horse").await), Invalid::InvitationGone);
    assert!(control.invitation(token).is_none() && control.invitation("mgi_nothing").is_none());
    // Somebody who has a password takes up another with that.
    let again = member(&control, "bob@example.com", Role::Owner).await;
    let new = control.accept_invitation(again.token.reveal(), "bob@example.com", &password(), BROWSER).await;
    assert!(matches!(invalid(new), Invalid::EmailTaken { .. }));
    control.join_by_invitation(again.token.reveal(), &person.id).await.unwrap();
    assert_eq!(control.list_people(Some("default")).unwrap()[0].role_in("default"), Some(Role::Owner));
    // One that was taken back is none.
    let gone = control.invite(None, Standing::Operator).await.unwrap();
    control.take_back_invitation(&gone.id).await.unwrap();
    let late = control.accept_invitation(gone.token.reveal(), EMAIL, &password(), BROWSER).await;
    assert_eq!(invalid(late), Invalid::InvitationGone);
}

#[tokio::test]
async fn somebody_signs_in_with_their_password_and_out_again() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (first, person) = operator(&control).await;
    assert!(person.operator && person.role_in("default") == Some(Role::Owner));
    for (email, wrong) in [(EMAIL, "wrong horse battery"), ("eve@example.com", "correct horse battery"), ("", "")] {
        assert!(control.sign_in(email, &Password::given(wrong), BROWSER).await.unwrap().is_none(), "{email} {wrong}");
    }
    let Some(Entered::In(second)) = control.sign_in(" ANN@example.com", &password(), BROWSER).await.unwrap() else {
        panic!("no app was set up");
    };
    assert_eq!(control.list_sign_ins(&person.id).len(), 2);
    assert!(control.list_sign_ins(&person.id).iter().all(|one| one.agent == BROWSER));
    // Another password signs out whoever knew the old one.
    let (here, new) = (control.signed_in(second.token.reveal()).unwrap(), Password::given("another horse battery"));
    let change =
        async |old: &Password, new: &Password| control.change_password(&person.id, &here.sign_in, old, new).await;
    assert!(!change(&new, &new).await.unwrap(), "the old one is asked for");
    assert_eq!(invalid(change(&password(), &Password::given("short")).await), Invalid::Passphrase);
    assert!(change(&password(), &new).await.unwrap());
    assert!(control.signed_in(&first).is_none() && control.signed_in(second.token.reveal()).is_some());
    assert!(control.sign_in(EMAIL, &password(), BROWSER).await.unwrap().is_none());
    control.sign_out(&person.id, &here.sign_in).await.unwrap();
    assert!(control.signed_in(second.token.reveal()).is_none());
    // The oldest browser makes room.
    for _ in 0..crate::limits::MAX_SIGN_INS + 2 {
        control.sign_in(EMAIL, &new, BROWSER).await.unwrap().unwrap();
    }
    assert_eq!(control.list_sign_ins(&person.id).len(), crate::limits::MAX_SIGN_INS);
}

#[tokio::test]
async fn people_and_what_they_are_signed_in_with_outlive_a_restart() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (cookie, person) = operator(&control).await;
    let invited = member(&control, "bob@example.com", Role::Viewer).await;
    control.close().await;
    let (control, _) = house.open().await.unwrap();
    assert_eq!(control.signed_in(&cookie).unwrap().person, person);
    assert!(control.invitation(invited.token.reveal()).is_some());
    assert!(control.sign_in(EMAIL, &password(), BROWSER).await.unwrap().is_some());
}

#[tokio::test]
async fn roles_end_with_their_account_and_people_with_their_removal() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (_, ann) = operator(&control).await;
    control.add_account("acme").await.unwrap();
    let invited = member(&control, "bob@example.com", Role::Viewer).await;
    let made = control.accept_invitation(invited.token.reveal(), "bob@example.com", &password(), BROWSER).await;
    let cookie = made.unwrap().token.reveal().to_owned();
    let bob = || control.signed_in(&cookie).unwrap().person;
    control.set_role(&bob().id, "acme", Some(Role::Owner)).await.unwrap();
    control.set_role(&bob().id, "default", Some(Role::Member)).await.unwrap();
    assert_eq!((bob().role_in("acme"), bob().role_in("default")), (Some(Role::Owner), Some(Role::Member)));
    let open = control.invite(None, Standing::Member { account: "acme".to_owned(), role: Role::Member }).await.unwrap();
    control.remove_account("acme").await.unwrap();
    assert_eq!(bob().roles.keys().collect::<Vec<_>>(), ["default"]);
    assert!(control.invitation(open.token.reveal()).is_none());
    control.set_role(&bob().id, "default", None).await.unwrap();
    assert_eq!(bob().role_in("default"), None);
    control.remove_person(&bob().id).await.unwrap();
    assert!(control.signed_in(&cookie).is_none());
    assert!(matches!(invalid(control.remove_person(&ann.id).await), Invalid::LastOperator { .. }));
}

#[tokio::test]
async fn the_audit_log_has_who_came_and_no_secret() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let invited = control.invite(None, Standing::Operator).await.unwrap();
    let made = control.accept_invitation(invited.token.reveal(), EMAIL, &password(), BROWSER).await.unwrap();
    let log = format!("{:?}", control.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap());
    for said in ["add", "accept", "open", EMAIL, BROWSER, "who: Person { email: \"ann@example.com\", account: None }"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for secret in [invited.token.reveal(), made.token.reveal(), password().reveal(), "$argon2"] {
        assert!(!log.contains(secret), "{log}");
    }
    assert!(!format!("{:?}", control.inner.book().rows()).contains("$argon2"));
}
