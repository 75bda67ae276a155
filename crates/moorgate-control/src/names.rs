//! What an account may be called.

use moorgate_contract::route::Domain;
use moorgate_wire::name::DomainName;

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

/// Whether anybody may have names directly below this one, such as `co.uk` (publicsuffix.org).
pub fn is_public_suffix(name: &DomainName) -> bool {
    let name = name.as_str().as_bytes();
    psl::suffix(name).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name)
}

/// Checks that a new route's domain may be somebody's.
pub(crate) fn check_domain(domain: &Domain, zone: Option<&DomainName>) -> Result<(), Invalid> {
    let key = domain.key();
    if is_public_suffix(key) {
        return Err(Invalid::PublicSuffix { domain: key.to_string() });
    }
    match zone.filter(|zone| key == *zone || key.as_str().ends_with(&format!(".{zone}"))) {
        Some(zone) => Err(Invalid::InZone { domain: domain.to_string(), zone: zone.to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_one_that_somebody_may_have() {
        let zone = DomainName::parse("edge.example.com").unwrap();
        let check =
            |domain: &str| check_domain(&domain.parse().unwrap(), Some(&zone)).map_err(|error| error.to_string());
        for good in ["example.com", "*.example.com", "app.example.co.uk", "bank.test", "notedge.example.com"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["co.uk", "*.co.uk", "github.io"] {
            assert!(check(bad).unwrap_err().contains("is a public suffix"), "{bad}");
        }
        for bad in ["edge.example.com", "a.edge.example.com", "*.edge.example.com"] {
            assert!(check(bad).unwrap_err().contains("is in the zone edge.example.com"), "{bad}");
        }
        assert_eq!(check_domain(&"edge.example.com".parse().unwrap(), None), Ok(()));
    }

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
