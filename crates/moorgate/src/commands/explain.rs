//! `explain` and `why`: decisions in words.

use std::{fmt::Write, net::IpAddr};

use moorgate_api::{
    client::Client,
    view::{Explained, ExplainedRoute, WhyFlow},
};
use moorgate_contract::{
    flow::{Flow, Kind},
    outcome::Outcome,
    route::Mode,
};

use super::CommandError;
use crate::{
    cli::{Explain, Json, Why},
    output::{answer, bytes, duration, shown, when},
};

pub(super) async fn explain(client: &Client, args: Explain) -> Result<(), CommandError> {
    let Some(target) = args.target else { return explain_route(client, &args.account, args.client, args.json).await };
    let (to, by) = ((&*target.host, target.port), args.credential.as_deref());
    let explained = client.explain_by(&args.account, by, args.client, to, !args.no_dns).await?;
    let title = format!("account {} to {}\n", shown(&explained.account), shown(&explained.target));
    let mut with = args.credential.map_or_else(String::new, |username| format!(" --credential {}", shown(&username)));
    with.push_str(&args.client.map_or_else(String::new, |client| format!(" --client {client}")));
    answer(args.json, &explained, || title + &steps(&explained, "would be", &with))
}

async fn explain_route(client: &Client, domain: &str, from: Option<IpAddr>, json: Json) -> Result<(), CommandError> {
    let explained = client.explain_route(domain, from).await?;
    answer(json, &explained, || route_steps(&explained, "would"))
}

/// `mood` is `would` or `would now`.
fn route_steps(explained: &ExplainedRoute, mood: &str) -> String {
    let mut text = format!("a client that asks for {}\n", shown(&explained.domain));
    let checks = explained.steps.iter().filter(|step| step.check != "refused");
    let width = checks.clone().map(|step| step.check.chars().count()).max().unwrap_or(0);
    for step in checks {
        let _ = writeln!(text, "  {:width$}  {}", shown(&step.check), shown(&step.found));
    }
    if let Some(refusal) = &explained.refusal {
        let _ = writeln!(text, "{mood} be refused, {}: {}", refusal.code, shown(&refusal.said));
        return text;
    }
    if let Some(answer) = &explained.answer {
        let _ = writeln!(text, "{mood} be answered by the gateway itself: {}", shown(answer));
    }
    for origin in &explained.origins {
        let part = origin.prefix.as_ref().map(|prefix| format!(" for {}", shown(prefix))).unwrap_or_default();
        let url = shown(&origin.url);
        let _ = match &origin.refusal {
            Some(refusal) => {
                writeln!(text, "{mood} not reach {url}{part}, {}: {}", refusal.code, shown(&refusal.said))
            }
            None => {
                let list = |all: Vec<String>| all.join(", then ");
                let to = list(origin.admitted.iter().map(ToString::to_string).collect());
                let from = list(origin.egress.iter().map(ToString::to_string).collect());
                let from = if from.is_empty() { "whatever the kernel picks".to_owned() } else { from };
                let standing = origin.standing.name();
                writeln!(text, "{mood} go to {url}{part} ({standing}): dials {to}, leaves from {from}")
            }
        };
    }
    text
}

/// The checks, then the end of it. `mood` is `would be` or `would now be`; `with` are the flags it was asked with.
fn steps(explained: &Explained, mood: &str, with: &str) -> String {
    let mut text = String::new();
    // The last step of a refusal repeats what is said of it below.
    let checks = explained.steps.iter().filter(|step| step.check != "refused" || explained.refusal.is_none());
    let width = checks.clone().map(|step| step.check.chars().count()).max().unwrap_or(0);
    for step in checks {
        let _ = writeln!(text, "  {:width$}  {}", shown(&step.check), shown(&step.found));
    }
    if let Some(refusal) = &explained.refusal {
        let _ = writeln!(text, "{mood} refused, {}: {}", refusal.code, shown(&refusal.said));
        return text;
    }
    let from = match explained.egress.as_slice() {
        [] => "whatever the kernel picks".into(),
        addresses => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then "),
    };
    if explained.unjudged {
        let _ = writeln!(
            text,
            "{mood} allowed if its addresses are: neither address rules nor the guard have judged them yet\n\
             \x20 to resolve and judge them: moorgate explain {} {}{with}",
            shown(&explained.account),
            shown(&explained.target)
        );
        return text;
    }
    let _ = match explained.admitted.as_slice() {
        [] => writeln!(text, "{mood} allowed"),
        addresses => {
            let to = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ");
            writeln!(text, "{mood} allowed: dials {to}\n  leaves from {from}")
        }
    };
    text
}

