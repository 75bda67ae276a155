//! Requests as others would send them: out by the gateway's own proxy, in by its own front door.

use std::{io, sync::Arc, time::Duration};

use moorgate_contract::flow::Flow;
use moorgate_control::{Control, Recorded};
use moorgate_wire::visible::visible;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::broadcast::{Receiver, error::RecvError},
    time::{sleep, timeout},
};

pub(crate) mod answering;
pub(crate) mod inbound;
pub(crate) mod outbound;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the record of what was sent is waited for.
const RECORDED: Duration = Duration::from_secs(5);
/// How often it is looked for.
const KEPT: Duration = Duration::from_millis(20);
/// How long the other side is listened to that has said all that is wanted.
const GOODBYE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read.
const MOST: usize = 16 << 10;

/// What was found, as it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// `good`, `problem`, or `attention` for what a client may or may not mind.
    pub(crate) class: &'static str,
    pub(crate) title: &'static str,
    pub(crate) said: String,
    /// The record of it, by its id.
    pub(crate) flow: Option<String>,
}

impl Step {
    pub(crate) fn new(class: &'static str, title: &'static str, said: impl Into<String>) -> Self {
        Self { class, title, said: said.into(), flow: None }
    }
}

/// The first of these flows that fits, once it can be looked at.
pub(crate) async fn recorded(
    control: &Control,
    mut flows: Receiver<Arc<Recorded>>,
    fits: impl Fn(&Flow) -> bool,
) -> Option<Flow> {
    let next = async {
        let flow = loop {
            match flows.recv().await {
                Ok(recorded) if fits(&recorded.flow) => break recorded.flow.clone(),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        };
        // Followers are told before it is kept.
        while control.flow(flow.id).await.ok().flatten().is_none() {
            sleep(KEPT).await;
        }
        Some(flow)
    };
    timeout(RECORDED, next).await.ok().flatten()
}

/// The head of an answer, and not a byte of what is behind it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while head.len() < MOST && !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Lets the other side finish, within bounds, and goes: whoever hangs up on it is recorded as one that did.
async fn hear_out(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let work = async {
        let mut piece = [0; 4096];
        while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(GOODBYE, work).await;
    let _ = timeout(GOODBYE, stream.shutdown()).await;
}

/// The same where the other side waits for us.
async fn leave(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _ = timeout(GOODBYE, stream.shutdown()).await;
    hear_out(stream).await;
}

fn status_of(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()
}

/// Sends `GET`, as a browser would that knows nothing of us. The status, or what came in its place.
async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
) -> Result<(u16, String), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: moorgate-test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let work = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let head = head(stream).await?;
        hear_out(stream).await;
        Ok::<_, io::Error>(head)
    };
    let head = match timeout(PATIENCE, work).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return Err(format!("the connection broke before an answer came: {error}")),
        Err(_) => return Err("there was no answer within 15 seconds".to_owned()),
    };
    match status_of(&head) {
        Some(status) => Ok((status, head)),
        None if head.is_empty() => Err("the connection was closed without an answer".to_owned()),
        None => {
            let first: String = head.lines().next().unwrap_or_default().chars().take(80).collect();
            Err(format!("the answer is no HTTP: {}", visible(&first)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_answers_is_read_to_the_end_of_its_head_and_no_further() {
        let mut answer = &b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\nSSH-2.0"[..];
        let head = head(&mut answer).await.unwrap();
        assert_eq!((status_of(&head), answer), (Some(204), &b"SSH-2.0"[..]));
        for (said, status) in [("HTTP/1.0 200 OK\r\n", Some(200)), ("SSH-2.0-x 200 y", None), ("HTTP/1.1 é", None)] {
            assert_eq!(status_of(said), status, "{said}");
        }
    }
}
