//! What is done with a connection once it is open.

use std::{io::ErrorKind, sync::LazyLock, time::Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::either::Either;

use super::{
    AttemptError, Tally,
    way::{Stream, Way, first_line},
};
use crate::{
    cli::Work,
    origin::{SHORT, TAKEN},
};

/// One message of `ping`.
const PING_BYTES: usize = 128;
/// Read and written at once in bulk.
const CHUNK_BYTES: usize = 256 * 1024;
/// More than a download can bring before its time is up.
const DOWN_BYTES: u64 = 1 << 50;
/// One upload. The origin confirms each, so what is counted has arrived; small enough that a run ends in time.
const UP_BYTES: u64 = 16 * 1024 * 1024;
/// What a stalled client asks for.
const STALLED_BYTES: u64 = 64 * 1024 * 1024;

static CHUNK: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'u'; CHUNK_BYTES]);

/// Opens a connection and does the work with it: once, or until the time is up.
///
/// # Errors
/// The connection does not come about, breaks, or brings something else.
pub(super) async fn attempt(way: &Way, work: Work, until: Instant, tally: &mut Tally) -> Result<(), AttemptError> {
    let began = Instant::now();
    let stream = way.open(tally).await?;
    match work {
        Work::Connection => connection(stream).await?,
        Work::Request => request(stream, way.request()).await?,
        Work::Ping => return ping(stream, until, tally).await,
        Work::Down => return down(stream, until, tally).await,
        Work::Up => return up(stream, until, tally).await,
        Work::Idle | Work::Stalled => return Ok(()),
    }
    tally.done += 1;
    tally.times.push(began.elapsed());
    Ok(())
}

async fn connection(mut stream: Stream) -> Result<(), AttemptError> {
    say(&mut stream, b"c").await?;
    let answer = to_end(&mut stream, SHORT).await?;
    if answer.len() == SHORT { Ok(()) } else { Err(AttemptError::Short { got: answer.len(), wanted: SHORT }) }
}

async fn request(mut stream: Stream, head: &[u8]) -> Result<(), AttemptError> {
    say(&mut stream, head).await?;
    let answer = to_end(&mut stream, SHORT).await?;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(head) = head.filter(|_| answer.starts_with(b"HTTP/1.1 200")) else {
        return Err(AttemptError::Answer { line: first_line(&answer) });
    };
    let got = answer.len() - head - 4;
    if got == SHORT { Ok(()) } else { Err(AttemptError::Short { got, wanted: SHORT }) }
}

async fn ping(mut stream: Stream, until: Instant, tally: &mut Tally) -> Result<(), AttemptError> {
    say(&mut stream, b"p").await?;
    let mut answer = [0; PING_BYTES];
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(());
        }
        say(&mut stream, &[b'p'; PING_BYTES]).await?;
        stream.read_exact(&mut answer).await.map_err(AttemptError::Work)?;
        tally.done += 1;
        tally.times.push(began.elapsed());
    }
}

/// Ends in the middle, at its time: one download is all that a connection does.
async fn down(mut stream: Stream, until: Instant, tally: &mut Tally) -> Result<(), AttemptError> {
    say(&mut stream, &command(b'd', DOWN_BYTES)).await?;
    let mut buffer = vec![0; CHUNK_BYTES];
    while Instant::now() < until {
        match stream.read(&mut buffer).await.map_err(AttemptError::Work)? {
            0 => return Err(AttemptError::Short { got: 0, wanted: CHUNK_BYTES }),
            count => tally.bytes += count as u64,
        }
    }
    tally.done += 1;
    Ok(())
}

async fn up(mut stream: Stream, until: Instant, tally: &mut Tally) -> Result<(), AttemptError> {
    while Instant::now() < until {
        let began = Instant::now();
        say(&mut stream, &command(b'u', UP_BYTES)).await?;
        for _ in 0..UP_BYTES / CHUNK_BYTES as u64 {
            say(&mut stream, &CHUNK).await?;
        }
        stream.flush().await.map_err(AttemptError::Work)?;
        let mut answer = [0; TAKEN.len()];
        stream.read_exact(&mut answer).await.map_err(AttemptError::Work)?;
        if answer != *TAKEN {
            return Err(AttemptError::NotTaken);
        }
        tally.bytes += UP_BYTES;
        tally.done += 1;
        tally.times.push(began.elapsed());
    }
    Ok(())
}

/// Says something small once and hears it back; then the connection is idle.
///
/// # Errors
/// It breaks, or brings something else.
pub(super) async fn idle(stream: &mut Stream) -> Result<(), AttemptError> {
    say(stream, b"p").await?;
    say(stream, &[b'p'; PING_BYTES]).await?;
    let mut answer = [0; PING_BYTES];
    stream.read_exact(&mut answer).await.map(drop).map_err(AttemptError::Work)
}

/// Asks for a long download and reads one byte of it.
///
/// # Errors
/// It breaks.
pub(super) async fn stalled(stream: &mut Stream) -> Result<(), AttemptError> {
    say(stream, &command(b'd', STALLED_BYTES)).await?;
    stream.read_u8().await.map(drop).map_err(AttemptError::Work)
}

fn command(work: u8, count: u64) -> [u8; 9] {
    let mut command = [work; 9];
    if let Some(place) = command.last_chunk_mut() {
        *place = count.to_be_bytes();
    }
    command
}

async fn say(stream: &mut Stream, bytes: &[u8]) -> Result<(), AttemptError> {
    stream.write_all(bytes).await.map_err(AttemptError::Work)
}

/// All up to the other side's end. A TLS peer that closes without saying so first is forgiven once all is here, and
/// gets our own goodbye, as a client's library sends it.
async fn to_end(stream: &mut Stream, due: usize) -> Result<Vec<u8>, AttemptError> {
    let mut answer = Vec::with_capacity(512);
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && answer.len() >= due => break,
            Err(error) => return Err(AttemptError::Work(error)),
        }
    }
    if let Either::Left(tls) = stream {
        let _ = tls.shutdown().await;
    }
    Ok(answer)
}
