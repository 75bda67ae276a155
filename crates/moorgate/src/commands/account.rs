//! `account`.

use moorgate_api::{client::Client, view};

use super::CommandError;
use crate::{
    cli::Account,
    output::{self, Table, answer, when},
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
            answer(json, &account, || show(&account))
        }
        Account::Set { name, egress, json } => {
            let account =
                client.change_account(&name, &view::ChangeAccount { egress: Some(egress.0), tier: None }).await?;
            let said =
                format!("account {name} leaves from {} from now on; open connections stay\n", egress_of(&account));
            answer(json, &account, || said)
        }
        Account::Remove { name } => {
            client.remove_account(&name).await?;
            output::print(&format!(
                "account {name} removed with its credentials and tokens; its open connections are cut\n"
            ))
        }
    }
}

fn egress_of(account: &view::Account) -> String {
    match account.egress.as_slice() {
        [] => "whatever the kernel picks".into(),
        addresses => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn list(accounts: &[view::Account]) -> String {
    if accounts.is_empty() {
        return "no accounts yet; make one with: moorgate account add NAME\n".into();
    }
    let mut table = Table::new(["ACCOUNT", "EGRESS", "CREDENTIALS", "RULES", "OPEN"]);
    for account in accounts {
        let open = if account.served { account.open.to_string() } else { "not served, see the log".into() };
        let counts = [account.credentials.to_string(), account.rules.to_string(), open];
        table.row([account.name.clone(), egress_of(account)].into_iter().chain(counts));
    }
    table.to_string()
}

fn show(account: &view::Account) -> String {
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
    format!(
        "account      {}\ncreated      {}\negress       {}{from}\ncredentials  {}\nrules        {}\nopen         {}\n{served}",
        account.name,
        when(account.created),
        egress_of(account),
        account.credentials,
        account.rules,
        account.open,
    )
}
