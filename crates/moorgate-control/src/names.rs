//! What an account may be called.

use crate::error::Invalid;

/// The longest name of an account, in bytes: it fits a DNS label.
pub const MAX_ACCOUNT_NAME: usize = 63;

/// Checks the name of a new account: `[a-z0-9][a-z0-9-]{0,62}`.
pub(crate) fn check_account_name(name: &str) -> Result<(), Invalid> {
    let bytes = name.as_bytes();
    let good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let starts_well = bytes.first().is_some_and(|first| *first != b'-');
    if starts_well && bytes.len() <= MAX_ACCOUNT_NAME && bytes.iter().all(good) {
        return Ok(());
    }
    Err(Invalid::AccountName { name: crate::error::short(name) })
}

/// Checks the name of a tier: as an account's.
pub(crate) fn check_tier_name(name: &str) -> Result<(), Invalid> {
    check_account_name(name).map_err(|_| Invalid::TierName { name: crate::error::short(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_name_is_one_that_fits_urls_and_shells() {
        for good in ["a", "acme", "0", "a-b-", &"x".repeat(63)] {
            assert!(check_account_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Acme", "a_b", "a.b", "a/b", "ä", "a\n", &"x".repeat(64)] {
            let error = check_account_name(bad).unwrap_err().to_string();
            assert!(error.contains("a-z") && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
