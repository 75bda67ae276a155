//! One side of a tunnel: the client's over whatever the door speaks, or the target's.

use std::{future::poll_fn, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::STUCK;

/// How the other side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// TCP FIN; over TLS close_notify; over h2 END_STREAM.
    Fin,
    /// TCP RST, or RST_STREAM.
    Reset,
    /// TLS without close_notify, or an h2 connection that died.
    Truncated,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Reset }
    }
}

impl From<h2::Error> for End {
    fn from(error: h2::Error) -> Self {
        if error.is_reset() { Self::Reset } else { Self::Truncated }
    }
}

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a listener, with TLS open where the door has it.
pub struct Wire {
    pub stream: Box<dyn Io>,
    /// The same socket once more, for an abort.
    pub socket: Socket,
}

impl Wire {
    /// Over a connected socket, as it is.
    pub fn bare(stream: TcpStream) -> Self {
        use std::os::fd::AsFd;
        stream.set_nodelay(true).unwrap();
        let socket = stream.as_fd().try_clone_to_owned().unwrap().into();
        Self { stream: Box::new(stream), socket }
    }

    /// What a flow calls the client.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }
}

pub enum Reader {
    Wire { half: ReadHalf<Box<dyn Io>>, early: Vec<u8> },
    H2 { receive: RecvStream, rest: Bytes },
}

impl Reader {
    /// Reads some; 0 is [`End::Fin`].
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<usize, End> {
        match self {
            Self::Wire { early, .. } if !early.is_empty() => {
                let taken = early.len().min(buf.len());
                buf[..taken].copy_from_slice(&early[..taken]);
                early.drain(..taken);
                Ok(taken)
            }
            Self::Wire { half, .. } => Ok(half.read(buf).await?),
            Self::H2 { receive, rest } => {
                while rest.is_empty() {
                    match receive.data().await {
                        None => return Ok(0),
                        Some(data) => *rest = data?,
                    }
                }
                let taken = rest.split_to(rest.len().min(buf.len()));
                buf[..taken.len()].copy_from_slice(&taken);
                // The connection may be gone by now; what came before stays readable.
                let _ = receive.flow_control().release_capacity(taken.len());
                Ok(taken.len())
            }
        }
    }

    /// Hands every piece to `take` until the end.
    pub async fn read_all(&mut self, mut take: impl FnMut(&[u8])) -> End {
        let mut buf = vec![0; 256 * 1024];
        loop {
            match self.read(&mut buf).await {
                Ok(0) => return End::Fin,
                Ok(read) => take(&buf[..read]),
                Err(end) => return end,
            }
        }
    }

    /// Everything up to the end.
    pub async fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = timeout(STUCK, self.read_all(|piece| bytes.extend_from_slice(piece))).await;
        (bytes, end.expect("an end"))
    }

    /// Exactly that many bytes.
    pub async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.read(&mut bytes[filled..]).await? {
                0 => return Err(End::Fin),
                read => filled += read,
            }
        }
        Ok(bytes)
    }
}

pub enum Writer {
    Wire(WriteHalf<Box<dyn Io>>),
    H2(SendStream<Bytes>),
}

impl Writer {
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), End> {
        match self {
            Self::Wire(half) => {
                half.write_all(bytes).await?;
                Ok(half.flush().await?)
            }
            Self::H2(send) => write_h2(send, bytes).await,
        }
    }

    /// Says that nothing more comes; reading goes on.
    pub async fn finish(&mut self) -> Result<(), End> {
        match self {
            Self::Wire(half) => Ok(half.shutdown().await?),
            Self::H2(send) => Ok(send.send_data(Bytes::new(), true)?),
        }
    }
}

pub async fn write_h2(send: &mut SendStream<Bytes>, mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let room = match send.capacity() {
            0 => poll_fn(|cx| send.poll_capacity(cx)).await.ok_or(End::Reset)??,
            room => room,
        };
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        send.send_data(Bytes::copy_from_slice(now), false)?;
        bytes = later;
    }
    Ok(())
}

/// One side of an open tunnel. Dropping it is no orderly end.
pub struct Side {
    pub reader: Reader,
    pub writer: Writer,
    pub(super) socket: Socket,
    pub(super) h2: Option<AbortHandle>,
}

impl Side {
    /// Over a connection, of which `early` was read already.
    pub fn over(wire: Wire, early: Vec<u8>) -> Self {
        let (reader, writer) = tokio::io::split(wire.stream);
        let reader = Reader::Wire { half: reader, early };
        Self { reader, writer: Writer::Wire(writer), socket: wire.socket, h2: None }
    }

    /// A target's side: what its listener accepted.
    pub fn target(stream: TcpStream) -> Self {
        Self::over(Wire::bare(stream), vec![])
    }

    /// Breaks off: TCP RST, or RST_STREAM.
    pub fn abort(self) {
        match self.writer {
            Writer::H2(mut send) => send.send_reset(Reason::CANCEL),
            Writer::Wire(half) => {
                self.socket.set_linger(Some(Duration::ZERO)).unwrap();
                drop((half, self.reader));
            }
        }
    }

    /// Breaks off the connection below: TCP RST whatever is spoken on it.
    pub fn abort_connection(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
        if let Some(task) = &self.h2 {
            task.abort();
        }
    }

    /// Waits for the other side to break off, after it had finished: no read would tell.
    pub async fn broken_off(&mut self) {
        match &mut self.writer {
            Writer::H2(send) => drop(poll_fn(|cx| send.poll_reset(cx)).await),
            Writer::Wire(_) => {
                while self.socket.take_error().unwrap().is_none() {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// Ends in good order and waits for the other side to do so; what it still sent.
    pub async fn close(mut self) -> Vec<u8> {
        self.writer.finish().await.expect("our end is taken");
        let (bytes, end) = self.reader.read_to_end().await;
        assert_eq!(end, End::Fin);
        bytes
    }
}
