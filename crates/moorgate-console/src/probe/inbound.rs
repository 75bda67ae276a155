//! A request to a domain, as its visitors send it: by the gateway's own front door.

use std::net::SocketAddr;

use moorgate_contract::time::Timestamp;
use moorgate_control::chain;
use moorgate_tls::{Facts, Looker, TrustRoots};
use moorgate_wire::visible::visible;
use tokio::{net::TcpStream, time::timeout};

use super::{PATIENCE, Step, get};
use crate::shown;

/// How a certificate is, in a sentence. `None`: none can be read.
pub(crate) fn certificate_said(certificate: Option<&Facts>) -> String {
    let Some(Facts { names, issuer, not_after, .. }) = certificate else {
        return "A certificate that can't be read.".to_owned();
    };
    let mut names: Vec<String> = names.iter().map(|name| visible(name).to_string()).collect();
    if names.len() > 3 {
        let more = names.len() - 2;
        names.truncate(2);
        names.push(format!("{more} more"));
    }
    let until = shown::day(Timestamp::from(*not_after));
    let names = if names.is_empty() { "no DNS name".to_owned() } else { names.join(", ") };
    format!("A certificate for {names}, issued by {}, valid until {until}.", visible(issuer))
}

/// Asks for `/` of a domain and says step by step how far it came; and from which address it was asked.
pub(crate) async fn visit(door: SocketAddr, tls: bool, name: &str) -> (Vec<Step>, Option<SocketAddr>) {
    let mut stream = match timeout(PATIENCE, TcpStream::connect(door)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let said = format!("This gateway's own listener at {door} can't be reached: {error}.");
            return (vec![Step::new("problem", "Connection", said)], None);
        }
        Err(_) => {
            let said = format!("This gateway's own listener at {door} did not answer within 15 seconds.");
            return (vec![Step::new("problem", "Connection", said)], None);
        }
    };
    let from = stream.local_addr().ok();
    let said = format!("To this gateway's own listener at {door}, as a visitor whom DNS has led here.");
    let mut steps = vec![Step::new("good", "Connection", said)];
    if tls {
        steps.extend(by_tls(stream, name).await);
    } else {
        steps.push(answer(get(&mut stream, name, "/").await));
    }
    (steps, from)
}

async fn by_tls(stream: TcpStream, name: &str) -> Vec<Step> {
    let looker = match Looker::new(TrustRoots::System) {
        Ok(looker) => looker,
        Err(error) => return vec![Step::new("problem", "TLS", format!("{}.", chain(&error)))],
    };
    let mut look = match timeout(PATIENCE, looker.look(stream, name)).await {
        Ok(Ok(look)) => look,
        Ok(Err(error)) => {
            let said = chain(&error);
            let is_unknown = said.contains("UnrecognisedName");
            let said = if is_unknown { format!("Nobody is served by the name {name} now") } else { said };
            return vec![Step::new("problem", "TLS", format!("{said}."))];
        }
        Err(_) => return vec![Step::new("problem", "TLS", "The handshake was not over within 15 seconds.")],
    };
    let said = certificate_said(look.certificate.as_ref());
    let certificate = match &look.problem {
        None => Step::new("good", "TLS", format!("{said} This machine trusts it, as browsers do.")),
        Some(problem) => {
            let said =
                format!("{said} Clients turn away from it, unless they are told to trust it: {}.", chain(problem));
            Step::new("problem", "TLS", said)
        }
    };
    vec![certificate, answer(get(&mut look.stream, name, "/").await)]
}

fn answer(got: Result<(u16, String), String>) -> Step {
    match got {
        Ok((status @ ..400, _)) => Step::new("good", "HTTP", format!("The answer is {status}.")),
        Ok((status, _)) => Step::new("problem", "HTTP", format!("The answer is {status}.")),
        Err(said) => Step::new("problem", "HTTP", format!("{said}.")),
    }
}
