//! The demo's own servers: they note in plaintext what reaches them, and who brought it.

use std::{io, net::SocketAddr, time::Duration};

use moorgate_keys::{LocalCa, SubjectName};
use moorgate_tls::{CertSource, Terminator};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    DemoError,
    relay::listen,
    tape::{Direction, Tape, Track},
};
use crate::output;

/// The longest request, in bytes.
const REQUEST: usize = 64 * 1024;
/// How long one may take.
const TIME: Duration = Duration::from_secs(15);
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nthanks";

/// A certificate and its key, as a server has them.
pub(super) struct Identity {
    /// The certificate, in DER.
    pub(super) certificate: Vec<u8>,
    /// The key, in DER (PKCS #8): where it is found, it has left the server.
    pub(super) key: Vec<u8>,
    terminator: Terminator,
}

impl Identity {
    /// A certificate for `names`, by `ca`.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(ca: &LocalCa, names: &[String]) -> Result<Self, DemoError> {
        let names = names.iter().map(|name| name.parse::<SubjectName>()).collect::<Result<Vec<_>, _>>()?;
        let chain = ca.issue(&names)?;
        let terminator = CertSource::new(&chain).and_then(|source| Terminator::new(source, &[]))?;
        let certificate = chain.chain.first().map(|der| der.to_vec()).unwrap_or_default();
        Ok(Self { certificate, key: chain.key.secret_der().to_vec(), terminator })
    }
}

/// A running server. Ends when dropped.
pub(super) struct Destination {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What reached it, in plaintext.
    pub(super) tape: Tape,
    _serving: AbortOnDropHandle<()>,
}

impl Destination {
    /// Starts one: over TLS with an identity, else in plaintext.
    ///
    /// # Errors
    /// When there is no port for it.
    pub(super) async fn start(identity: Option<&Identity>) -> Result<Self, DemoError> {
        let (listener, address) = listen().await?;
        let (tape, terminator) = (Tape::default(), identity.map(|identity| identity.terminator.clone()));
        let to = tape.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, peer)) = listener.accept().await {
                let (track, terminator) = (to.open(peer.ip()), terminator.clone());
                tokio::spawn(async move {
                    let served = timeout(TIME, serve(client, terminator, &track)).await;
                    match served {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => track.failed(why),
                        Err(_) => track.failed("no whole request came".to_owned()),
                    }
                });
            }
        });
        Ok(Self { address, tape, _serving: AbortOnDropHandle::new(serving) })
    }
}

async fn serve(client: TcpStream, terminator: Option<Terminator>, track: &Track) -> Result<(), String> {
    let answered = match terminator {
        None => answer(client, track).await,
        Some(terminator) => {
            let client = terminator.accept(client).await.map_err(|error| output::chain(&error))?;
            answer(client, track).await
        }
    };
    answered.map_err(|error| output::chain(&error))
}

async fn answer(mut client: impl AsyncRead + AsyncWrite + Unpin, track: &Track) -> io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let before = request.len();
        if request.len() > REQUEST || client.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        track.record(Direction::Up, request.get(before..).unwrap_or_default());
    }
    track.record(Direction::Down, ANSWER);
    client.write_all(ANSWER).await?;
    client.shutdown().await
}

/// Whether head and body are there, by Content-Length; the demo's requests have one.
fn is_whole(request: &[u8]) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = request.windows(END.len()).position(|window| window == END) else { return false };
    let text = String::from_utf8_lossy(request.get(..head).unwrap_or_default());
    let length = text.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    request.len() >= head + END.len() + length.unwrap_or_default()
}
