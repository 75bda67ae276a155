//! What is wrong in an account: what the control plane knows already, by kind.

use std::time::Duration;

use moorgate_contract::{
    account::AccountId,
    balance::{CHECKS_TO_DOWN, Standing},
    route::{Domain, Origin},
    time::Timestamp,
};

use super::judge::{Looked, Trouble};
use crate::{
    alarm_views::AlarmKind,
    book::{AccountRow, RouteRow},
    calendar,
    control::{Control, Inner, now, usage::stage_of},
    route_views::DnsState,
    shown::second,
    views::{CredentialStanding, CredentialView},
};

/// A credential that nobody has used in so long after it was made is not coming: an app is connected on the day.
const NEVER_USED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Orders in a row that failed before somebody is told: what fails once is tried again within minutes.
const FAILED_ORDERS: u64 = 3;

impl Inner {
    /// What is seen in memory at once: quotas, DNS and origins.
    pub(super) fn find_quick(&self, account: &AccountRow, looked: &mut Looked) {
        self.find_quotas(account, looked);
        looked.kinds.extend([AlarmKind::Dns, AlarmKind::Origin]);
        let book = self.book();
        for row in book.routes_of(account.id) {
            looked.wrong.extend(self.dns_trouble(row));
            self.find_origins(row, looked);
        }
    }

    fn find_quotas(&self, account: &AccountRow, looked: &mut Looked) {
        let now = now();
        let month = calendar::month(now);
        let snapshot = self.current.load();
        let Some(quota) = snapshot.account(&account.name).and_then(|account| account.quota.as_ref()) else {
            looked.kinds.insert(AlarmKind::Quota);
            return;
        };
        // Right after a start nobody knows yet what was spent before.
        if !self.knows_spent(month) {
            return;
        }
        looked.kinds.insert(AlarmKind::Quota);
        let (quotas, spent) = (quota.quotas(), self.spent(account.id, now));
        let all = [
            ("requests of the month", quotas.requests_per_month, spent.requests),
            ("bytes of the month", quotas.bytes_per_month, spent.bytes),
        ];
        for (about, limit, used) in all.into_iter().filter_map(|(about, limit, used)| Some((about, limit?, used))) {
            let stage = stage_of(used, limit);
            let how = if stage == 2 { "all" } else { "four fifths" };
            let todo = "A larger tier gives it more; without, what goes beyond the quota and its grace is refused until the \
                        month ends (UTC).";
            if stage > 0 {
                let said = format!("{} has spent {how} of its {about}: {used} of {limit}.", account.name);
                looked.wrong.push(trouble(AlarmKind::Quota, about, stage, said, todo));
            }
        }
    }

    fn dns_trouble(&self, row: &RouteRow) -> Option<Trouble> {
        self.zone.as_ref()?;
        let domain = &row.domain;
        let (stage, said) = match row.dns {
            DnsState::Missing => (1, format!("The DNS of {domain} does not lead here any more.")),
            DnsState::Released => (2, format!("{domain} is not served any more: its DNS was not here for a week.")),
            DnsState::Unchecked | DnsState::Pending | DnsState::Seen => return None,
        };
        let todo = format!(
            "Set the CNAME again that the domain's page shows, or remove the route; moorgate route check {domain} says what is seen."
        );
        Some(Trouble { since: Some(row.dns_since), ..trouble(AlarmKind::Dns, domain, stage, said, &todo) })
    }

    /// Only where origins are checked: what traffic alone has found is over as soon as there is none.
    fn find_origins(&self, row: &RouteRow, looked: &mut Looked) {
        let Ok(domain) = row.domain.parse::<Domain>() else { return };
        let snapshot = self.current.load();
        let Some(route) = snapshot.route_of(&domain).filter(|route| route.id == row.id) else { return };
        let Some(every) = route.settings.check.every else { return };
        let concluded = Duration::from_secs(u64::from(every) * u64::from(CHECKS_TO_DOWN + 1));
        let is_early = now().since(self.started) < concluded;
        let clock = self.plane.clock();
        let pools = route.path_pools.iter().chain([&route.pool]);
        for origin in pools.flat_map(|pool| pool.origins()) {
            let about = about_origin(&row.domain, origin);
            if origin.health.standing(clock) != Standing::Down {
                if is_early {
                    looked.unknown.insert((AlarmKind::Origin, about));
                }
                continue;
            }
            let said = format!("The checks of {} fail, an origin of {}.", origin.url, row.domain);
            let todo = "See whether it runs and lets this gateway in; until its checks pass, it gets no traffic while another does.";
            if !looked.wrong.iter().any(|known| known.kind == AlarmKind::Origin && known.about == about) {
                looked.wrong.push(trouble(AlarmKind::Origin, &about, 1, said, todo));
            }
        }
    }

