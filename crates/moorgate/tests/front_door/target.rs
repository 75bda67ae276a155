//! Targets: servers of a test's own that count what reaches them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use socket2::SockRef;

/// What has reached a target.
#[derive(Clone, Default)]
pub struct Seen {
    /// Who connected, in order.
    pub peers: Vec<SocketAddr>,
    /// Whole requests, as text.
    pub requests: Vec<String>,
    /// Every byte that was read.
    pub bytes: usize,
}

pub struct Target {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// One connection to a target.
pub struct Conn {
    pub stream: TcpStream,
    seen: Arc<Mutex<Seen>>,
    buffer: Vec<u8>,
}

impl Target {
    /// Runs `handle` on a thread for each connection.
    pub fn new(at: &str, handle: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::over(TcpListener::bind(at).unwrap(), handle)
    }

    pub fn over(listener: TcpListener, handle: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (shared, handle) = (seen.clone(), Arc::new(handle));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(peer) = stream.peer_addr() else { continue };
                shared.lock().unwrap().peers.push(peer);
                let conn = Conn { stream, seen: shared.clone(), buffer: Vec::new() };
                let handle = handle.clone();
                thread::spawn(move || handle(conn));
            }
        });
        Self { address, seen }
    }

    /// Answers request after request with what `answer` makes of each.
    pub fn http(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::new("127.0.0.1:0", move |mut conn| {
            while let Some(request) = conn.request() {
                conn.send(answer(&request));
            }
        })
    }

    /// Sends back what it gets.
    pub fn echo() -> Self {
        Self::new("127.0.0.1:0", Conn::echo)
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// A response with a body of known length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Conn {
    /// Reads once more. `false`: the end, or an error.
    fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        let Ok(read) = self.stream.read(&mut piece) else { return false };
        self.buffer.extend_from_slice(&piece[..read]);
        self.seen.lock().unwrap().bytes += read;
        read > 0
    }

    /// The next head, without its body.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Some(String::from_utf8_lossy(&self.take(end + 4)).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next request, with its body as it came.
    pub fn request(&mut self) -> Option<String> {
        let head = self.head()?;
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|rest| rest.trim().to_owned()))
        };
        let body = if let Some(length) = field("content-length:") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                if !self.more() {
                    return None;
                }
            }
            self.take(length)
        } else if field("transfer-encoding:").is_some() {
            let end = b"0\r\n\r\n";
            while find(&self.buffer, end).is_none() {
                if !self.more() {
                    return None;
                }
            }
            let length = find(&self.buffer, end).unwrap() + end.len();
            self.take(length)
        } else {
            Vec::new()
        };
        let request = head + &String::from_utf8_lossy(&body);
        self.seen.lock().unwrap().requests.push(request.clone());
        Some(request)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may be gone: what it saw is the test's to check.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// A body without end. When nobody takes any more of it, `left` is noted among the requests.
    pub fn endless(&mut self) {
        let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while self.stream.write_all(&[b'e'; 16 * 1024]).is_ok() {}
        self.seen.lock().unwrap().requests.push("left".to_owned());
    }

    /// Ends with RST.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    fn echo(mut self) {
        while self.more() {
            let bytes = std::mem::take(&mut self.buffer);
            self.send(bytes);
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.buffer.drain(..bytes).collect()
    }
}

pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
