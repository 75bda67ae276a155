//! Values of header fields that origins get: an app's secrets, often. Sealed in what is stored, open in what is served.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_contract::route::{HeaderField, RouteSettings};
use moorgate_keys::{MasterKey, SealError, open, seal};
use thiserror::Error;

use crate::book::RouteRow;

/// What they are sealed for.
const PURPOSE: &str = "header value";
/// Stands before a value that is sealed. No value that was given begins with it: it is a control character.
const MARK: char = '\u{1}';

/// Why a value can't be opened.
#[derive(Debug, Error)]
pub(crate) enum UnopenedHeader {
    #[error("is not sealed as such values are")]
    Text,
    #[error("is {0}")]
    Seal(#[from] SealError),
}

/// The values as origins get them. Those stored by a version that did not seal them are open already.
///
/// # Errors
/// The name of the first field whose value can't be opened, and why.
pub(crate) fn open_values(key: &MasterKey, settings: &mut RouteSettings) -> Result<(), (String, UnopenedHeader)> {
    for field in &mut settings.actions.request_headers.set {
        if let Some(sealed) = field.value.strip_prefix(MARK) {
            field.value = opened(key, sealed).map_err(|problem| (field.name.clone(), problem))?;
        }
    }
    Ok(())
}

fn opened(key: &MasterKey, sealed: &str) -> Result<String, UnopenedHeader> {
    let sealed = STANDARD.decode(sealed).map_err(|_| UnopenedHeader::Text)?;
    let value = open(key, PURPOSE, &sealed)?;
    String::from_utf8(value.to_vec()).map_err(|_| UnopenedHeader::Text)
}

/// The values as they are stored. One that is sealed already stays so. One that is as it was in `before` (open) stays as it is `stored`: an equal route is equal
/// in its row.
///
/// # Errors
/// [`SealError`].
pub(crate) fn seal_values(
    key: &MasterKey,
    settings: &mut RouteSettings,
    before: &[HeaderField],
    stored: &[HeaderField],
) -> Result<(), SealError> {
    for field in settings.actions.request_headers.set.iter_mut().filter(|field| !is_sealed(field)) {
        let known = before.iter().zip(stored).find(|(before, stored)| *before == field && is_sealed(stored));
        field.value = match known {
            Some((_, stored)) => stored.value.clone(),
            None => format!("{MARK}{}", STANDARD.encode(seal(key, PURPOSE, field.value.as_bytes())?)),
        };
    }
    Ok(())
}

/// Whether a value is stored sealed.
pub(crate) fn is_sealed(field: &HeaderField) -> bool {
    field.value.starts_with(MARK)
}

/// Whether a row has values that are not sealed.
pub(crate) fn has_open_values(row: &RouteRow) -> bool {
    // Most rows have none, and need not be read.
    row.settings.contains("request_headers")
        && super::settings(row).is_ok_and(|settings| !settings.actions.request_headers.set.iter().all(is_sealed))
}
