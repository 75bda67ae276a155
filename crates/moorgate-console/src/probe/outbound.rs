//! A request through the gateway, as an app would send it: by its own HTTP proxy, with a credential.

use std::{io, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_control::chain;
use moorgate_tls::{Originator, TrustRoots};
use moorgate_wire::visible::visible;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{MOST, PATIENCE, Step, get, head, inbound::certificate_said, leave, status_of};
use crate::{given::Destination, snippets::Kind};

/// Whose request it is, and by which proxy.
pub(crate) struct By<'a> {
    pub(crate) proxy: SocketAddr,
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

/// What the echo saw.
#[derive(Debug, Deserialize)]
struct Seen {
    /// The address that a destination would have seen.
    address: String,
}

impl By<'_> {
    /// Asks the echo which address it sees.
    pub(crate) async fn echo(&self) -> Step {
        match self.ask_echo().await {
            Ok(Seen { address }) => {
                let said = format!("The gateway works for this account: the other side saw {address}.");
                Step::new("good", "Through the gateway", said)
            }
            Err(said) => Step::new("problem", "Through the gateway", format!("It does not work yet: {said}")),
        }
    }

    async fn ask_echo(&self) -> Result<Seen, String> {
        let (mut stream, head) = self
            .ask("GET http://echo.moorgate.internal/", "echo.moorgate.internal", "Accept: application/json\r\n")
            .await?;
        let body = rest(&mut stream).await?;
        if status_of(&head) != Some(200) {
            return Err(without_code(&body).to_owned());
        }
        serde_json::from_str(&body).map_err(|_| "the echo answered with something else".to_owned())
    }

    /// Goes where an app of this kind would, and says step by step how far it came.
    pub(crate) async fn reach(&self, to: &Destination, kind: Kind, port: u16) -> Vec<Step> {
        let authority = to.authority(if kind == Kind::Web { to.web_port() } else { port });
        let mut stream = match self.tunnel(&authority).await {
            Ok(stream) => stream,
            Err(said) => {
                let said = if said.contains(&authority) { said } else { format!("{authority}: {said}") };
                return vec![Step::new("problem", "Connection", said)];
            }
        };
        let mut steps = vec![Step::new("good", "Connection", format!("{authority} took the connection."))];
        match kind {
            Kind::Web if to.plain => steps.push(http(&mut stream, to).await),
            Kind::Web => steps.extend(https(stream, to).await),
            Kind::Files | Kind::Mail => {
                steps.push(greeting(&mut stream).await);
                leave(&mut stream).await;
            }
            Kind::Database => leave(&mut stream).await,
        }
        steps
    }

    async fn tunnel(&self, authority: &str) -> Result<TcpStream, String> {
        let (mut stream, head) = self.ask(&format!("CONNECT {authority}"), authority, "").await?;
        if status_of(&head).is_some_and(|status| (200..300).contains(&status)) {
            return Ok(stream);
        }
        let body = rest(&mut stream).await?;
        Err(without_code(&body).to_owned())
    }

    async fn ask(&self, what: &str, host: &str, more: &str) -> Result<(TcpStream, String), String> {
        let basic = STANDARD.encode(format!("{}:{}", self.username, self.password));
        let head_of = format!("{what} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {basic}\r\n{more}\r\n");
        let work = async {
            let mut stream = TcpStream::connect(self.proxy).await?;
            stream.write_all(head_of.as_bytes()).await?;
            let head = head(&mut stream).await?;
            Ok::<_, io::Error>((stream, head))
        };
        match timeout(PATIENCE, work).await {
            Ok(Ok((_, head))) if head.is_empty() => Err("the gateway's own HTTP proxy gave no answer".to_owned()),
            Ok(Ok(asked)) => Ok(asked),
            Ok(Err(error)) => Err(format!("the gateway's own HTTP proxy can't be asked: {error}")),
            Err(_) => Err("there was no answer within 15 seconds".to_owned()),
        }
    }
}

/// What is left of an answer.
async fn rest(stream: &mut TcpStream) -> Result<String, String> {
    let mut body = Vec::new();
    let most = u64::try_from(MOST).unwrap_or_default();
    let mut limited = stream.take(most);
    // The gateway may keep the connection: what is there after a moment is all of it.
    let read = async {
        while limited.read_buf(&mut body).await.is_ok_and(|count| count > 0) {
            if body.ends_with(b"\n") {
                break;
            }
        }
    };
    timeout(PATIENCE, read).await.map_err(|_| "there was no answer within 15 seconds".to_owned())?;
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}

/// A refusal without the code that programs go by.
fn without_code(body: &str) -> &str {
    body.strip_prefix("moorgate: ").and_then(|said| Some(said.split_once(": ")?.1)).unwrap_or(body)
}

async fn https(stream: TcpStream, to: &Destination) -> Vec<Step> {
    let name = to.host.to_string();
    let originator = match Originator::new(TrustRoots::System) {
        Ok(originator) => originator.with_alpn(&[b"http/1.1"]),
        Err(error) => return vec![Step::new("problem", "TLS", chain(&error))],
    };
    let mut stream = match timeout(PATIENCE, originator.connect(stream, &name)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let mind = if error.is_untrusted() { " (this machine says so; your app may trust other CAs)" } else { "" };
            return vec![Step::new("problem", "TLS", format!("{}{mind}.", chain(&error)))];
        }
        Err(_) => return vec![Step::new("problem", "TLS", format!("{name} did not finish TLS within 15 seconds."))],
    };
    let said = certificate_said(stream.peer_facts().as_ref());
    vec![Step::new("good", "TLS", format!("{said} This machine trusts it.")), http(&mut stream, to).await]
}

async fn http(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), to: &Destination) -> Step {
    let url = to.url();
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match get(stream, host, &to.path).await {
        Ok((status @ ..400, _)) => Step::new("good", "HTTP", format!("It answered {status}.")),
        Ok((status, _)) => {
            let said = format!(
                "It answered {status}: that is the other side's own answer, the gateway let everything through."
            );
            Step::new("attention", "HTTP", said)
        }
        Err(said) => Step::new("problem", "HTTP", format!("{said}.")),
    }
}

/// SSH and mail servers speak first.
async fn greeting(stream: &mut TcpStream) -> Step {
    let mut said = Vec::new();
    let read = async {
        while !said.ends_with(b"\n") && said.len() < 255 {
            said.push(stream.read_u8().await?);
        }
        Ok::<_, io::Error>(())
    };
    match timeout(PATIENCE, read).await {
        Ok(Ok(())) => {
            let text = String::from_utf8_lossy(&said);
            Step::new("good", "Greeting", format!("It says: {}", visible(text.trim())))
        }
        Ok(Err(_)) => Step::new("problem", "Greeting", "It closed the connection without a word."),
        Err(_) => Step::new("problem", "Greeting", "It said nothing for 15 seconds."),
    }
}
