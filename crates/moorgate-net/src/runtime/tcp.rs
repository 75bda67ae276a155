//! TCP on whichever runtime it is made: a worker's own, or tokio.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use mio::net::{TcpListener as MioListener, TcpStream as MioStream};
use nix::libc::EINPROGRESS;
use socket2::{SockRef, Socket as NewSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    executor::here,
    reactor::{ENDED, ERROR, READ, Shared, Socket, Tried, WRITE},
};

/// What is made initialized of a caller's buffer at once, where it is not.
const READ_AT_ONCE: usize = 16 * 1024;
/// Pieces of one write: Linux's IOV_MAX, which is writev(2)'s.
const PIECES_AT_ONCE: usize = 1024;

/// A connected socket.
pub struct TcpStream(Stream);

enum Stream {
    Own(Own),
    Tokio(Box<tokio::net::TcpStream>),
}

/// A socket that a worker watches.
struct Own {
    io: MioStream,
    watched: Arc<Socket>,
    watches_room: bool,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.watched.forget();
    }
}

impl Own {
    fn new(mut io: MioStream, shared: &Arc<Shared>, connecting: bool) -> io::Result<Self> {
        let watched = shared.watch(&mut io, connecting)?;
        Ok(Self { io, watched, watches_room: connecting })
    }

    fn poll_read(
        &self,
        cx: &Context<'_>,
        mut read: impl FnMut(&MioStream) -> io::Result<Tried<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.watched.poll_try(cx, READ, || read(&self.io))
    }

    /// `bytes`: what there is to write.
    fn poll_write(
        &mut self,
        cx: &Context<'_>,
        bytes: usize,
        write: impl Fn(&MioStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let polled = self.watched.poll_try(cx, WRITE, || {
            let written = write(&self.io)?;
            Ok(Tried { done: written, is_all: written < bytes })
        });
        // Most sockets are never full, and so nobody asks for their room.
        if !self.watches_room && self.watched.is_full() {
            self.watched.watch_room(&mut self.io)?;
            self.watches_room = true;
        }
        polled
    }

    /// Resolves when the connection that was begun is there.
    async fn connected(&self) -> io::Result<()> {
        let seen = poll_fn(|cx| self.watched.look(cx, WRITE).map_or(Poll::Pending, Poll::Ready)).await;
        if seen & (ERROR | ENDED) != 0
            && let Some(error) = self.io.take_error()?
        {
            return Err(error);
        }
        Ok(())
    }
}

impl TcpStream {
    /// Takes over a socket that is connected and does not block.
    ///
    /// # Errors
    /// When it can't be watched.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        match here(|here| here.shared.clone()) {
            Some(shared) => Ok(Self(Stream::Own(Own::new(MioStream::from_std(stream), &shared, false)?))),
            None => tokio::net::TcpStream::from_std(stream).map(Self::from),
        }
    }

    /// Connects a new socket, which does not block, to `address`.
    ///
    /// # Errors
    /// As connect(2).
    pub async fn connect(socket: NewSocket, address: SocketAddr) -> io::Result<Self> {
        let Some(shared) = here(|here| here.shared.clone()) else {
            let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
            return socket.connect(address).await.map(Self::from);
        };
        let connecting = match socket.connect(&address.into()) {
            // What is near may be there already.
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let own = Own::new(MioStream::from_std(socket.into()), &shared, connecting)?;
        if connecting {
            own.connected().await?;
        }
        Ok(Self(Stream::Own(own)))
    }

    /// [`AsyncRead::poll_read`] into what is initialized. 0 is the end.
    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Own(own) => own.poll_read(cx, |mut io| {
                let bytes = io.read(buf)?;
                // Less than there was room for is all there is. The end is none the less for being
                // read: who asks again is told again.
                Ok(Tried { done: bytes, is_all: bytes > 0 && bytes < buf.len() })
            }),
            Stream::Tokio(stream) => {
                let mut buf = ReadBuf::new(buf);
                ready!(Pin::new(&mut **stream).poll_read(cx, &mut buf))?;
                Poll::Ready(Ok(buf.filled().len()))
            }
        }
    }

    /// What comes next, without taking it; resolves with how many bytes there are. 0 is the end.
    ///
    /// # Errors
    /// As recv(2).
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Stream::Own(own) => {
                poll_fn(|cx| own.poll_read(cx, |io| Ok(Tried { done: io.peek(buf)?, is_all: false }))).await
            }
            Stream::Tokio(stream) => stream.peek(buf).await,
        }
    }

    /// Its own address.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Own(own) => own.io.local_addr(),
            Stream::Tokio(stream) => stream.local_addr(),
        }
    }

    /// The other side's.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Own(own) => own.io.peer_addr(),
            Stream::Tokio(stream) => stream.peer_addr(),
        }
    }

    /// The error that it has to tell, if any.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &self.0 {
            Stream::Own(own) => own.io.take_error(),
            Stream::Tokio(stream) => stream.take_error(),
        }
    }

    /// Makes closing it an abort (RST).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_zero_linger(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(std::time::Duration::ZERO))
    }
}

