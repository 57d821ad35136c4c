//! E-mail addresses: a strict subset of RFC 5321, so that none can carry a second address or header.

use super::super::super::limits;

/// Whether `address` is one bare address: a dot-atom, `@`, and a host name with a dot (or
/// `localhost`). Quoted local parts, comments, names and address literals are refused; international
/// domains are written in their ASCII form.
pub fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    address.len() <= limits::EMAIL_CHARS && is_local(local) && is_domain(domain)
}

fn is_local(local: &str) -> bool {
    local.len() <= 64
        && local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// RFC 5322 `atext`.
const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

fn is_domain(domain: &str) -> bool {
    let labels = domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    // A last label of digits only would be an IP address.
    let named = domain
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().any(|b| !b.is_ascii_digit()));
    labels && named && (domain.contains('.') || domain.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken() {
        for address in [
            "ap@ada.example",
            "a.b+tag@sub.ada.example",
            "o'neil@ada.example",
            "root@localhost",
            "x@xn--mller-kva.example",
            "a_b-c@1.ada.example",
        ] {
            assert!(is_email(address), "{address}");
        }
    }

    #[test]
    fn nothing_that_could_carry_a_second_address_or_a_header_is_taken() {
        for address in [
            "",
            "@",
            "a@",
            "@b.example",
            "a",
            "a@b",
            "a@@b.example",
            "a@b@c.example",
            "a@b.example\r\nBcc: x@evil.example",
            "a@b.example\n",
            "a b@c.example",
            "a@b .example",
            "a@b.example,c@d.example",
            "a@b.example;c@d.example",
            "<a@b.example>",
            "Ada <a@b.example>",
            "\"a\"@b.example",
            "a\0@b.example",
            "a\t@b.example",
            "(c)a@b.example",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            ".a@b.example",
            "a.@b.example",
            "a..b@c.example",
            "a@-b.example",
            "a@b-.example",
            "a@.example",
            "a@b.",
            "ä@b.example",
            "a@ä.example",
            "a:b@c.example",
            "a\\@b.example",
            "a@b.example\u{2028}",
        ] {
            assert!(!is_email(address), "{address:?}");
        }
    }

    #[test]
    fn the_length_is_bounded_on_both_sides() {
        let of_length = |length: usize| {
            let rest = format!("{}.{}.example", "b".repeat(63), "c".repeat(63));
            let first = "d".repeat(length - 64 - 1 - rest.len() - 1);
            format!("{}@{first}.{rest}", "a".repeat(64))
        };
        assert_eq!(of_length(254).len(), 254);
        assert!(is_email(&of_length(254)));
        assert!(!is_email(&of_length(255)));
        assert!(is_email(&format!("{}@b.example", "a".repeat(64))));
        assert!(!is_email(&format!("{}@b.example", "a".repeat(65))));
    }
}
