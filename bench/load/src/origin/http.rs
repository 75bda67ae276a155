//! As much of HTTP/1.1 as the origin needs. It is given bytes and answers with a value.

use httparse::{EMPTY_HEADER, Request, Status};

/// Fields of a head: more than the proxies add.
const FIELDS: usize = 64;
/// A longer head is malformed.
const HEAD_BYTES: usize = 32 * 1024;

/// The answer to what is no `GET /N`.
pub(super) const MALFORMED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The head goes on.
    More,
    /// No request that is served here.
    Malformed,
    /// `GET /N`.
    Get {
        /// The bytes of body to answer with.
        size: u64,
        /// Whether the connection stays open.
        keep_alive: bool,
        /// The bytes of the head.
        length: usize,
    },
}

/// Reads one head.
pub(super) fn head(bytes: &[u8]) -> Head {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES => return Head::More,
        Ok(Status::Partial) | Err(_) => return Head::Malformed,
    };
    let size = request.path.and_then(|path| path.strip_prefix('/')?.parse().ok());
    let (Some("GET"), Some(size)) = (request.method, size) else { return Head::Malformed };
    let says = |word: &str| {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("connection")).any(|field| {
            field.value.split(|&byte| byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    let keep_alive = if request.version == Some(1) { !says("close") } else { says("keep-alive") };
    Head::Get { size, keep_alive, length }
}

/// The head of an answer with so many bytes.
pub(super) fn answer(size: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests;
