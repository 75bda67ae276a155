//! What can be wrong with a request, one sentence each.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use moorgate_alarm::WrongReceiver;
use moorgate_contract::{
    guard::Class,
    policy::MAX_RULES,
    route::{DomainError, MAX_ACTION_ITEMS, MAX_PAGE_BYTES, OriginSpec, OriginUrl, OriginUrlError},
};
use moorgate_wire::path::PathError;
use thiserror::Error;

use crate::{
    error::What,
    limits::{
        MAX_CERTIFICATE_BYTES, MAX_CHECK_EVERY, MAX_CLIENTS, MAX_CREDENTIAL_NAME, MAX_ORIGINS, MAX_PASSKEYS,
        MAX_PASSWORD, MAX_SETTINGS_BYTES, MIN_PASSWORD, TEST_NAME, TEST_PAUSE,
    },
    names::MAX_ACCOUNT_NAME,
    proofs::passkey::PasskeyProblem,
};

const TEST_SECONDS: u64 = TEST_PAUSE.as_secs();

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Not a name for an account.
    #[error("{name:?} is no name for an account: use 1 to {MAX_ACCOUNT_NAME} of a-z, 0-9 and -, not beginning with -")]
    AccountName {
        /// As given.
        name: String,
    },
    /// Not an address of somebody.
    #[error("{email:?} is no email address, such as you@example.com")]
    Email {
        /// As given.
        email: String,
    },
    /// Somebody has it.
    #[error("{email} can sign in already: sign in first")]
    EmailTaken {
        /// As given.
        email: String,
    },
    /// A password that is guessed too soon.
    #[error(
        "a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters and is not the email address; several words are easy to keep"
    )]
    Passphrase,
    /// What was begun can't be gone on with.
    #[error("that took too long, or was begun somewhere else; begin again")]
    StepGone,
    /// A passkey that is not taken.
    #[error("{0}")]
    Passkey(PasskeyProblem),
    /// More than one keeps apart.
    #[error("one person has at most {MAX_PASSKEYS} passkeys; remove one first")]
    TooManyPasskeys,
    /// It is there already.
    #[error("this passkey is known already")]
    PasskeyKnown,
    /// An identity provider has given an address to somebody else.
    #[error("{email} is somebody else's at your identity provider by now; an operator has to remove them here first")]
    IdentityOfAnother {
        /// The address.
        email: String,
    },
    /// A link that opens nothing.
    #[error("this link was used, has ended or was taken back; ask whoever sent it for another")]
    InvitationGone,
    /// It is somebody else's.
    #[error("this invitation is for {email}")]
    InvitationOfAnother {
        /// Who is meant.
        email: String,
    },
    /// Nobody could let anybody in any more.
    #[error("{email} is the last operator; make another one first")]
    LastOperator {
        /// Who.
        email: String,
    },
    /// Nobody who could be told.
    #[error("{receiver:?} can't be told: {why}")]
    Receiver {
        /// As given.
        receiver: String,
        /// What is wrong.
        why: WrongReceiver,
    },
    /// Somewhere that the guard lets nobody reach.
    #[error(
        "nothing is sent to {host}, which is {class}; an operator opens networks in [egress] allow_private_destinations"
    )]
    ReceiverGuarded {
        /// The address.
        host: String,
        /// What it is.
        class: Class,
    },
    /// What the gateways have for themselves.
    #[error("nothing is sent to {host}, which is {class}, whatever is allowed")]
    ReceiverKept {
        /// The address.
        host: String,
        /// What it is.
        class: Class,
    },
    /// Somebody who is told already.
    #[error("{receiver} is a receiver of this account already; remove it first")]
    ReceiverTwice {
        /// As given.
        receiver: String,
    },
    /// No mail is sent.
    #[error(
        "this gateway sends no mail: its operator sets url, password_file and from in [smtp] of the gateway's file first; a \
         webhook needs nothing"
    )]
    NoMail,
    /// Of nothing.
    #[error("name at least one kind: quota, certificate, dns, origin, never_used or stopped")]
    NoAlarmKinds,
    /// A test right after another.
    #[error("a test was just sent there; wait {TEST_SECONDS} seconds")]
    TestTooSoon,
    /// Not a name for a credential.
    #[error(
        "{name:?} is no name for a credential: use up to {MAX_CREDENTIAL_NAME} characters that can be seen, in one line"
    )]
    CredentialName {
        /// As given.
        name: String,
    },
    /// A name that is not for apps.
    #[error("a credential can't be called {TEST_NAME:?}: the console's tests have that one; choose another name")]
    CredentialNameKept,
    /// Not a name for a tier.
    #[error("{name:?} is no name for a tier: use 1 to {MAX_ACCOUNT_NAME} of a-z, 0-9 and -, not beginning with -")]
    TierName {
        /// As given.
        name: String,
    },
    /// A tier that is somebody's.
    #[error(
        "{} the tier {name}; give {} another first (moorgate account set NAME --tier T)",
        if *accounts == 1 { "an account has".to_owned() } else { format!("{accounts} accounts have") },
        if *accounts == 1 { "it" } else { "them" }
    )]
    TierInUse {
        /// The tier.
        name: String,
        /// How many have it.
        accounts: usize,
    },
    /// A wildcard of somebody else's stands for the domain.
    #[error("{domain} is what {wildcard} stands for, which is another account's")]
    UnderWildcard {
        /// The domain.
        domain: String,
        /// The wildcard.
        wildcard: String,
    },
    /// Somebody else holds the domain.
    #[error(
        "{domain} is held by another account whose DNS does not prove it now; if it is yours, set this TXT record and add the route \
         again: {record}"
    )]
    Held {
        /// The domain.
        domain: String,
        /// What to set, as a line of a zone file.
        record: String,
    },
    /// A domain that everybody has.
    #[error("{domain} is a public suffix, below which names are anybody's; name one of your own, such as app.{domain}")]
    PublicSuffix {
        /// The domain.
        domain: String,
    },
    /// A domain that the gateways have for themselves.
    #[error("{domain} is in the zone {zone}, where the targets of routes are; name a domain of your own")]
    InZone {
        /// The domain.
        domain: String,
        /// `[dns] zone`.
        zone: String,
    },
    /// There is no CA.
    #[error("no CA is configured; name one in [acme] directory of the gateway's file first")]
    NoCa,
    /// No certificate is ordered for the domain.
    #[error(
        "the CA is not asked for a certificate of {domain}: it is passed through, its DNS is not here, it has one that was \
         added by hand, or it is a wildcard and no [dns] listen is set (moorgate route show '{domain}')"
    )]
    NotForCa {
        /// The domain.
        domain: String,
    },
    /// Somebody else goes on with an order.
    #[error("another gateway goes on with the order for {domain}")]
    OrderTaken {
        /// The domain.
        domain: String,
    },
    /// There is no zone.
    #[error("no zone is configured; name one in [dns] zone of the gateway's file first")]
    NoZone,
    /// The zone leads nowhere.
    #[error(
        "no public address of this gateway is known; list those that clients reach it by in [dns] addresses of the \
         gateway's file"
    )]
    NoAddresses,
    /// No egress addresses are configured, so none can be given to an account.
    #[error("no egress addresses are configured; list them in [egress] addresses of the gateway's file first")]
    NoEgressConfigured,
    /// An address that the gateway doesn't leave from.
    #[error("{address} is none of the gateway's egress addresses; `moorgate egress list` lists them")]
    NotAnEgressAddress {
        /// As given.
        address: IpAddr,
    },
    /// The same address twice.
    #[error("egress address {address} is named twice; name two different ones, or one")]
    SameEgressTwice {
        /// As given.
        address: IpAddr,
    },
    /// More addresses than a pair has.
    #[error("an account leaves from one or two egress addresses, not {count}")]
    TooManyEgress {
        /// How many were given.
        count: usize,
    },
    /// More rules than a policy may have.
    #[error("a policy has at most {MAX_RULES} rules, this one has {count}; use wildcards or CIDRs")]
    TooManyRules {
        /// How many were given.
        count: usize,
    },
    /// More networks than a credential may be bound to.
    #[error("a credential is bound to at most {MAX_CLIENTS} networks, not {count}; use larger ones")]
    TooManyClients {
        /// How many were given.
        count: usize,
    },
    /// A network with an address in it, which somebody may have meant alone.
    #[error("{given} has bits beyond its prefix; write {meant} for the whole network, or {} for the one address", given.addr())]
    LooseNetwork {
        /// As given.
        given: IpNet,
        /// The network that it is in.
        meant: IpNet,
    },
    /// An end that has passed.
    #[error("{expires} is in the past; give a time to come, or revoke the credential")]
    ExpiresInThePast {
        /// As given.
        expires: String,
    },
    /// A value that nobody can open stands in the way of other edits.
    #[error("the value of the header field {name} can't be opened; set the header fields of the route anew")]
    HeaderUnopened {
        /// The field.
        name: String,
    },
    /// The system's random generator, or its memory, is not to be had.
    #[error("the values of header fields can't be sealed now; try again")]
    Unsealable,
    /// A text that is too long.
    #[error("a text has at most {} MiB, this one has {bytes} bytes; apply it in parts", crate::MAX_TEXT >> 20)]
    TextTooLong {
        /// How many it has.
        bytes: usize,
    },
    /// An overlap that is no rotation any more.
    #[error("an overlap of {} days is too long; at most {}", .overlap.as_secs() / 86_400, crate::MAX_OVERLAP.as_secs() / 86_400)]
    OverlapTooLong {
        /// As given.
        overlap: Duration,
    },
    /// No account was named where there are several, or none.
    #[error("there are {count} accounts; name the one whose it is to be (`moorgate account list` lists them)")]
    NameAnAccount {
        /// How many there are.
        count: usize,
    },
    /// Not a domain for a route.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// A certificate that another account added stands in the way.
    #[error("the certificate of {domain} is another account's; that account must remove it first")]
    CertificateOfAnother {
        /// The domain.
        domain: String,
    },
    /// A certificate for a domain that another account has the route of.
    #[error("the route {domain} is another account's, and so is its certificate; name that account")]
    RouteOfAnother {
        /// The domain.
        domain: String,
    },
    /// What was given as a certificate with its key is none.
    #[error("the certificate can't be used: {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate for other names.
    #[error("the certificate is not for {domain} but for {names}; give one that names {domain}")]
    CertificateOfOthers {
        /// The domain.
        domain: String,
        /// What it is for.
        names: String,
    },
    /// More than a chain and its key have.
    #[error("a certificate's chain and its key have at most {MAX_CERTIFICATE_BYTES} bytes each, not {bytes}")]
    CertificateTooLong {
        /// How long the longer one is.
        bytes: usize,
    },
    /// Nowhere to go.
    #[error("{pool} needs at least one origin; name where it goes, such as http://127.0.0.1:3000")]
    NoOrigin {
        /// The route, or a path of it.
        pool: String,
    },
    /// More origins than a pool may have.
    #[error("{pool} has at most {MAX_ORIGINS} origins, not {count}; put a load balancer before the rest")]
    TooManyOrigins {
        /// The route, or a path of it.
        pool: String,
        /// How many were given.
        count: usize,
    },
    /// A share that is none.
    #[error("the weight of {url} is {weight}; give it one of 1 to {}", OriginSpec::MAX_WEIGHT)]
    Weight {
        /// Of which origin.
        url: OriginUrl,
        /// As given.
        weight: u16,
    },
    /// A forwarding URL that the mode can't serve.
    #[error(transparent)]
    Origin(#[from] OriginUrlError),
    /// The gateway itself as an origin.
    #[error("{url} is a listener of this gateway, so requests would go round in circles; name the app's own address")]
    OwnListener {
        /// As given.
        url: OriginUrl,
    },
    /// What the gateways have for themselves as an origin.
    #[error("{url} is {class}, where no route may lead; name the app's own address")]
    Kept {
        /// As given.
        url: OriginUrl,
        /// What it is.
        class: Class,
    },
    /// What only a route that reads HTTP can do.
    #[error(
        "a passthrough route can't have {what}: its clients' TLS goes by unread; leave that out, or make a terminate route"
    )]
    NotForPassthrough {
        /// What was set.
        what: &'static str,
    },
    /// A setting that only a passthrough route can have.
    #[error("a terminate route can't have {what}: the gateway answers those for it; leave that out")]
    NotForTerminate {
        /// What was set.
        what: &'static str,
    },
    /// An origin of challenges that is not plain HTTP.
    #[error("{url} can't answer ACME challenges, which come in plain HTTP: write http://HOST[:PORT]")]
    AcmeOrigin {
        /// As given.
        url: OriginUrl,
    },
    /// Not a path.
    #[error("{what} {path:?} can't be used: {error}")]
    NotAPath {
        /// What it was given for.
        what: &'static str,
        /// As given.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// A path that no request is ever compared with.
    #[error("{what} {path:?} would match nothing, for paths are compared in one spelling only; write {canonical:?}")]
    NotCanonicalPath {
        /// What it was given for.
        what: &'static str,
        /// As given.
        path: String,
        /// The spelling that is compared.
        canonical: String,
    },
    /// The same part of the paths twice.
    #[error("the path prefix {prefix:?} is named twice; name it once, with all its origins")]
    PrefixTwice {
        /// As given.
        prefix: String,
    },
    /// A redirect that no client could follow.
    #[error("a redirect can't lead to {to:?}; write a path or an http:// or https:// URL, other characters as %xx")]
    RedirectTarget {
        /// As given.
        to: String,
    },
    /// A star that stands for nothing.
    #[error("{from:?} has a * that stands for nothing; only a /* at the end does, for all that is below")]
    RedirectStar {
        /// As given.
        from: String,
    },
    /// A redirect after which there is no end to being redirected.
    #[error("a redirect from {from} to {to} leads round in a circle; let it lead elsewhere")]
    RedirectCircle {
        /// The path.
        from: String,
        /// Where it leads.
        to: String,
    },
    /// A status that is no redirect.
    #[error("{status} is no status of a redirect; use 301, 302, 303, 307 or 308")]
    RedirectStatus {
        /// As given.
        status: u16,
    },
    /// Not a name of a header field.
    #[error("{name:?} is no name of a header field; use letters, digits and hyphens")]
    HeaderName {
        /// As given.
        name: String,
    },
    /// A field by which messages are framed or routed.
    #[error("the header field {name} can't be edited: the gateway writes it itself; leave it out")]
    HeaderNotEditable {
        /// In lower case.
        name: String,
    },
    /// A value that could end its line.
    #[error("the value for header field {name} has a control byte in it; leave that out")]
    HeaderValue {
        /// In lower case.
        name: String,
    },
    /// A username that HTTP Basic can't carry.
    #[error("{username:?} is no username for HTTP Basic; use at least one character, but no colon or control byte")]
    BasicUsername {
        /// As given.
        username: String,
    },
    /// No password.
    #[error("the password of {username:?} is empty; choose one")]
    BasicPassword {
        /// Whose.
        username: String,
    },
    /// Whose password is to stay, and there is none.
    #[error("{username:?} has no password here yet; write one: password = \"…\"")]
    NoBasicPassword {
        /// Whose.
        username: String,
    },
    /// A field whose value is to stay, and there is none.
    #[error("the header field {name} has no value here yet; write one: value = \"…\"")]
    NoHeaderValue {
        /// Which.
        name: String,
    },
    /// A page that is too long.
    #[error("a maintenance page has at most {MAX_PAGE_BYTES} bytes, this one has {bytes}; load images from elsewhere")]
    PageTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A list that is too long.
    #[error("a route has at most {MAX_ACTION_ITEMS} {what}, not {count}; leave some out")]
    TooManyItems {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
    },
    /// A text without CA certificates.
    #[error("origin_ca can't be used ({problem}); give CA certificates in PEM (-----BEGIN CERTIFICATE-----)")]
    OriginCa {
        /// What is wrong with it.
        problem: String,
    },
    /// A path that nothing is ever asked for.
    #[error("a check by {path} needs to know how often; give its interval too (--check-every 10s)")]
    CheckPathAlone {
        /// As given.
        path: String,
    },
    /// Checks that come too often or never.
    #[error("an origin can't be checked every {seconds} s; use whole seconds, 1 to {MAX_CHECK_EVERY}")]
    CheckEvery {
        /// As given.
        seconds: u32,
    },
    /// All of it together is too much.
    #[error("the settings of a route have at most {MAX_SETTINGS_BYTES} bytes, these have {bytes}; leave some out")]
    SettingsTooLong {
        /// How many they have.
        bytes: usize,
    },
    /// There are as many as there may be.
    #[error("there are already {limit} {what}s, the most there can be; remove one first")]
    TooMany {
        /// Of what.
        what: What,
        /// How many there may be.
        limit: usize,
    },
}
