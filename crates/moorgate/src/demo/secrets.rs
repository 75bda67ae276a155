//! What is planted: five secrets, drawn anew in each run.

use super::DemoError;

/// One of the things that somebody on the way might read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// The host that is asked for.
    Name,
    /// The proxy password.
    Password,
    /// The path of the request.
    Path,
    /// A header field of the request.
    Header,
    /// The body of the request.
    Body,
}

impl Secret {
    /// In the order of the table's columns.
    pub(super) const ALL: [Self; 5] = [Self::Name, Self::Password, Self::Path, Self::Header, Self::Body];

    /// As the table and the JSON have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Password => "password",
            Self::Path => "path",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

/// 32 letters and digits that nobody mistakes for one another; the first 24 are letters.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Drawn characters of a secret: 60 bits, so that none is met in a recording by chance.
const LENGTH: usize = 12;
/// Below this name every host of the demo lives. `internal` is no domain of the public DNS.
pub(super) const ZONE: &str = "demo.internal";
/// How much of the password is shown.
const SHOWN: usize = 6;

/// The secrets of one run. Not in `Debug`.
pub(super) struct Planted {
    name: String,
    username: String,
    password: String,
    path: String,
    header: String,
    body: String,
}

impl Planted {
    /// Draws them. The password is the gateway's: it draws one for each credential.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn draw((username, password): (String, String)) -> Result<Self, DemoError> {
        Ok(Self { name: draw()?, username, password, path: draw()?, header: draw()?, body: draw()? })
    }

    /// The random part, which is what recordings are searched for.
    pub(super) fn value(&self, secret: Secret) -> &str {
        match secret {
            Secret::Name => &self.name,
            Secret::Password => &self.password,
            Secret::Path => &self.path,
            Secret::Header => &self.header,
            Secret::Body => &self.body,
        }
    }

    /// As people are shown it: of the password only the beginning.
    pub(super) fn shown(&self, secret: Secret) -> String {
        match secret {
            Secret::Name => self.host("N"),
            Secret::Password => self.password.chars().take(SHOWN).chain(['…']).collect(),
            Secret::Path => self.path(),
            Secret::Header => self.field(),
            Secret::Body => self.body(),
        }
    }

    /// A host whose name is the secret one. `label` tells several apart.
    pub(super) fn host(&self, label: &str) -> String {
        format!("{}-{label}.{ZONE}", self.name)
    }

    /// Username and password at the proxy.
    pub(super) fn credential(&self) -> (&str, &str) {
        (&self.username, &self.password)
    }

    /// The path that is asked for.
    pub(super) fn path(&self) -> String {
        format!("/account/{}", self.path)
    }

    /// The header field that is sent.
    pub(super) fn field(&self) -> String {
        format!("X-Api-Key: {}", self.header)
    }

    /// The body that is sent.
    pub(super) fn body(&self) -> String {
        format!("{{\"ssn\":\"{}\"}}", self.body)
    }
}

/// A letter, then letters and digits.
fn draw() -> Result<String, DemoError> {
    const LETTERS: u8 = 24;
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| DemoError::Random)?;
    let letter = |(at, byte): (usize, &u8)| {
        let index = if at == 0 { byte % LETTERS } else { byte % 32 };
        ALPHABET.get(usize::from(index)).copied().map(char::from)
    };
    Ok(bytes.iter().enumerate().filter_map(letter).collect())
}
