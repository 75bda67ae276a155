//! A request through the gateway, as an app would send it: by its own HTTP proxy, with a credential.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most bytes of an answer that are read.
const MOST: u64 = 16 << 10;

/// What the echo saw.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    /// The address that a destination would have seen.
    pub(crate) address: String,
}

/// Asks the echo which address it sees.
///
/// # Errors
/// What was answered instead, in words.
pub(crate) async fn echo(proxy: SocketAddr, username: &str, password: &str) -> Result<Seen, String> {
    let head = format!(
        "GET http://echo.moorgate.internal/ HTTP/1.1\r\nHost: echo.moorgate.internal\r\nAccept: application/json\r\n\
         Proxy-Authorization: Basic {}\r\nConnection: close\r\n\r\n",
        STANDARD.encode(format!("{username}:{password}"))
    );
    let (status, body) = ask(proxy, &head).await?;
    if status != 200 {
        return Err(body);
    }
    serde_json::from_str(&body).map_err(|_| "the echo answered with something else".to_owned())
}

/// Asks for a tunnel to a destination, and lets go of it.
///
/// # Errors
/// Why there is none, in words.
pub(crate) async fn reach(proxy: SocketAddr, username: &str, password: &str, target: &str) -> Result<(), String> {
    // A line of its own is all that it could break; and no host has these.
    if target.is_empty() || target.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("write a host and a port, such as api.example.com:443".to_owned());
    }
    let head = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {}\r\n\r\n",
        STANDARD.encode(format!("{username}:{password}"))
    );
    let (status, body) = ask(proxy, &head).await?;
    if (200..300).contains(&status) { Ok(()) } else { Err(body) }
}

async fn ask(proxy: SocketAddr, head: &str) -> Result<(u16, String), String> {
    let work = async {
        let mut stream = TcpStream::connect(proxy).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut limited = stream.take(MOST);
        // A tunnel stays open: its head is all that comes.
        while let Ok(count) = limited.read_buf(&mut answer).await {
            let is_tunnel =
                answer.starts_with(b"HTTP/1.1 200") && head.starts_with("CONNECT") && answer.ends_with(b"\r\n\r\n");
            if count == 0 || is_tunnel {
                break;
            }
        }
        Ok::<_, std::io::Error>(answer)
    };
    let answer = match timeout(PATIENCE, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("the gateway's own HTTP proxy can't be asked: {error}")),
        Err(_) => return Err("there was no answer within 15 seconds".to_owned()),
    };
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    // Without the code that programs go by.
    let said =
        body.trim().strip_prefix("moorgate: ").and_then(|said| Some(said.split_once(": ")?.1)).unwrap_or(body.trim());
    Ok((status.ok_or("the gateway's own HTTP proxy gave no answer")?, said.to_owned()))
}
