//! Outcomes in words: how a flow ended, and what to do about it. Total over every outcome, so that none is without words.

use std::borrow::Cow;

use moorgate_contract::{
    failure::Code,
    flow::Flow,
    outcome::{Ending, Outcome},
    time::Timestamp,
};
use moorgate_wire::visible::visible;
use serde_json::Value;

/// What somebody comes into the console by.
pub fn way_in(issuer: Option<&str>, app: bool, passkeys: usize) -> String {
    let first = issuer.unwrap_or(if app { "password and app" } else { "password" });
    match passkeys {
        0 => visible(first).to_string(),
        1 => format!("{}, a passkey", visible(first)),
        many => format!("{}, {many} passkeys", visible(first)),
    }
}

/// How a flow ended, in one sentence without its full stop.
pub fn ended(flow: &Flow) -> String {
    match flow.outcome {
        Outcome::Ok => "both sides finished".into(),
        Outcome::Cut(ending) => cut(ending).into(),
        Outcome::Failed(code) => match &flow.said {
            Some(said) => format!("{code}: {}", visible(&**said)),
            None => code.to_string(),
        },
    }
}

fn cut(ending: Ending) -> &'static str {
    match ending {
        Ending::ResetByClient => "the client reset the connection",
        Ending::ResetByTarget => "the target reset the connection",
        Ending::TruncatedByClient => "the client's TLS ended without saying goodbye (close_notify)",
        Ending::TruncatedByTarget => "the target's TLS ended without saying goodbye (close_notify)",
        Ending::ClientLeft => "the client went away before anything was decided",
        Ending::Revoked => {
            "cut: its credential, account or route was taken away or has expired, or a policy was edited with --cut"
        }
        Ending::QuotaSpent => "cut: its account's bytes of this month were spent",
        Ending::Idle => "cut: no byte moved for the idle limit",
        Ending::Drained => "cut: the gateway went down and its drain limit ran out",
        Ending::Lost => "lost: the task that carried it died, which is a defect of the gateway",
    }
}

/// What to do about it; `None` where there is nothing to do.
pub fn advice(flow: &Flow) -> Option<Cow<'static, str>> {
    match flow.outcome {
        Outcome::Ok => None,
        Outcome::Cut(ending) => after_cut(ending).map(Cow::Borrowed),
        Outcome::Failed(code) => {
            let of_the_route = flow.route.as_deref().and_then(|domain| after_failure_of_route(code, domain));
            Some(of_the_route.map_or_else(|| after_failure(code).into(), Cow::Owned))
        }
    }
}

/// Where a route serves, the other side is its origin, and whoever runs that can do more than who runs the gateway.
/// `None`: what is said of every flow holds here too.
fn after_failure_of_route(code: Code, domain: &str) -> Option<String> {
    let domain = visible(domain);
    let show = format_args!("moorgate route show {domain}");
    let set = format_args!("moorgate route set {domain}");
    Some(match code {
        Code::ConnectionRefused => format!("start the origin, or correct its address and port ({show})"),
        Code::NetworkUnreachable | Code::HostUnreachable => {
            format!("check the network from the gateway's machine to the origin ({show})")
        }
        Code::ConnectTimeout => {
            format!("check that the origin is up and that its firewall lets the egress address in ({show})")
        }
        Code::NameNotResolved => {
            format!("correct the origin's name, or what the gateway's resolver answers for it ({show})")
        }
        Code::NoAddressOfFamily => {
            format!("give the origin an address of the family that the account's egress addresses have ({show})")
        }
        Code::GuardDenied => format!(
            "an operator can open the origin's network with [egress] allow_private_destinations in the gateway's file; \
             gateways and their database stay closed ({show})"
        ),
        Code::ResponseIncomplete => {
            format!("look into the origin's log: it closed before its response was whole ({show})")
        }
        Code::ResponseMalformed => {
            format!("check that the origin speaks HTTP on that port; for TLS forward to https:// ({show})")
        }
        Code::ResponseTimeout => {
            format!("look into the origin's log: it took the request and did not begin to answer in time ({show})")
        }
        Code::OriginUntrusted => {
            format!("give the origin a certificate that is trusted here, or name its CA: {set} --origin-ca FILE")
        }
        Code::OriginHandshakeFailed => {
            format!("check that the origin speaks TLS on that port; else forward to http:// ({show})")
        }
        Code::ClientDenied => format!("see whom the route lets in: {show}; change it with: {set} --allow-client CIDR"),
        Code::Unauthorized => {
            format!(
                "give the client a username and password of the route's ({show}), or new ones: {set} --basic-auth-file FILE"
            )
        }
        Code::BodyTooLarge => format!("send less, or raise the route's bound: {set} --max-body 10MiB"),
        Code::Maintenance => format!("end it with: {set} --no-maintenance"),
        Code::Loop => format!("let the route lead to the origin itself, not to the gateway ({show})"),
        _ => return None,
    })
}

