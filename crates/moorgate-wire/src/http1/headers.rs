//! Header fields in the order in which they came, names in lower case.

use std::{fmt, ops::Range};

use super::{
    is_token, is_token_byte,
    lines::{controls, is_control},
};
use crate::visible::visible;

/// Fields whose values are never shown.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// What a Connection field may not take away: framing, routing, and what loops are found by.
const KEPT: [&str; 4] = ["host", "content-length", "via", "cdn-loop"];
/// What is meant for the next hop only (RFC 9110 §7.6.1), and what says how *that* hop's bytes are framed.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Room for what a proxy adds to a head.
const ADDED: usize = 8;
const ADDED_NAMES: usize = 96;
const ADDED_VALUES: usize = 160;

/// Header fields. No name is other than a token, no value holds a control byte but a tab.
#[derive(Clone, Default)]
pub struct Headers {
    /// All names, and all values, one behind the other: a head costs two texts, however many fields it has.
    names: String,
    values: Vec<u8>,
    fields: Vec<Field>,
    /// A bit for each length that a name has had: most names that are asked for are not there, and are not looked for.
    lengths: u64,
}

fn bit(name: &str) -> u64 {
    1 << (name.len() % 64)
}

/// Where a field's name and value stand.
#[derive(Clone)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// None, with room for so many fields of so many bytes each of names and values, and for what a proxy adds to a head.
    pub fn with_capacity(fields: usize, names: usize, values: usize) -> Self {
        let names = String::with_capacity(names + ADDED_NAMES);
        let values = Vec::with_capacity(values + ADDED_VALUES);
        Self { names, values, fields: Vec::with_capacity(fields + ADDED), lengths: 0 }
    }

    pub(super) fn from_parsed(parsed: &[httparse::Header<'_>]) -> Self {
        let (mut names, mut values) = (0, 0);
        for field in parsed {
            names += field.name.len();
            values += field.value.len();
        }
        let mut headers = Self::with_capacity(parsed.len(), names, values);
        for field in parsed {
            // What is parsed has been checked.
            let from = headers.values.len();
            headers.values.extend_from_slice(trim(field.value));
            headers.end(field.name, from);
        }
        headers
    }

    /// Every field, as (name in lower case, value).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (self.name(field), self.value(field)))
    }

    fn name(&self, field: &Field) -> &str {
        self.names.get(field.name.clone()).unwrap_or_default()
    }

    fn value(&self, field: &Field) -> &[u8] {
        self.values.get(field.value.clone()).unwrap_or_default()
    }

    /// The first value of a field, without white space around it. `name` is lower case.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Every value of a field, in order. `name` is lower case.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let may_be = if self.lengths & bit(name) == 0 { &[] } else { &*self.fields };
        may_be.iter().filter(move |field| self.name(field) == name).map(|field| self.value(field))
    }

    /// Whether there is such a field. `name` is lower case.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Takes every field of this name away; whether there was one. `name` is lower case.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.lengths & bit(name) == 0 {
            return false;
        }
        let before = self.fields.len();
        self.retain(|own| own != name);
        before != self.fields.len()
    }

    /// Takes away every field whose name does not stay.
    pub fn retain(&mut self, mut stays: impl FnMut(&str) -> bool) {
        let names = &self.names;
        self.fields.retain(|field| stays(names.get(field.name.clone()).unwrap_or_default()));
    }

    /// Adds a field at the end. The name is put in lower case; a control byte in the value becomes
    /// a space. A name that is no token (RFC 9110 §5.1) adds nothing, so that nothing can be smuggled in.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let from = self.values.len();
        self.values.extend_from_slice(trim(value.as_ref()));
        self.end_push(name, from);
    }

    /// As [`Headers::push`], of a value that `write` puts behind what is there; white space around it stays.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.values.len();
        write(&mut self.values);
        self.end_push(name, from);
    }

    /// As [`Headers::push`], of a value that comes in parts; white space around it stays.
    pub fn push_parts(&mut self, name: &str, parts: &[&[u8]]) {
        self.push_with(name, |value| parts.iter().for_each(|part| value.extend_from_slice(part)));
    }

    /// Adds all fields of another head at the end.
    pub fn append(&mut self, other: &Self) {
        let (names, values) = (self.names.len(), self.values.len());
        self.names.push_str(&other.names);
        self.values.extend_from_slice(&other.values);
        self.lengths |= other.lengths;
        self.fields.extend(other.fields.iter().map(|Field { name, value }| Field {
            name: name.start + names..name.end + names,
            value: value.start + values..value.end + values,
        }));
    }

    /// The value that begins at `from` is written; now it gets its name.
    fn end_push(&mut self, name: &str, from: usize) {
        if !is_token(name.as_bytes()) {
            self.values.truncate(from);
            return;
        }
        let value = self.values.get_mut(from..).unwrap_or_default();
        if controls(value) > 0 {
            for byte in value.iter_mut().filter(|byte| is_control(**byte)) {
                *byte = b' ';
            }
        }
        self.end(name, from);
    }

    /// The same, where both are known to be sound.
    fn end(&mut self, name: &str, from: usize) {
        self.lengths |= bit(name);
        let name_from = self.names.len();
        self.names.push_str(name);
        if let Some(name) = self.names.get_mut(name_from..) {
            name.make_ascii_lowercase();
        }
        self.fields.push(Field { name: name_from..self.names.len(), value: from..self.values.len() });
    }

    /// Puts one field of this name in the place of all there were.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(&name.to_ascii_lowercase());
        self.push(name, value);
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The members of every field of this name, split at commas (RFC 9110 §5.6.1), empty ones left out.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).flat_map(|value| value.split(|&b| b == b',')).map(trim).filter(|member| !member.is_empty())
    }

    /// Takes away what is meant for this hop only: first what Connection names (but never Host, Content-Length,
    /// Via or CDN-Loop), then the hop-by-hop fields of RFC 9110 §7.6.1, Expect and Trailer.
    pub fn strip_hop_by_hop(&mut self) {
        let named: Vec<Vec<u8>> = self.list("connection").map(<[u8]>::to_ascii_lowercase).collect();
        let goes = |name: &str| {
            HOP_BY_HOP.contains(&name) || (!KEPT.contains(&name) && named.iter().any(|n| n == name.as_bytes()))
        };
        self.retain(|name| !goes(name));
    }

    /// How many bytes [`Headers::encode_into`] writes.
    pub fn encoded_len(&self) -> usize {
        // ": " and CR LF.
        self.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }

    /// Writes every field as `name: value CR LF`, without the empty line at the end.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Without the optional white space around a value (RFC 9110 §5.6.3).
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !is_space(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_space(b)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// Shows no value that may hold a secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            if SECRET.contains(&name) {
                map.entry(&name, &"…");
            } else {
                map.entry(&name, &visible(value));
            }
        }
        map.finish()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in fields {
            headers.push(name.as_ref(), value);
        }
        headers
    }
}

/// A token in text, such as a method or a Connection option.
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.bytes().all(is_token_byte)).then_some(text)
}
