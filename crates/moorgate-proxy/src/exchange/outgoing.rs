//! A request as its target gets it: everything written anew from parsed values.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Request, Uri, header};
use moorgate_contract::{
    failure::{Code, Failure},
    route::{OriginScheme, OriginUrl},
};
use moorgate_wire::{
    http1::{Framing, Headers, Method, encode_request},
    text::push_number,
};

/// A request on its way.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    /// How its body is framed toward the target.
    pub(crate) framing: Framing,
    path: &'a str,
    host: Cow<'a, str>,
    headers: Headers,
}

impl<'a> Outgoing<'a> {
    /// A request for `path` with its query. Of `headers`, Host and those that frame are written anew.
    ///
    /// # Errors
    /// [`Code::Malformed`] for what can't be written, which those who parsed it already keep out.
    pub(crate) fn new(
        method: &str,
        path: &'a str,
        host: impl Into<Cow<'a, str>>,
        mut headers: Headers,
        framing: Framing,
    ) -> Result<Self, Failure> {
        let one_word = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f) && !text.is_empty();
        let method = Method::parse(method).ok_or_else(|| unwritable("the method"))?;
        if !one_word(path) {
            return Err(unwritable("the path"));
        }
        let host = host.into();
        if !one_word(&host) {
            return Err(unwritable("the host"));
        }
        headers.retain(|name| !matches!(name, "host" | "content-length" | "transfer-encoding"));
        match framing {
            Framing::None => {}
            Framing::Length(length) => headers.push_with("content-length", |value| push_number(value, length)),
            Framing::Chunked => headers.push("transfer-encoding", "chunked"),
        }
        Ok(Self { method, framing, path, host, headers })
    }

    /// Asks for this host from now on.
    pub(crate) fn aim(&mut self, host: String) {
        self.host = host.into();
    }

    /// Its head over HTTP/1.1.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_request(&self.method, self.path, &self.host, &self.headers)
    }

    /// Whether it may be sent again when nobody knows whether it was acted upon (RFC 9110 §9.2.2).
    pub(crate) fn may_be_sent_again(&self) -> bool {
        self.framing == Framing::None && self.method.is_idempotent()
    }

    /// The same over HTTP/2: scheme and authority are in the target, and Host not at all (RFC 9113 §8.3.1).
    ///
    /// # Errors
    /// As [`Outgoing::new`].
    pub(crate) fn http2<B>(&self, url: &OriginUrl, body: B) -> Result<Request<B>, Failure> {
        let scheme = if url.scheme == OriginScheme::Http { "http" } else { "https" };
        let uri = Uri::builder().scheme(scheme).authority(&*self.host).path_and_query(self.path);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.as_str().parse().map_err(|_| unwritable("the method"))?;
        *request.uri_mut() = uri.build().map_err(|_| unwritable("the path"))?;
        *request.version_mut() = http::Version::HTTP_2;
        let fields = request.headers_mut();
        for (name, value) in self.headers.iter() {
            let name = HeaderName::try_from(name).map_err(|_| unwritable("a field name"))?;
            if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
                fields.append(name, HeaderValue::from_bytes(value).map_err(|_| unwritable("a field value"))?);
            }
        }
        Ok(request)
    }
}

fn unwritable(what: &str) -> Failure {
    Failure::new(Code::Malformed, format_args!("{what} of the request can't be forwarded"))
}