fn after_cut(ending: Ending) -> Option<&'static str> {
    match ending {
        Ending::ResetByClient | Ending::TruncatedByClient | Ending::ClientLeft => {
            Some("look at the client: it closed first, often by a timeout of its own")
        }
        Ending::ResetByTarget | Ending::TruncatedByTarget => {
            Some("ask whoever runs the target: it closed the connection, and the gateway passed that on unchanged")
        }
        Ending::Revoked => Some(
            "if it was meant to go on: give the client a valid credential (moorgate credential add ACCOUNT), the domain a \
             route (moorgate route add), or its target an allow rule (moorgate policy set ACCOUNT)",
        ),
        Ending::QuotaSpent => Some("wait until the month ends, or ask your operator for a larger tier"),
        Ending::Idle => Some("send keep-alives, or raise [limits] idle_tunnel in the gateway's file"),
        Ending::Drained => {
            Some("connect again; to let long tunnels finish, raise [limits] drain in the gateway's file")
        }
        Ending::Lost => Some("look for \"panicked\" in the gateway's log and report it"),
    }
}

fn after_failure(code: Code) -> &'static str {
    match code {
        Code::CredentialsMissing => "put the username and password into the client's proxy URL",
        Code::CredentialsWrong => {
            "compare the proxy URL with: moorgate credential list ACCOUNT; a lost password is replaced by rotate"
        }
        Code::PolicyDenied => {
            "see the rules with: moorgate policy show ACCOUNT; replace them with: moorgate policy set ACCOUNT …"
        }
        Code::GuardDenied => {
            "an operator can open that network with [egress] allow_private_destinations in the gateway's file; \
             gateways and their database stay closed"
        }
        Code::HostNotCanonical => "write the host as a plain name or address",
        Code::NameNotResolved => "check the spelling, and what the gateway's resolver answers ([resolver] servers)",
        Code::NoAddressOfFamily => {
            "give the account an egress address of that family: moorgate account set ACCOUNT --egress A,B"
        }
        Code::ConnectionRefused => "check that the target listens on that port and lets the egress address in",
        Code::NetworkUnreachable | Code::HostUnreachable => "check the route from the gateway's machine to the target",
        Code::ConnectTimeout => {
            "check that the target is up and that its firewall lets the egress address in (moorgate egress list)"
        }
        Code::ResponseIncomplete => "ask whoever runs the target: it closed before its response was whole",
        Code::ResponseMalformed => "check that the target speaks HTTP on that port; for TLS use CONNECT",
        Code::ResponseTimeout => "ask whoever runs the target: it took the request and did not begin to answer in time",
        Code::NoEgressLeft => "bring an egress address of the account back up, or set another: moorgate egress list",
        Code::PortsExhausted => "use another egress address as well, or fewer connections to that destination",
        Code::QuotaSpent => "wait as long as Retry-After said, or ask your operator for a larger tier",
        Code::DomainUnknown => {
            "see what its route waits for (moorgate route check DOMAIN), or give it one: moorgate route add DOMAIN URL --mode …"
        }
        Code::NameMismatch => "let the client use one name: its TLS server name and its Host differ",
        Code::HostMismatch => "let the client use one name: its request target and its Host differ",
        Code::ClientDenied => {
            "use the credential from an address that it is for; a route says whom it lets in: moorgate route show DOMAIN"
        }
        Code::Unauthorized => "give the client a username and password of the route's (moorgate route show DOMAIN)",
        Code::BodyTooLarge => "send less, or raise the route's bound: moorgate route set DOMAIN --max-body",
        Code::Maintenance => "end it with: moorgate route set DOMAIN --no-maintenance",
        Code::Malformed => "look at what the client sends: it is not well-formed for this listener",
        Code::NotSupported => "use CONNECT, an absolute http:// target, or SOCKS5 CONNECT",
        Code::AddressTypeNotSupported => "let the SOCKS5 client send a domain, IPv4 or IPv6",
        Code::HandshakeFailed => {
            "check that the client speaks TLS to this port and trusts the gateway's certificate (MOORGATE_CA)"
        }
        Code::HeadTooSlow => {
            "look at the client or the network to it: its request did not arrive in time ([limits] head)"
        }
        Code::HeadTooLong => "let the client send fewer or shorter header fields",
        Code::BodyTooSlow => "look at the client or the network to it: its body stalled",
        Code::Full => "raise the gateway's limits (file descriptors, [limits]) or close connections",
        Code::Draining => "connect again: the gateway was going down",
        Code::OriginUntrusted => {
            "give the origin a certificate that is trusted here, or name its CA: moorgate route set DOMAIN --origin-ca FILE"
        }
        Code::OriginHandshakeFailed => "check that the origin speaks TLS on that port; else forward to http://",
        Code::Loop => "ask for something other than the gateway itself",
        Code::Internal => "look into the gateway's log at that time and report it",
    }
}

