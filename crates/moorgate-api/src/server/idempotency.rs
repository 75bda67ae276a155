//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) on every POST: asked again under the same key, what was
//! done is answered once more and not done twice.
//!
//! That it was done is in the store, written with the change: asked again of another gateway, or after a restart, it is not
//! done again either. Answers are kept in memory, a day at most, and may hold secrets that are shown once: they go with the
//! process, are told to the same account (or to operators) alone, and are overwritten when they are let go.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use moorgate_control::{Call, Once};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{access::Caller, extract::TEXT_BYTES};
use crate::problem::{Case, Problem};

/// The key that a client chose for one change.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in bytes.
pub(super) const KEY_BYTES: usize = 255;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most answers, and their bytes: all, and those of one account (or the operators). The oldest make room, an
/// account's own first, so that no account pushes out another's.
const MOST: Room = Room { answers: 4_096, bytes: 32 << 20 };
const MOST_OF_ONE: Room = Room { answers: 512, bytes: 4 << 20 };
/// The longest answer to a POST, in bytes: a route with every setting at its limit, escaped.
const ANSWER_BYTES: usize = 8 << 20;

/// A bound.
#[derive(Clone, Copy, Debug)]
struct Room {
    answers: usize,
    bytes: usize,
}

/// The kept answers.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<VecDeque<Entry>>>);

/// What was asked under a key. The oldest are first.
struct Entry {
    /// SHA-256 of whose it is and key.
    id: [u8; 32],
    /// SHA-256 of method, path, query and body.
    asked: [u8; 32],
    account: Option<String>,
    begun: Instant,
    /// `None`: it is still being done.
    answer: Option<Kept>,
}

struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Kept {
    fn replay(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.to_vec()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// Does a POST once for each key.
pub(super) async fn once(State(answers): State<Answers>, request: Request, next: Next) -> Result<Response, Problem> {
    let key = if request.method() == Method::POST { key(request.headers())? } else { None };
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(key), Some(caller)) = (key, caller) else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    // Bounded where it was read.
    let body = to_bytes(body, TEXT_BYTES).await.map_err(|_| Problem::new(Case::BadBody, "the body broke off"))?;
    let path = parts.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
    let asked = digest(&[parts.method.as_str().as_bytes(), path.as_bytes(), &body]);
    let account = caller.account().map(str::to_owned);
    // Operators are one, whichever gateway's token they have.
    let id = digest(&[account.as_deref().unwrap_or_default().as_bytes(), &key]);
    if let Some(answer) = answers.begin(Entry { id, asked, account, begun: Instant::now(), answer: None })? {
        return Ok(answer);
    }
    parts.extensions.get_or_insert_default::<Call>().once = Some(Once { key: id, asked });
    let running = Running { answers, id };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    running.finish(response).await
}

/// The key of a request: the text of a string (RFC 8941 §3.3.3), or the value as it stands.
fn key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bare = value.as_bytes().trim_ascii();
    let text = bare.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(bare);
    let is_one = values.next().is_none();
    let is_read = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') && !text.contains(&b'"');
    if !is_one || !is_read || text.is_empty() || text.len() > KEY_BYTES {
        let said = format_args!("give one Idempotency-Key of 1 to {KEY_BYTES} visible characters, such as a UUID");
        return Err(Problem::new(Case::BadKey, said));
    }
    Ok(Some(text.to_vec()))
}

/// Of parts, none of which can pass for the end of another.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Answers {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the key, or says what there is under it already.
    fn begin(&self, entry: Entry) -> Result<Option<Response>, Problem> {
        let mut entries = self.entries();
        entries.retain(|old| old.answer.is_none() || old.begun.elapsed() < KEPT);
        if let Some(old) = entries.iter().find(|old| old.id == entry.id) {
            if old.asked != entry.asked {
                let said = "this Idempotency-Key was used for another request; choose a new one for each change";
                return Err(Problem::new(Case::KeyReused, said));
            }
            let running = || {
                Problem::new(Case::StillRunning, "the first request of this Idempotency-Key still runs; ask again soon")
            };
            return old.answer.as_ref().map(Kept::replay).map(Some).ok_or_else(running);
        }
        make_room(&mut entries, &entry.account, 0);
        entries.push_back(entry);
        Ok(None)
    }
}

/// Lets the oldest answers go until one more of `bytes` has room. Those that still run stay: what has them is bounded by
/// its connection.
fn make_room(entries: &mut VecDeque<Entry>, account: &Option<String>, bytes: usize) {
    let drop_oldest = |entries: &mut VecDeque<Entry>, room: Room, counts: &dyn Fn(&Entry) -> bool| {
        loop {
            let counted = entries.iter().filter(|entry| counts(entry));
            let (count, used) = counted.fold((0, bytes), |(count, used), entry| {
                (count + 1, used + entry.answer.as_ref().map_or(0, |kept| kept.body.len()))
            });
            if count < room.answers && used <= room.bytes {
                return;
            }
            let Some(oldest) = entries.iter().position(|entry| entry.answer.is_some() && counts(entry)) else { return };
            entries.remove(oldest);
        }
    };
    drop_oldest(entries, MOST_OF_ONE, &|entry| entry.account == *account);
    drop_oldest(entries, MOST, &|_| true);
}

/// A request that is being done. Dropped unfinished it lets go of its key.
struct Running {
    answers: Answers,
    id: [u8; 32],
}

impl Running {
    async fn finish(self, response: Response) -> Result<Response, Problem> {
        // Nothing was done where the store is down: the next try is to be a real one.
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES).await;
        let body = body.map_err(|_| super::handlers::internal("an answer is too long to be kept"))?;
        let mut entries = self.answers.entries();
        if let Some(at) = entries.iter().position(|entry| entry.id == self.id)
            && let Some(mut entry) = entries.remove(at)
        {
            make_room(&mut entries, &entry.account, body.len());
            let (status, headers) = (parts.status, parts.headers.clone());
            entry.answer = Some(Kept { status, headers, body: Zeroizing::new(body.to_vec()) });
            let at = at.min(entries.len());
            entries.insert(at, entry);
        }
        drop(entries);
        Ok(Response::from_parts(parts, Body::from(body)).into_response())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.answers.entries().retain(|entry| entry.id != self.id || entry.answer.is_some());
    }
}

#[cfg(test)]
mod tests;
