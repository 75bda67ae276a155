//! An h2 client that says what the h2 library would not let it: frame by frame (RFC 9113 §4, §6).

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Door, Doors, STUCK, Wire};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Error codes (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Four bytes of the payload as a number.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The code of a RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        self.number(if self.kind == GOAWAY { 4 } else { 0 })
    }

    /// One of the SETTINGS.
    pub fn setting(&self, id: u16) -> Option<u32> {
        let mut settings = self.payload.chunks_exact(6);
        let found = settings.find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(found[2..].try_into().unwrap()))
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as no library would write it: whatever bytes, literal and without indexing (RFC 7541 §6.2.2).
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], &*sized(name), &sized(value)].concat()
}

/// A string of its length and its bytes (RFC 7541 §5.2).
fn sized(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length @ ..=126) => out.push(length),
        _ => {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
    }
    out.extend_from_slice(text);
    out
}

/// Fields, one behind the other.
pub fn block<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    fields.into_iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A CONNECT, with whatever is given as Proxy-Authorization.
pub fn connect(stream: u32, target: &str, authorization: Option<&str>) -> Vec<u8> {
    let asked = [(&b":method"[..], &b"CONNECT"[..]), (b":authority", target.as_bytes())];
    let more = authorization.map(|authorization| (&b"proxy-authorization"[..], authorization.as_bytes()));
    frame(HEADERS, END_HEADERS, stream, &block(asked.into_iter().chain(more)))
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// The ids of a client's streams (RFC 9113 §5.1.1).
pub fn ids() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// A connection whose preface is said.
pub struct Frames {
    pub wire: Wire,
    /// What the gateway said first.
    pub settings: Frame,
}

impl Frames {
    pub async fn open(doors: &Doors) -> Self {
        Self::over(doors.wire(Door::HttpsH2).await.unwrap(), &[]).await
    }

    /// Over a connection on which h2 was agreed, with SETTINGS of one's own.
    pub async fn over(mut wire: Wire, settings: &[(u16, u32)]) -> Self {
        let setting = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &settings)].concat();
        wire.stream.write_all(&preface).await.unwrap();
        wire.stream.flush().await.unwrap();
        let settings = read(&mut wire.stream).await.expect("its SETTINGS");
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        let mut frames = Self { wire, settings };
        // Its windows hold from here on.
        frames.send(&frame(SETTINGS, ACK, 0, &[])).await;
        frames
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The gateway may have ended the connection: what it said is what a test checks.
        let _ = self.wire.stream.write_all(bytes).await;
        let _ = self.wire.stream.flush().await;
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        read(&mut self.wire.stream).await
    }

    /// The next frame of a kind; the others before it are dropped.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Waits until the gateway has read all that was sent. What it said meanwhile, or that it ended the connection.
    pub async fn settle(&mut self) -> Result<Vec<Frame>, Option<Frame>> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                None => return Err(None),
                Some(frame) if frame.kind == GOAWAY => return Err(Some(frame)),
                Some(frame) if frame.kind == PING && frame.flags == ACK => return Ok(frames),
                Some(frame) => frames.push(frame),
            }
        }
    }
}

pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"settled?")
}

/// One frame; `None` at the end, however the connection ended.
pub async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Frame> {
    let reading = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    };
    timeout(STUCK, reading).await.expect("a frame")
}