impl From<tokio::net::TcpStream> for TcpStream {
    fn from(stream: tokio::net::TcpStream) -> Self {
        Self(Stream::Tokio(Box::new(stream)))
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Stream::Own(own) => own.io.as_fd(),
            Stream::Tokio(stream) => stream.as_fd(),
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.as_fd()).finish()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Stream::Tokio(stream) = &mut self.0 {
            return Pin::new(&mut **stream).poll_read(cx, buf);
        }
        let known = buf.initialized().len() - buf.filled().len();
        let most = buf.remaining().min(known.max(READ_AT_ONCE));
        let bytes = ready!(self.poll_read_into(cx, buf.initialize_unfilled_to(most)))?;
        buf.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Own(own) => own.poll_write(cx, buf.len(), |mut io| io.write(buf)),
            Stream::Tokio(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Own(own) => {
                // Of more than that writev(2) takes no look, however much room there is.
                let bytes = bufs.iter().take(PIECES_AT_ONCE).map(|buf| buf.len()).sum();
                own.poll_write(cx, bytes, |mut io| io.write_vectored(bufs))
            }
            Stream::Tokio(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel has it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Own(own) => Poll::Ready(own.io.shutdown(Shutdown::Write)),
            Stream::Tokio(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// A socket that listens.
pub struct TcpListener(Listening);

enum Listening {
    Own { io: MioListener, watched: Arc<Socket> },
    Tokio(tokio::net::TcpListener),
}

impl TcpListener {
    /// Takes over a socket that listens and does not block.
    ///
    /// # Errors
    /// When it can't be watched.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        let Some(shared) = here(|here| here.shared.clone()) else {
            return tokio::net::TcpListener::from_std(listener).map(|listener| Self(Listening::Tokio(listener)));
        };
        let mut io = MioListener::from_std(listener);
        let watched = shared.watch(&mut io, false)?;
        Ok(Self(Listening::Own { io, watched }))
    }

    /// The next connection, and who it is from.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Listening::Own { io, watched } => poll_fn(|cx| poll_accept(io, watched, cx)).await,
            Listening::Tokio(listener) => listener.accept().await.map(|(stream, from)| (stream.into(), from)),
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Listening::Own { io, .. } => io.local_addr(),
            Listening::Tokio(listener) => listener.local_addr(),
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if let Listening::Own { watched, .. } = &self.0 {
            watched.forget();
        }
    }
}

fn poll_accept(io: &MioListener, watched: &Socket, cx: &Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    let accepted = watched.poll_try(cx, READ, || Ok(Tried { done: io.accept()?, is_all: false }));
    let (stream, from) = ready!(accepted)?;
    let own = Own::new(stream, watched.shared(), false)?;
    Poll::Ready(Ok((TcpStream(Stream::Own(own)), from)))
}
