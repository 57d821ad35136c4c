//! Bank details: IBAN (ISO 13616) and BIC (ISO 9362).

use super::countries::is_country;

/// Whether the text is an IBAN without spaces whose check digits fit (ISO 7064 MOD 97-10).
pub(super) fn is_iban(iban: &str) -> bool {
    let bytes = iban.as_bytes();
    let shaped = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes[4..]
            .iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    shaped && checksum(bytes) == 1
}

/// The number that the characters spell (A is 10), the first four moved to the end, modulo 97.
fn checksum(iban: &[u8]) -> u32 {
    iban[4..].iter().chain(&iban[..4]).fold(0, |rest, &byte| {
        if byte.is_ascii_digit() {
            (rest * 10 + u32::from(byte - b'0')) % 97
        } else {
            (rest * 100 + u32::from(byte - b'A') + 10) % 97
        }
    })
}

/// Whether the text has the shape of a BIC: bank, country, place, and perhaps branch.
pub(super) fn is_bic(bic: &str) -> bool {
    let bytes = bic.as_bytes();
    let letter_or_digit = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    matches!(bytes.len(), 8 | 11)
        && bytes[..4].iter().all(letter_or_digit)
        // Kosovo has a code of its own outside ISO 3166.
        && bic.get(4..6).is_some_and(|country| is_country(country) || country == "XK")
        && bytes[6..].iter().all(letter_or_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iban_needs_fitting_check_digits() {
        for iban in [
            "DE89370400440532013000",
            "GB82WEST12345698765432",
            "NO9386011117947",
        ] {
            assert!(is_iban(iban), "{iban}");
        }
        for iban in [
            "DE88370400440532013000",
            "DE89370400440532013001",
            "DE89 3704 0044 0532 0130 00",
            "de89370400440532013000",
            "DE89",
            "",
            "ÄE89370400440532013000",
        ] {
            assert!(!is_iban(iban), "{iban}");
        }
    }

    #[test]
    fn a_bic_has_eight_or_eleven_characters() {
        assert!(is_bic("COBADEFF") && is_bic("COBADEFFXXX"));
        for bic in ["COBADEFFX", "COBAZZFF", "cobadeff", "", "COBÄDEFF"] {
            assert!(!is_bic(bic), "{bic}");
        }
    }
}
