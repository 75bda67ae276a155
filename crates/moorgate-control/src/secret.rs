//! Passwords, usernames and tokens: made at random, shown once, never printed.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ControlError;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Zeroized when dropped and hidden from `Debug`. It serialises as its text: put it only where it is shown once.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// The text.
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret! {
    /// A proxy password.
    Password
}
secret! {
    /// A bearer token of the API.
    Token
}

secret! {
    /// What webhooks are signed with: `whsec_…`.
    SigningSecret
}

impl SigningSecret {
    pub(crate) fn of(secret: &moorgate_alarm::WebhookSecret) -> Self {
        Self(secret.text())
    }
}

/// Letters first: what begins with one of the first 52 needs no quoting anywhere.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LETTERS: usize = 52;
/// 5.7 bits for the first letter, 5.95 for each other: 154 bits.
const PASSWORD_CHARS: usize = 26;
/// 238 bits.
const TOKEN_CHARS: usize = 40;
const USERNAME_CHARS: usize = 8;
const TOKEN_ID_CHARS: usize = 8;

impl Password {
    /// A password that somebody chose.
    pub fn given(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn random() -> Result<Self, ControlError> {
        random_text("", PASSWORD_CHARS).map(Self)
    }
}

impl Token {
    pub(crate) fn random() -> Result<Self, ControlError> {
        random_text("mgt_", TOKEN_CHARS).map(Self)
    }

    /// What stands in a cookie of the console.
    pub(crate) fn of_cookie() -> Result<Self, ControlError> {
        random_text("mgc_", TOKEN_CHARS).map(Self)
    }

    /// What stands in the link of an invitation.
    pub(crate) fn of_link() -> Result<Self, ControlError> {
        random_text("mgi_", TOKEN_CHARS).map(Self)
    }
}

/// The letters and digits that nobody takes for others: five bits each.
const CLEAR: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

impl Token {
    /// A code for when an authenticator app is lost: 80 bits, to be written down.
    pub(crate) fn of_recovery() -> Result<Self, ControlError> {
        let mut bytes = Zeroizing::new([0_u8; 16]);
        getrandom::fill(&mut *bytes).map_err(|_| ControlError::Random)?;
        let mut text = Zeroizing::new(String::with_capacity(19));
        for (place, byte) in bytes.iter().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.extend(CLEAR.get(usize::from(byte & 31)).map(|byte| char::from(*byte)));
        }
        Ok(Self(text))
    }
}

pub(crate) fn random_username() -> Result<String, ControlError> {
    Ok(random_text("mg_", USERNAME_CHARS)?.to_string())
}

pub(crate) fn random_token_id() -> Result<String, ControlError> {
    Ok(random_text("", TOKEN_ID_CHARS)?.to_string())
}

/// The label of a route's target in the zone: 130 bits, in lower case, as DNS knows no other.
pub(crate) fn random_label() -> Result<String, ControlError> {
    const LABEL: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0_u8; 26];
    getrandom::fill(&mut bytes).map_err(|_| ControlError::Random)?;
    Ok(bytes.iter().filter_map(|byte| LABEL.get(usize::from(byte & 31))).map(|byte| char::from(*byte)).collect())
}

/// `prefix`, then a random letter, then random letters and digits: `count` of them in all.
fn random_text(prefix: &str, count: usize) -> Result<Zeroizing<String>, ControlError> {
    // Room for all of it now: growing would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + count));
    text.push_str(prefix);
    let mut bytes = Zeroizing::new([0_u8; 64]);
    let mut made = 0;
    while made < count {
        getrandom::fill(&mut *bytes).map_err(|_| ControlError::Random)?;
        for byte in bytes.iter() {
            // Six bits; what is beyond the alphabet is drawn again, so that each character is equally likely.
            let index = usize::from(byte & 63);
            if made == count || (made == 0 && index >= LETTERS) {
                continue;
            }
            if let Some(character) = ALPHABET.get(index) {
                text.push(char::from(*character));
                made += 1;
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_secrets_need_no_quoting_and_never_repeat() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let password = Password::random().unwrap();
            let text = password.reveal();
            assert!(text.len() >= 24 && text.starts_with(|c: char| c.is_ascii_alphabetic()));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(seen.insert(text.to_owned()));
            assert!(seen.insert(random_username().unwrap()));
        }
        assert!(Token::random().unwrap().reveal().starts_with("mgt_"));
        assert!(random_username().unwrap().starts_with("mg_"));
    }

    #[test]
    fn no_secret_is_printed() {
        let password = Password::random().unwrap();
        let shown = crate::NewCredential { username: "mg_a".into(), password: password.clone() };
        assert!(!format!("{shown:?}").contains(password.reveal()));
        assert_eq!(format!("{:?}", Token::random().unwrap()), "Token(…)".to_owned());
    }
}