    fn find_certificates(&self, account: AccountId, looked: &mut Looked) {
        looked.kinds.insert(AlarmKind::Certificate);
        let mut seen = Vec::new();
        for ending in self.ending_soon_of(Some(account)) {
            let domain = &ending.domain;
            let (stage, when) = match ending.left.as_secs() {
                0 => (2, "has ended".to_owned()),
                left => (1, format!("ends in {}", days(left))),
            };
            let said = format!("The certificate of {domain} {when}: {}.", ending.why.trim_end_matches('.'));
            let todo = format!(
                "Look at what the page of {domain} says; moorgate route check {domain} says what is in the way."
            );
            if !seen.contains(domain) {
                seen.push(domain.clone());
                looked.wrong.push(trouble(AlarmKind::Certificate, domain, stage, said, &todo));
            }
        }
        let book = self.book();
        let failing = book.issuances().filter(|row| row.account == Some(account) && row.failures >= FAILED_ORDERS);
        for row in failing.filter(|row| !seen.contains(&row.domain)) {
            let domain = &row.domain;
            let said = format!("The certificate of {domain} could not be had: {}.", row.error.trim_end_matches('.'));
            let todo = format!("It is tried again by itself; moorgate route check {domain} says what is in the way.");
            looked.wrong.push(trouble(AlarmKind::Certificate, domain, 1, said, &todo));
        }
    }
}

impl Control {
    /// What the store is asked for, or costs more to see: certificates and credentials.
    pub(super) async fn find_slow(&self, account: &AccountRow, looked: &mut Looked) {
        self.inner.find_certificates(account.id, looked);
        let Ok(credentials) = self.list_credentials(&account.name).await else { return };
        if credentials.iter().any(|one| one.standing == CredentialStanding::Unknown) {
            return;
        }
        looked.kinds.extend([AlarmKind::NeverUsed, AlarmKind::Stopped]);
        looked.wrong.extend(
            credentials.iter().filter(|one| !one.is_for_tests()).filter_map(|one| credential_trouble(one, now())),
        );
    }
}

fn credential_trouble(one: &CredentialView, now: Timestamp) -> Option<Trouble> {
    let (username, called) = (&one.username, one.called());
    match (one.standing, one.last_used) {
        (CredentialStanding::NeverUsed, _) if now.since(one.created) >= NEVER_USED => {
            let said = format!("The credential {called} was not used since it was made, on {}.", day(one.created));
            let todo = "Its app may still connect directly: connect it, or revoke the credential.";
            let trouble = trouble(AlarmKind::NeverUsed, username, 1, said, todo);
            Some(Trouble { since: Some(one.created), ..trouble })
        }
        (CredentialStanding::Stopped, Some(last)) => {
            let said = format!("The traffic of {called} stopped after {}.", second(last));
            let todo =
                "See whether its app runs, and whether it still goes through the proxy; revoke what is not needed.";
            Some(Trouble { since: Some(last), ..trouble(AlarmKind::Stopped, username, 1, said, todo) })
        }
        _ => None,
    }
}

fn trouble(kind: AlarmKind, about: &str, stage: u8, said: String, todo: &str) -> Trouble {
    Trouble { kind, about: about.to_owned(), stage, since: None, said, todo: todo.to_owned() }
}

/// The domain comes first: the console's link is made of it.
fn about_origin(domain: &str, origin: &Origin) -> String {
    format!("{domain} {}", origin.url)
}

fn days(seconds: u64) -> String {
    match seconds / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

fn day(at: Timestamp) -> String {
    second(at).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_missed_after_its_first_week_and_a_day_without_traffic() {
        let at = |days: u64| Timestamp(days * 86_400 * 1_000_000);
        let view = |standing, last_used| CredentialView {
            username: "mg_a".into(),
            name: String::new(),
            created: at(10),
            passwords: 1,
            overlap_until: None,
            expires: None,
            clients: vec![],
            policy: None,
            last_used,
            last_client: None,
            problem: None,
            standing,
        };
        let kind = |standing, last_used, days| {
            credential_trouble(&view(standing, last_used), at(days)).map(|it| (it.kind, it.since))
        };
        let (never, stopped) = (CredentialStanding::NeverUsed, CredentialStanding::Stopped);
        assert_eq!(kind(never, None, 16), None);
        assert_eq!(kind(never, None, 17), Some((AlarmKind::NeverUsed, Some(at(10)))));
        assert_eq!(kind(stopped, Some(at(12)), 14), Some((AlarmKind::Stopped, Some(at(12)))));
        for other in [CredentialStanding::InUse, CredentialStanding::Expired, CredentialStanding::Unknown] {
            assert_eq!(kind(other, Some(at(12)), 90), None);
        }
    }
}
