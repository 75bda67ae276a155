//! What one decision costs with 100,000 routes and 10,000 accounts: the promise is less than a microsecond.
//!
//! Each decision is about another route or account than the one before, in an order that memory does not follow. What is
//! asked lies ready, one after another, since traffic has just read it. Dropping the answer is counted, too.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use moorgate_contract::{
    account::{Account, AccountId, Credential, CredentialId, Pepper, Principal, Secret, SecretId},
    decide::{Ask, Plan, Transport, decide},
    egress::Pair,
    failure::{Code, Failure},
    inbound::{Routed, find, let_in},
    policy::{Effect, Policy, Rule},
    route::{Mode, OriginSpec, Route, RouteId, RouteSettings},
    snapshot::Snapshot,
    time::Timestamp,
};
use moorgate_wire::{host::Asked, name::DomainName};

const ACCOUNTS: u64 = 10_000;
const ROUTES: u64 = 100_000;
/// One route in so many is a wildcard.
const WILDCARD_EACH: u64 = 10;
/// Shares no divisor with either number: each comes once before one comes again.
const STRIDE: u64 = 61_909;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOW: Timestamp = Timestamp(1);

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let pepper = Pepper::new([7; 32]);
    let snapshot = snapshot(&pepper)?;
    let mut criterion = Criterion::default().configure_from_args();
    inbound(&mut criterion, &snapshot)?;
    outbound(&mut criterion, &snapshot);
    authenticate(&mut criterion, &snapshot);
    criterion.final_summary();
    Ok(())
}

fn inbound(criterion: &mut Criterion, snapshot: &Snapshot) -> Fallible<()> {
    let (wildcard, exact): (Vec<_>, Vec<_>) = in_turn(ROUTES).partition(|route| is_wildcard(*route));
    let names = |routes: &[u64], below: &str| -> Fallible<Vec<DomainName>> {
        routes.iter().map(|route| Ok(format!("www.shop{route}.{below}").parse()?)).collect()
    };
    let (exact, unknown) = (names(&exact, "example.com")?, names(&exact, "example.org")?);
    let wildcard = names(&wildcard, "example.com")?;
    let route = |name: &DomainName| -> Result<Routed, Failure> {
        let routed = find(snapshot, Some(name), &mut ())?;
        let_in(&routed, CLIENT, &mut ())?;
        Ok(routed)
    };
    let mut group = criterion.benchmark_group("inbound");
    each(&mut group, "exact name", &exact, None, route);
    each(&mut group, "wildcard", &wildcard, None, route);
    each(&mut group, "unknown name", &unknown, Some(Code::DomainUnknown), route);
    each(&mut group, "exact name, the same each time", first(&exact), None, route);
    Ok(())
}

/// Whose, and where to.
type Wish<'a> = (&'a Arc<Account>, &'a Arc<Credential>, Asked);

fn outbound(criterion: &mut Criterion, snapshot: &Snapshot) {
    let wishes = |host: fn(u64) -> String| -> Vec<Wish<'_>> {
        let wish = |id| {
            let (account, credential) = (snapshot.account(&account_name(id))?, snapshot.credential(&username(id))?);
            Some((account, credential, Asked::new(&host(id), 443)))
        };
        in_turn(ACCOUNTS).filter_map(wish).collect()
    };
    let asks = |(account, credential, asked): &Wish<'_>| -> Result<Plan, Failure> {
        decide(&Ask { account, credential: Some(credential), asked, transport: Transport::Stream }, &mut ())
    };
    let mut group = criterion.benchmark_group("outbound");
    let (allowed, refused) = (wishes(partner), wishes(tracker));
    each(&mut group, "allowed by the tenth rule", &allowed, None, asks);
    each(&mut group, "refused by the fourth rule", &refused, Some(Code::PolicyDenied), asks);
    each(&mut group, "allowed, the same each time", first(&allowed), None, asks);
}

