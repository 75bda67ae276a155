//! `account`.

use std::fmt::Write;

use moorgate_api::{client::Client, view};
use moorgate_control::CredentialStanding;
use serde::Serialize;

use super::{CommandError, credential::bounds_of, quota};
use crate::{
    cli::Account,
    output::{self, Table, answer, called, when},
};

pub(super) async fn run(client: &Client, command: Account) -> Result<(), CommandError> {
    match command {
        Account::Add { name, json } => {
            let account = client.add_account(&name).await?;
            let next = format!("account {name} added; give it a credential with: moorgate credential add {name}\n");
            answer(json, &account, || next)
        }
        Account::List(json) => {
            let accounts = client.accounts().await?;
            answer(json, &accounts, || list(&accounts))
        }
        Account::Show { name, json } => {
            let account = client.account(&name).await?;
            let shown = Shown { credential_list: client.credentials(&name).await?, account };
            answer(json, &shown, || show(&shown.account, &shown.credential_list))
        }
        Account::Set { name, tier, egress, json } => {
            let change = view::ChangeAccount {
                egress: egress.map(|egress| egress.0),
                tier: tier.map(|tier| Some(tier).filter(|tier| !tier.is_empty())),
            };
            let account = client.change_account(&name, &change).await?;
            answer(json, &account, || changed(&account, &change))
        }
        Account::Remove { name } => {
            client.remove_account(&name).await?;
            output::print(&format!(
                "account {name} removed with its credentials and tokens; its open connections are cut\n"
            ))
        }
    }
}

/// An account, and whether its credentials are used.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    account: view::Account,
    credential_list: Vec<view::Credential>,
}

fn egress_of(account: &view::Account) -> String {
    match account.egress.as_slice() {
        [] => "whatever the kernel picks".into(),
        addresses => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn changed(account: &view::Account, change: &view::ChangeAccount) -> String {
    let name = &account.name;
    let mut text = String::new();
    if change.egress.is_some() {
        let _ = writeln!(text, "account {name} leaves from {} from now on; open connections stay", egress_of(account));
    }
    if change.tier.is_some() {
        let _ = match (&account.tier, &account.quota) {
            (Some(tier), Some(quota)) => {
                writeln!(text, "account {name} has the tier {tier} from now on: {}", quota::allows(&quota.quotas))
            }
            _ => writeln!(text, "account {name} has no tier from now on, and so no quotas"),
        };
    }
    text
}

fn list(accounts: &[view::Account]) -> String {
    if accounts.is_empty() {
        return "no accounts yet; make one with: moorgate account add NAME\n".into();
    }
    let mut table = Table::new(["ACCOUNT", "TIER", "EGRESS", "CREDENTIALS", "RULES", "OPEN"]);
    for account in accounts {
        let open = if account.served { account.open.to_string() } else { "not served, see the log".into() };
        let tier = account.tier.clone().unwrap_or_else(|| "–".into());
        let counts = [account.credentials.to_string(), account.rules.to_string(), open];
        table.row([account.name.clone(), tier, egress_of(account)].into_iter().chain(counts));
    }
    table.to_string()
}

fn show(account: &view::Account, credentials: &[view::Credential]) -> String {
    let from = match account.egress.as_slice() {
        [] => "",
        _ if account.egress_is_own => " (set for this account)",
        _ => " (the gateway's first two)",
    };
    let served = if account.served {
        ""
    } else {
        "served       no: what is stored of it can't be used; the gateway's log says why\n"
    };
    let mut text = format!(
        "account      {}\ncreated      {}\negress       {}{from}\nrules        {}\nopen         {}\n{served}",
        account.name,
        when(account.created),
        egress_of(account),
        account.rules,
        account.open,
    );
    text.push_str(&match (&account.tier, &account.quota) {
        (Some(tier), Some(quota)) => quota::month(tier, quota),
        (Some(tier), None) => format!("tier         {tier}\n"),
        (None, _) => "tier         none: no quotas\n".into(),
    });
    let _ = writeln!(text, "credentials  {}", credentials.len());
    for credential in credentials {
        let bounds = match bounds_of(credential) {
            bounds if bounds.is_empty() => String::new(),
            bounds => format!("; {}", bounds.join("; ")),
        };
        let _ =
            writeln!(text, "  {}  {}{bounds}", called(&credential.username, &credential.name), standing(credential));
    }
    text
}

/// Whether a credential is in use, in words.
fn standing(credential: &view::Credential) -> String {
    if let Some(problem) = &credential.problem {
        return format!("NOT SERVED: {problem}");
    }
    let from = credential.last_client.map(|client| format!(" from {client}")).unwrap_or_default();
    match (credential.standing, credential.last_used) {
        (CredentialStanding::InUse, Some(at)) => format!("last used {}{from}", when(at)),
        (CredentialStanding::Stopped, Some(at)) => {
            format!("stopped since {}, when it was used last{from}", when(at))
        }
        (CredentialStanding::Expired, Some(at)) => format!("last used {}{from}", when(at)),
        (CredentialStanding::Expired, None) => "never used".into(),
        (CredentialStanding::Unknown, _) => "the store can't be asked now whether it is used".into(),
        _ => "never used: the app it was made for may still connect directly".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(standing: CredentialStanding, used: Option<&str>) -> view::Credential {
        view::Credential {
            username: "mg_a".into(),
            name: String::new(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            passwords: 1,
            overlap_until: None,
            expires: None,
            clients: vec![],
            policy: None,
            last_used: used.map(|used| used.parse().unwrap()),
            last_client: used.map(|_| "192.0.2.1".parse().unwrap()),
            standing,
            problem: None,
        }
    }

    #[test]
    fn a_credential_says_whether_it_is_used_and_what_it_means_if_not() {
        let used = Some("2026-11-01T12:00:00Z");
        for (standing_is, used, said) in [
            (CredentialStanding::NeverUsed, None, "may still connect directly"),
            (CredentialStanding::InUse, used, "last used 2026-11-01"),
            (CredentialStanding::Stopped, used, "stopped since 2026-11-01"),
        ] {
            let text = standing(&credential(standing_is, used));
            assert!(text.contains(said), "{text}");
            assert_eq!(text.ends_with("from 192.0.2.1"), used.is_some(), "{text}");
        }
    }
}