pub(super) async fn why(client: &Client, args: Why) -> Result<(), CommandError> {
    let why = client.flow(args.flow).await?;
    answer(args.json, &why, || words(&why))
}

fn words(why: &WhyFlow) -> String {
    let flow = Flow::from(why.flow.clone());
    let unknown = || "–".to_owned();
    let kind = match flow.kind {
        Kind::Tunnel => "a tunnel",
        Kind::Exchange => "one HTTP request",
    };
    let asked = flow
        .target
        .as_deref()
        .map_or_else(|| "nothing that could be read".into(), |target| format!("{kind} to {}", shown(target)));
    let who = match (&flow.account, &flow.username) {
        (Some(account), Some(username)) => format!("account {}, credential {}", shown(account), shown(username)),
        (Some(account), None) => format!("account {}", shown(account)),
        (None, _) => "nobody that could be told".into(),
    };
    let by = match (flow.listener.product(), flow.mode) {
        (Some(product), _) => format!(" ({})", product.name()),
        (None, Some(mode)) => format!(" ({})", mode.name()),
        (None, None) => String::new(),
    };
    let went = match (flow.address, flow.egress) {
        (Some(address), Some(egress)) => format!("to {address}, left from {egress}"),
        (Some(address), None) => format!("to {address}"),
        (None, _) if flow.outcome == Outcome::Ok => "nowhere: the gateway itself answered".into(),
        (None, _) => "nowhere: no address was dialled".into(),
    };
    let inbound = inbound(&flow);
    let gateway = why.flow.gateway.as_deref().map(|name| format!("gateway   {}\n", shown(name))).unwrap_or_default();
    let mut text = format!(
        "flow      {}\n{gateway}at        {}, for {}\ncame in   {}{by}, from {}\nfor       {who}\nasked     {asked}\n{inbound}went      {went}\n",
        flow.id,
        when(why.flow.started),
        duration(flow.duration_us),
        flow.listener.words(),
        flow.client,
    );
    let status = flow.status.map_or_else(unknown, |status| status.to_string());
    let _ = writeln!(
        text,
        "moved     {} up, {} down; HTTP status to the client: {status}",
        bytes(flow.bytes_up),
        bytes(flow.bytes_down)
    );
    text.push_str(&readable(&flow));
    let _ = writeln!(
        text,
        "ended     {}: {}",
        flow.outcome,
        shown(why.ended.trim_start_matches(&format!("{}: ", flow.outcome)))
    );
    if let Some(advice) = &why.advice {
        let _ = writeln!(text, "to do     {}", shown(advice));
    }
    let outbound = flow.listener.product().is_some();
    let with = flow.username.as_ref().map_or_else(String::new, |username| {
        format!(" --credential {} --client {}", shown(username), flow.client.ip())
    });
    match (&why.now, &why.inbound_now) {
        (Some(now), _) => text.push_str(&format!("\nasked again now\n{}", steps(now, "would now be", &with))),
        (None, Some(now)) => text.push_str(&format!("\nasked again now, {}", route_steps(now, "would now"))),
        (None, None) if outbound && flow.account.is_some() => {
            text.push_str("\nits account is gone, so nothing would be decided now\n")
        }
        (None, None) => {}
    }
    text
}

/// Who could read what. Nothing can be read on a way that was not taken.
fn readable(flow: &Flow) -> String {
    let exposure = &flow.exposure;
    let behind = if flow.listener.product().is_some() { "destination" } else { "origin" };
    let last = match flow.address {
        Some(_) => exposure.wire_to_target.to_string(),
        None => "nothing: it was not taken".to_owned(),
    };
    format!(
        "readable  on the wire to the gateway: {}\n          by the gateway: {}\n          on the wire to the {behind}: {last}\n",
        exposure.wire_to_gateway, exposure.gateway
    )
}

/// What is known of an inbound flow beside what every flow has. Each line is left out where it is not.
fn inbound(flow: &Flow) -> String {
    let mut text = String::new();
    if let Some(domain) = &flow.route {
        let _ = writeln!(text, "route     {}", shown(domain));
    }
    if let Some(protocol) = &flow.alpn {
        let offered =
            if flow.mode == Some(Mode::Passthrough) { " (offered first; what was agreed on is not seen)" } else { "" };
        let _ = writeln!(text, "protocol  {}{offered}", shown(protocol));
    }
    if let Some(origin) = &flow.origin {
        let tries = match flow.tries {
            0 if flow.address.is_some() => "on a kept connection".to_owned(),
            0 => "not dialled".to_owned(),
            1 => "1 address dialled".to_owned(),
            tries => format!("{tries} addresses dialled"),
        };
        let _ = writeln!(text, "origin    {}, {tries}", shown(origin));
    }
    text
}