/// The fields that are not as they were: `tier: none → gold`. Times are told by `time`.
pub fn changed(before: Option<&Value>, after: Option<&Value>, time: &dyn Fn(Timestamp) -> String) -> String {
    let mut said = Vec::new();
    // What is gone is said by its name; what was in it is in --json.
    if let Some(after) = after {
        differ("", before.unwrap_or(&Value::Null), after, time, &mut said);
    }
    said.join(", ")
}

fn differ(path: &str, before: &Value, after: &Value, time: &dyn Fn(Timestamp) -> String, said: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Null | Value::Object(_), Value::Object(now)) => {
            let empty = serde_json::Map::new();
            let was = before.as_object().unwrap_or(&empty);
            let gone = was.keys().filter(|name| !now.contains_key(*name));
            for name in now.keys().chain(gone) {
                let part = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differ(&path, &part(was), &part(now), time, said);
            }
        }
        (was, now) if is_nothing(was) && is_nothing(now) => {}
        (was, now) if is_nothing(was) => said.push(format!("{path}: {}", told(path, now, time))),
        (was, now) => said.push(format!("{path}: {} → {}", told(path, was, time), told(path, now, time))),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Fields that hold a time, in microseconds.
const TIMES: [&str; 2] = ["expires", "overlap_until"];

fn told(path: &str, value: &Value, time: &dyn Fn(Timestamp) -> String) -> String {
    match value.as_u64() {
        Some(micros) if TIMES.contains(&path) => time(Timestamp(micros)),
        _ => brief(value),
    }
}

fn brief(value: &Value) -> String {
    match value {
        _ if is_nothing(value) => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(brief).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use moorgate_contract::{
        flow::{FlowId, OpenFlow},
        listener::Listener,
        time::Timestamp,
    };

    use serde_json::json;

    use super::*;

    fn flow(listener: Listener, outcome: Outcome) -> Flow {
        let (send, flows) = mpsc::sync_channel(1);
        let sink = std::sync::Arc::new(move |flow| send.send(flow).unwrap());
        let client = "127.0.0.1:1".parse().unwrap();
        OpenFlow::open(FlowId(1), Timestamp(0), Instant::now(), listener, client, sink).end(outcome);
        *flows.recv().unwrap()
    }

    #[test]
    fn everything_that_went_wrong_has_words_and_an_advice() {
        for outcome in Outcome::all() {
            let outbound = flow(Listener::OutboundHttp, outcome);
            let inbound = Flow { route: Some("app.example.com".into()), ..flow(Listener::InboundTls, outcome) };
            for flow in [outbound, inbound] {
                assert!(!ended(&flow).is_empty());
                assert_eq!(advice(&flow).is_none(), outcome == Outcome::Ok, "{outcome}");
            }
        }
    }

    #[test]
    fn what_an_origin_did_wrong_is_looked_for_at_the_origin() {
        for (code, part) in [
            (Code::ConnectionRefused, "start the origin"),
            (Code::ConnectTimeout, "the origin is up"),
            (Code::OriginUntrusted, "moorgate route set app.example.com --origin-ca"),
            (Code::Maintenance, "moorgate route set app.example.com --no-maintenance"),
        ] {
            let mut flow = flow(Listener::InboundTls, Outcome::Failed(code));
            assert!(!advice(&flow).unwrap().contains("app.example.com"), "{code}");
            flow.route = Some("app.example.com".into());
            let said = advice(&flow).unwrap();
            assert!(said.contains(part) && said.contains("moorgate route "), "{said}");
        }
    }

    #[test]
    fn an_entry_shows_what_is_not_as_it_was() {
        let time = |at: Timestamp| at.0.to_string();
        let check = |before: Value, after: Value, said: &str| {
            assert_eq!(changed(Some(&before), Some(&after), &time), said);
        };
        let (none, acme) = (json!({"tier": null, "egress": [], "policy": []}), json!({"tier": "gold", "egress": []}));
        check(none.clone(), acme.clone(), "tier: gold");
        check(acme, none, "tier: gold → none");
        check(
            json!({"policy": ["deny a"]}),
            json!({"policy": ["deny a", "deny b"]}),
            "policy: [deny a] → [deny a deny b]",
        );
        check(json!({"settings": {"a": 1, "b": 2}}), json!({"settings": {"a": 1, "b": 3}}), "settings.b: 2 → 3");
        check(
            json!({"expires": 1_700_000_000_000_000_u64}),
            json!({"expires": null}),
            "expires: 1700000000000000 → none",
        );
        check(json!({"requests_per_month": 5}), json!({}), "requests_per_month: 5 → none");
        assert_eq!(
            changed(None, Some(&json!({"scope": "read", "operator": false})), &time),
            "operator: false, scope: read"
        );
        assert_eq!(changed(Some(&json!({"scope": "read"})), None, &time), "");
    }
}
