//! What stands behind the proxies: raw works and HTTP/1.1, told apart by a client's first byte.
//!
//! | first byte | then |
//! |---|---|
//! | `c` | 64 bytes, and close |
//! | `p` | everything that comes goes back |
//! | `d`, 8 bytes | so many bytes, and the next work |
//! | `u`, 8 bytes | so many are read, or all until the end; then [`TAKEN`], and the next work |
//! | `G` | HTTP/1.1: `GET /N` answers N bytes |
//!
//! A ClientHello in front of all that is dropped whole. It must cost little: it shares a core with the load.

mod http;

use std::{cell::RefCell, collections::HashMap, io, net::SocketAddr, rc::Rc, sync::LazyLock};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::LocalSet,
};

use crate::{
    error::LoadError,
    hello::{HANDSHAKE, RECORD_HEAD},
};
use http::Head;

/// The answer to `c`, in bytes.
pub(crate) const SHORT: usize = 64;
/// The answer to an upload.
pub(crate) const TAKEN: &[u8; 2] = b"ok";
/// Room for what a client says first: a ClientHello and a command, or a request.
const FIRST_BYTES: usize = 4 * 1024;
/// Room for uploads and for what is echoed.
const BUFFER_BYTES: usize = 256 * 1024;
/// Waiting to be accepted: more than any work opens at once.
const BACKLOG: u32 = 4096;
/// Answers up to here are made once and leave in one write, head and body.
const KEPT_BYTES: u64 = 1024 * 1024;
/// How many sizes of answers are kept; the benchmark asks for a handful.
const KEPT_ANSWERS: usize = 64;

/// What downloads and long answers are made of.
static CHUNK: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'd'; BUFFER_BYTES]);

/// Serves until it is killed.
///
/// # Errors
/// It can't listen, print its address, or accept.
pub(crate) async fn run() -> Result<(), LoadError> {
    let listener = listen()?;
    let address = listener.local_addr().map_err(|source| LoadError::Listen { address: crate::any(), source })?;
    crate::print_line(&address.to_string())?;
    LocalSet::new().run_until(accept(listener, address)).await
}

fn listen() -> Result<TcpListener, LoadError> {
    let address = crate::any();
    let bound = || {
        let socket = TcpSocket::new_v4()?;
        // What is accepted inherits it.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| LoadError::Listen { address, source })
}

async fn accept(listener: TcpListener, address: SocketAddr) -> Result<(), LoadError> {
    let answers = Rc::new(RefCell::new(Answers::default()));
    loop {
        let (stream, _) = listener.accept().await.map_err(|source| LoadError::Accept { address, source })?;
        let client = Client { stream, input: BytesMut::with_capacity(FIRST_BYTES), answers: Rc::clone(&answers) };
        tokio::task::spawn_local(async move {
            // A proxy that goes away in the middle is the proxy's to explain; the client counts it.
            let _ = client.serve().await;
        });
    }
}

/// Whole answers by the size of their bodies.
#[derive(Default)]
struct Answers(HashMap<u64, Rc<[u8]>>);

impl Answers {
    fn of(&mut self, size: u64) -> Rc<[u8]> {
        if self.0.len() >= KEPT_ANSWERS {
            self.0.clear();
        }
        Rc::clone(self.0.entry(size).or_insert_with(|| {
            let mut answer = http::answer(size);
            answer.extend((0..size).map(|_| b'd'));
            answer.into()
        }))
    }
}

struct Client {
    stream: TcpStream,
    input: BytesMut,
    answers: Rc<RefCell<Answers>>,
}

impl Client {
    async fn serve(mut self) -> io::Result<()> {
        if self.have(1).await? && self.input.first() == Some(&HANDSHAKE) {
            self.drop_hello().await?;
        }
        while self.have(1).await? {
            match self.input.first() {
                Some(b'c') => return self.stream.write_all(&[b'c'; SHORT]).await,
                Some(b'p') => {
                    self.input.advance(1);
                    return self.echo().await;
                }
                Some(b'd') => {
                    let Some(count) = self.count().await? else { return Ok(()) };
                    self.send(count).await?;
                }
                Some(b'u') => {
                    let Some(count) = self.count().await? else { return Ok(()) };
                    self.take(count).await?;
                    self.stream.write_all(TAKEN).await?;
                }
                Some(b'G') => return self.requests().await,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads until so many bytes are here; false when the client ends before that.
    async fn have(&mut self, count: usize) -> io::Result<bool> {
        while self.input.len() < count {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops one record, read as far as it goes.
    async fn drop_hello(&mut self) -> io::Result<()> {
        if !self.have(RECORD_HEAD).await? {
            return Ok(());
        }
        let length = match self.input.get(3..RECORD_HEAD) {
            Some(&[high, low]) => RECORD_HEAD + usize::from(u16::from_be_bytes([high, low])),
            _ => return Ok(()),
        };
        if self.have(length).await? {
            self.input.advance(length);
        }
        Ok(())
    }

    /// The number behind a command, both taken from the input; `None` when the client ends before it.
    async fn count(&mut self) -> io::Result<Option<u64>> {
        if !self.have(1 + size_of::<u64>()).await? {
            return Ok(None);
        }
        self.input.advance(1);
        Ok(Some(self.input.get_u64()))
    }

    async fn send(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let piece = usize::try_from(count).map_or(CHUNK.len(), |left| left.min(CHUNK.len()));
            let piece = CHUNK.get(..piece).unwrap_or_default();
            self.stream.write_all(piece).await?;
            count -= piece.len() as u64;
        }
        Ok(())
    }

    /// Reads so many bytes, or up to the client's end.
    async fn take(&mut self, mut count: u64) -> io::Result<()> {
        loop {
            let here = usize::try_from(count).map_or(self.input.len(), |left| left.min(self.input.len()));
            self.input.advance(here);
            count -= here as u64;
            if count == 0 {
                return Ok(());
            }
            // The buffer is empty here, so this makes room without moving a byte; the first time it grows.
            self.input.reserve(BUFFER_BYTES);
            if !self.have(1).await? {
                return Ok(());
            }
        }
    }

    async fn echo(mut self) -> io::Result<()> {
        loop {
            self.stream.write_all_buf(&mut self.input).await?;
            self.input.reserve(FIRST_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn requests(mut self) -> io::Result<()> {
        loop {
            match http::head(&self.input) {
                Head::More => {
                    if self.stream.read_buf(&mut self.input).await? == 0 {
                        return Ok(());
                    }
                }
                Head::Malformed => return self.stream.write_all(http::MALFORMED).await,
                Head::Get { size, keep_alive, length } => {
                    self.input.advance(length);
                    if size <= KEPT_BYTES {
                        let answer = self.answers.borrow_mut().of(size);
                        self.stream.write_all(&answer).await?;
                    } else {
                        self.stream.write_all(&http::answer(size)).await?;
                        self.send(size).await?;
                    }
                    if !keep_alive {
                        return Ok(());
                    }
                }
            }
        }
    }
}