fn authenticate(criterion: &mut Criterion, snapshot: &Snapshot) {
    let usernames: Vec<String> = in_turn(ACCOUNTS).map(username).collect();
    let by = |password: &'static [u8]| {
        move |username: &String| -> Result<Principal, Failure> {
            snapshot.authenticate(Some((username, password)), NOW)
        }
    };
    let mut group = criterion.benchmark_group("authenticate");
    each(&mut group, "right password", &usernames, None, by(PASSWORD));
    each(&mut group, "wrong password", &usernames, Some(Code::CredentialsWrong), by(b"none of theirs, and as long a"));
    each(&mut group, "right password, the same each time", first(&usernames), None, by(PASSWORD));
}

/// One to be decided each time: what that costs when all is in the processor's caches.
fn first<I>(inputs: &[I]) -> &[I] {
    inputs.get(..1).unwrap_or_default()
}

/// Measures `decision` on each of `inputs` in turn, once it is clear that all end as expected: with `refusal`, or well.
fn each<I, T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    inputs: &[I],
    refusal: Option<Code>,
    decision: impl Fn(&I) -> Result<T, Failure>,
) {
    let as_expected = inputs.iter().all(|input| decision(input).err().map(|failure| failure.code) == refusal);
    assert!(as_expected && !inputs.is_empty(), "{name}: not what is to be measured");
    let mut turns = inputs.iter().cycle();
    group.bench_function(name, |bencher| bencher.iter(|| turns.next().map(&decision)));
}

fn snapshot(pepper: &Pepper) -> Fallible<Snapshot> {
    let mut snapshot = Snapshot::empty(Arc::default(), pepper.clone());
    for id in 0..ACCOUNTS {
        snapshot.put_account(account(id)?);
        snapshot.put_credential(credential(id, pepper));
    }
    for id in 0..ROUTES {
        let domain =
            if is_wildcard(id) { format!("*.shop{id}.example.com") } else { format!("www.shop{id}.example.com") };
        let origin = OriginSpec { url: format!("tls://origin{id}.example.net:443").parse()?, weight: 1 };
        let settings = RouteSettings { origins: vec![origin], ..RouteSettings::default() };
        let account = AccountId(id % ACCOUNTS);
        snapshot.put_route(Route::new(RouteId(id), account, domain.parse()?, Mode::Passthrough, settings));
    }
    Ok(snapshot)
}

fn account(id: u64) -> Fallible<Account> {
    let rule = |effect, matcher: &str| -> Fallible<Rule> { Ok(Rule { effect, matcher: matcher.parse()? }) };
    let denied = ["10.0.0.0/8", "*.internal.example", "ads.example", "*.tracker.example"];
    let allowed =
        ["198.51.100.0/24", "*.bank.example:443", "mail.example:587", "*.storage.example", "api.example.com:443"];
    let mut rules = Vec::new();
    for matcher in denied {
        rules.push(rule(Effect::Deny, matcher)?);
    }
    for matcher in allowed.into_iter().chain([&*partner(id)]) {
        rules.push(rule(Effect::Allow, matcher)?);
    }
    Ok(Account {
        id: AccountId(id),
        name: account_name(id).into(),
        policy: Policy::new(rules),
        policy_cuts: 0,
        egress: Pair::first_of(&[[203, 0, 113, 1].into(), [203, 0, 113, 2].into()]),
        load: Default::default(),
        quota: None,
    })
}

const PASSWORD: &[u8] = b"mgp_0123456789abcdefghjkmnpqr";

fn credential(id: u64, pepper: &Pepper) -> Credential {
    let username = username(id);
    Credential {
        id: CredentialId(id),
        account: AccountId(id),
        secrets: vec![Secret { id: SecretId(id), hash: pepper.hash(&username, PASSWORD), until: None }],
        username: username.into(),
        expires: None,
        clients: Vec::new(),
        policy: None,
        policy_cuts: 0,
    }
}

fn in_turn(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |turn| turn * STRIDE % count)
}

fn is_wildcard(route: u64) -> bool {
    route.is_multiple_of(WILDCARD_EACH)
}

fn account_name(id: u64) -> String {
    format!("account{id}")
}

fn username(id: u64) -> String {
    format!("mg_account{id}")
}

fn partner(id: u64) -> String {
    format!("api.partner{id}.example")
}

fn tracker(id: u64) -> String {
    format!("t{id}.tracker.example")
}
