//! HTTPS toward a CA: what it says of when it wants to be asked again is kept, and kept within bounds.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use moorgate_contract::account::Account;
use moorgate_fetch::{Cause, SiteNow, gateway};
use moorgate_net::connect::Connector;
use moorgate_tls::Originator;

/// The most bytes of an answer: a chain has some thousands.
const ANSWER_BYTES: usize = 1 << 20;
/// The longest time that a CA is left alone because it says so, in seconds: thirty days.
const MOST_RETRY_AFTER: u32 = 30 * 86_400;

/// Asks over HTTPS. Cheap to clone.
#[derive(Clone)]
pub struct Fetch {
    fetch: moorgate_fetch::Fetch,
    /// The gateway itself.
    account: Arc<Account>,
    /// When whoever refused last wants to be asked again.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Fetch {
    /// `originator` trusts whom it is to trust; `site` says what the guard refuses.
    pub fn new(connector: Connector, originator: Originator, site: SiteNow) -> Self {
        let fetch = moorgate_fetch::Fetch::new(connector, originator, site);
        Self { fetch, account: gateway(), retry_after: Arc::default() }
    }

    /// When whoever refused last wants to be asked again; forgotten by this.
    pub(crate) fn take_retry_after(&self) -> Option<SystemTime> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks. The answer is whole, whatever its status.
    ///
    /// # Errors
    /// What kept it from being had, in words.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Cause> {
        if request.uri().scheme_str() != Some("https") {
            return Err(format!("{} is not https", request.uri()).into());
        }
        let mut answer = self.fetch.ask(self.account.clone(), request, Some(ANSWER_BYTES)).await?;
        bound_retry_after(answer.headers_mut());
        if !answer.status().is_success() {
            let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = after.and_then(self::after);
        }
        Ok(answer)
    }
}

/// Whoever reads it adds it to the time that it is.
fn bound_retry_after(headers: &mut HeaderMap) {
    let most = HeaderValue::from(MOST_RETRY_AFTER);
    let is_number = |value: &HeaderValue| value.as_bytes().trim_ascii().iter().all(u8::is_ascii_digit);
    let is_bounded = |value: &HeaderValue| {
        let seconds = value.to_str().ok().and_then(|value| value.trim().parse::<u32>().ok());
        seconds.is_some_and(|seconds| seconds <= MOST_RETRY_AFTER)
    };
    if headers.get(header::RETRY_AFTER).is_some_and(|value| is_number(value) && !is_bounded(value)) {
        headers.insert(header::RETRY_AFTER, most);
    }
}

/// In seconds; a date is as good as nothing said (RFC 9110 §10.2.3 allows both, and CAs write seconds).
fn after(value: &str) -> Option<SystemTime> {
    value.trim().parse::<u32>().ok().map(|seconds| SystemTime::now() + Duration::from_secs(seconds.into()))
}

impl HttpClient for Fetch {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetch = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // It is in memory already.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = fetch.ask(Request::from_parts(parts, Full::new(body))).await.map_err(Error::Other)?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_all_patience_is_cut_short() {
        let bounded = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            bound_retry_after(&mut headers);
            headers.get(header::RETRY_AFTER).unwrap().to_str().unwrap().to_owned()
        };
        for kept in ["0", "3600", "2592000", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"] {
            assert_eq!(bounded(kept), kept);
        }
        for cut in ["2592001", "4294967296", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(bounded(cut), "2592000");
        }
    }
}
