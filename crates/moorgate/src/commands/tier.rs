//! `tier`.

use moorgate_api::{client::Client, view};

use super::{CommandError, quota};
use crate::{
    cli::Tier,
    output::{self, Table, answer, count},
};

pub(super) async fn run(client: &Client, command: Tier) -> Result<(), CommandError> {
    match command {
        Tier::List(json) => {
            let tiers = client.tiers().await?;
            answer(json, &tiers, || list(&tiers))
        }
        Tier::Show { name, json } => {
            let tier = client.tier(&name).await?;
            answer(json, &tier, || show(&tier))
        }
        Tier::Set { name, quotas, json } => {
            let tier = client.set_tier(&name, &quotas.into()).await?;
            answer(json, &tier, || set(&tier))
        }
        Tier::Remove { name } => {
            client.remove_tier(&name).await?;
            output::print(&format!("tier {name} removed\n"))
        }
    }
}

fn set(tier: &view::Tier) -> String {
    let name = &tier.name;
    let allows = quota::allows(&tier.quotas);
    let next = match tier.accounts {
        0 => format!("give it to an account with: moorgate account set NAME --tier {name}"),
        1 => "the account that has it follows at once".into(),
        accounts => format!("the {} accounts that have it follow at once", count(accounts as u64)),
    };
    format!("tier {name}: {allows}\n{next}\n")
}

fn show(tier: &view::Tier) -> String {
    format!("tier      {}\nallows    {}\naccounts  {}\n", tier.name, quota::allows(&tier.quotas), tier.accounts)
}

fn list(tiers: &[view::Tier]) -> String {
    if tiers.is_empty() {
        return "no tiers yet, so no account has quotas; make one with: moorgate tier set NAME --requests-per-month N\n"
            .into();
    }
    let mut table =
        Table::new(["TIER", "REQ/S", "REQ/MONTH", "BYTES/S", "BYTES/MONTH", "TUNNELS", "GRACE", "ACCOUNTS"]);
    for tier in tiers {
        let quotas = &tier.quotas;
        let number = |limit: Option<u64>| limit.map_or_else(|| "–".into(), count);
        let bytes = |limit: Option<u64>| limit.map_or_else(|| "–".into(), output::size);
        table.row([
            tier.name.clone(),
            number(quotas.requests_per_second.map(u64::from)),
            number(quotas.requests_per_month),
            bytes(quotas.bytes_per_second),
            bytes(quotas.bytes_per_month),
            number(quotas.tunnels.map(u64::from)),
            format!("{} %", quotas.grace_percent),
            tier.accounts.to_string(),
        ]);
    }
    format!("{table}– is unlimited\n")
}
