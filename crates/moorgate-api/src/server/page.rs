//! Pages of a listing: at most so many rows, and where the next ones are (`Link: <…>; rel="next"`, RFC 8288).
//!
//! Rows have an order of their own, and a cursor names the last row of a page, not a count: what is added or removed
//! between two pages doubles and skips nothing. A cursor says where to go on and never whose rows they are.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Uri, header};
use moorgate_contract::time::Timestamp;
use serde::Serialize;

use crate::problem::{Case, Problem};

/// Rows of a page unless fewer are asked for, and the most.
pub(super) const PAGE_ROWS: usize = 1_000;
/// The same of usage, whose rows are short and worked out anew for each page.
const USAGE_ROWS: usize = 10_000;
/// A page ends with the row that reaches this many bytes: a route's own page of 64 KiB is one field of a row.
const PAGE_BYTES: usize = 4 << 20;
/// The longest key of a row, in bytes.
pub(super) const KEY_BYTES: usize = 255;
/// The longest cursor that is read, in bytes: the mark of its listing and a key in hexadecimal.
pub(super) const CURSOR_BYTES: usize = 2 * KEY_BYTES + 1;

/// What is listed. A cursor of one listing is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    Accounts,
    Credentials,
    Tokens,
    Routes,
    Certificates,
    Flows,
    Tiers,
    Audit,
    Usage,
}

impl Listing {
    /// The first letter of its cursors.
    fn mark(self) -> char {
        match self {
            Self::Accounts => 'a',
            Self::Credentials => 'c',
            Self::Tokens => 't',
            Self::Routes => 'r',
            Self::Certificates => 'x',
            Self::Flows => 'f',
            Self::Tiers => 'i',
            Self::Audit => 'u',
            Self::Usage => 'g',
        }
    }

    /// Rows of a page unless fewer are asked for, and the most.
    pub(super) fn rows(self) -> usize {
        if self == Self::Usage { USAGE_ROWS } else { PAGE_ROWS }
    }
}

/// Which page of a listing is asked for.
#[derive(Debug)]
pub(super) struct Page {
    listing: Listing,
    /// At most so many rows.
    pub(super) limit: usize,
    /// The key of the last row of the page before; empty: there was none.
    pub(super) after: String,
}

impl Page {
    /// Of a query's `limit` and `cursor`.
    pub(super) fn of(listing: Listing, limit: Option<usize>, cursor: Option<&str>) -> Result<Self, Problem> {
        let (most, limit) = (listing.rows(), limit.unwrap_or(listing.rows()));
        if !(1..=most).contains(&limit) {
            return Err(Problem::new(Case::BadQuery, format_args!("limit is 1 to {most}")));
        }
        let after = cursor.map_or_else(|| Ok(String::new()), |cursor| read(listing, cursor))?;
        Ok(Self { listing, limit, after })
    }

    /// How many rows to fetch: one more shows that there is a next page.
    pub(super) fn fetch(&self) -> usize {
        self.limit + 1
    }

    /// The rows of this page, and the one more, out of all there are.
    pub(super) fn choose<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> String) -> Vec<T> {
        let mut rows: Vec<(String, T)> = rows.into_iter().map(|row| (key(&row), row)).collect();
        rows.retain(|(key, _)| *key > self.after);
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.into_iter().take(self.fetch()).map(|(_, row)| row).collect()
    }

    /// The answer: these rows, which begin where this page does, up to a page's end.
    pub(super) fn answer<T: Serialize>(
        &self,
        uri: &Uri,
        rows: &[T],
        key: impl Fn(&T) -> String,
    ) -> Result<Response, Problem> {
        let (mut body, mut next) = (vec![b'['], None);
        for (at, row) in rows.iter().enumerate() {
            if at == self.limit || body.len() >= PAGE_BYTES {
                next = rows.get(at.saturating_sub(1)).map(&key);
                break;
            }
            if at > 0 {
                body.push(b',');
            }
            let written = serde_json::to_writer(&mut body, row);
            written.map_err(|_| super::handlers::internal("a row can't be written as JSON"))?;
        }
        body.push(b']');
        let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(link) = next.and_then(|key| link(self.listing, uri, &key)) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }
}

/// The header that names the next page, relative to where we were asked: a tunnel may have moved us.
pub(super) fn link(listing: Listing, uri: &Uri, key: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"));
    let mut cursor = format!("cursor={}", listing.mark());
    key.bytes().for_each(|byte| cursor.push_str(&format!("{byte:02x}")));
    let query: Vec<&str> = kept.chain([&*cursor]).collect();
    HeaderValue::try_from(format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
}

fn read(listing: Listing, cursor: &str) -> Result<String, Problem> {
    let digits = cursor.strip_prefix(listing.mark()).filter(|_| cursor.len() <= CURSOR_BYTES);
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0).ok_or_else(unreadable)?;
    let pairs = digits.as_bytes().chunks(2).map(|pair| match *pair {
        // Keys are ASCII, and have one spelling.
        [high @ b'0'..=b'7', low @ (b'0'..=b'9' | b'a'..=b'f')] => {
            u8::from_str_radix(&format!("{}{}", char::from(high), char::from(low)), 16).map(char::from).ok()
        }
        _ => None,
    });
    pairs.collect::<Option<String>>().ok_or_else(unreadable)
}

/// Of a cursor that is none of ours.
pub(super) fn unreadable() -> Problem {
    let said =
        "this cursor can't be read; take it as it is from the Link header of the page before, or begin without one";
    Problem::new(Case::BadQuery, said)
}

/// A key that sorts by time, then by name.
pub(super) fn by_time(time: Timestamp, name: &str) -> String {
    format!("{:020} {name}", time.0)
}

#[cfg(test)]
mod tests;
