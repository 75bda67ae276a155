//! What a browser keeps between two steps of proving who somebody is: sealed, so that it can neither be read nor made up,
//! and any gateway on the store can go on with it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moorgate_contract::time::Timestamp;
use moorgate_keys::{MasterKey, open, seal};
use serde::{Deserialize, Serialize};

use crate::error::{ControlError, Invalid};

/// What they are sealed for.
const PURPOSE: &str = "sign-in step";
/// How long a step may take: an app is looked for, a phone is unlocked.
const STEP_TIME: Duration = Duration::from_secs(10 * 60);
/// The longest that is looked at, in bytes.
const MOST: usize = 4_096;

/// What comes next, and for whom.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The password was right; a code is wanted. `password`: of the hash that it was right for.
    Code { person: String, password: String },
    /// An app is to show that it has the secret.
    App { person: String, secret: Vec<u8> },
    /// An authenticator makes a passkey.
    Make { person: String, challenge: Vec<u8> },
    /// An authenticator shows a passkey, anybody's.
    Show { challenge: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
struct Timed {
    step: Step,
    since: Timestamp,
}

/// As the browser keeps it.
pub(crate) fn sealed(key: &MasterKey, step: Step, at: Timestamp) -> Result<String, ControlError> {
    let text = serde_json::to_vec(&Timed { step, since: at }).map_err(|_| ControlError::Random)?;
    let sealed = seal(key, PURPOSE, &text).map_err(|_| Invalid::Unsealable)?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// What it was, and when it was begun; `None`: not ours, or too long ago.
pub(crate) fn opened(key: &MasterKey, text: &str, at: Timestamp) -> Option<(Step, Timestamp)> {
    if text.len() > MOST {
        return None;
    }
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let Timed { step, since } = serde_json::from_slice(&open(key, PURPOSE, &sealed).ok()?).ok()?;
    (since <= at && at.since(since) <= STEP_TIME).then_some((step, since))
}

#[cfg(test)]
mod tests {
    use moorgate_keys::StoreKey;

    use super::*;

    #[test]
    fn only_what_we_made_lately_is_gone_on_with() {
        let (ours, other) = (StoreKey::random().unwrap(), StoreKey::random().unwrap());
        let step = Step::Show { challenge: vec![7; 32] };
        let at = Timestamp(1_800_000_000_000_000);
        let end = at.after(STEP_TIME);
        let text = sealed(ours.key(), step.clone(), at).unwrap();
        assert!(opened(ours.key(), &text, end) == Some((step, at)));
        assert!(opened(ours.key(), &text, Timestamp(end.0 + 1)).is_none());
        assert!(opened(ours.key(), &text, Timestamp(at.0 - 1)).is_none());
        assert!(opened(other.key(), &text, at).is_none());
        assert!(opened(ours.key(), &text[1..], at).is_none());
        assert!(opened(ours.key(), "", at).is_none() && opened(ours.key(), &"A".repeat(10_000), at).is_none());
    }
}
