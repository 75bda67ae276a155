//! Codes of an authenticator app: six digits of every half minute (RFC 6238, with what every app can do).

use moorgate_contract::time::Timestamp;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::error::ControlError;

/// 160 bits, as RFC 4226 §4 recommends.
const SECRET_BYTES: usize = 20;
/// Steps that a clock may be off, each way (RFC 6238 §5.2).
const SKEW: u16 = 1;

pub(crate) fn random_secret() -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
    getrandom::fill(&mut secret).map_err(|_| ControlError::Random)?;
    Ok(secret)
}

/// The step of this code; `None`: it is none of now.
pub(crate) fn step_of(secret: &[u8], code: &str, at: Timestamp) -> Option<u64> {
    let digits: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    totp(secret, "")?.check(&digits, at.seconds())
}

/// The `otpauth://` link that an app takes, as a QR code, and the secret for whoever types.
pub(crate) fn link(secret: &[u8], email: &str) -> Option<(String, String)> {
    let totp = totp(secret, email)?;
    Some((totp.to_url().ok()?, Secret::from(secret).to_base32()))
}

fn totp(secret: &[u8], email: &str) -> Option<Totp> {
    let issuer = (!email.is_empty()).then_some("Moorgate");
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30).with_skew(SKEW);
    // A colon would end the issuer's part of the label.
    builder.with_secret(secret).with_account_name(email.replace(':', "")).with_issuer(issuer).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238 appendix B, SHA-1, the last six of eight digits.
        let secret = b"12345678901234567890";
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            let at = |second: u64| Timestamp(second * 1_000_000);
            assert_eq!(step_of(secret, code, at(second)), Some(second / 30));
            assert_eq!(step_of(secret, &format!("{} {}", &code[..3], &code[3..]), at(second)), Some(second / 30));
            assert_eq!(step_of(secret, code, at(second + 30)), Some(second / 30), "a slow clock");
            assert_eq!(step_of(secret, code, at(second + 90)), None);
        }
        for code in ["", "28708", "2870822", "28708a", "+28708"] {
            assert_eq!(step_of(secret, code, Timestamp(59_000_000)), None, "{code:?}");
        }
    }

    #[test]
    fn a_link_names_who_and_where() {
        let (link, typed) = link(b"12345678901234567890", "ann@example.com").unwrap();
        assert!(
            link.starts_with("otpauth://totp/Moorgate:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{link}"
        );
        assert!(link.contains("issuer=Moorgate"));
        assert_eq!(typed, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
