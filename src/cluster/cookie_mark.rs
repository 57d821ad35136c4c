//! What a node shows of its cookie in the book, so that one with another cookie, which nobody could
//! link to, does not come to own anything.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// So few that whoever reads the book learns next to nothing of the cookie; a wrong cookie is noticed
/// all the same, but for one in 65,536.
const BYTES: usize = 2;

/// Of a cookie, and of whether links are made by TLS: both ends of a link need the same.
pub(super) fn cookie_mark(cookie: &Secret, has_tls: bool) -> String {
    let purpose: &[u8] = if has_tls {
        b"faktor cluster, by TLS"
    } else {
        b"faktor cluster"
    };
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(cookie.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(purpose);
    hex::encode(&mac.finalize().into_bytes()[..BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(cookie: &str, has_tls: bool) -> String {
        cookie_mark(&Secret::new(cookie.to_owned()), has_tls)
    }

    #[test]
    fn the_mark_never_changes_between_versions() {
        assert_eq!(mark("a cookie", false), "832a");
    }

    #[test]
    fn what_can_not_be_linked_has_another_mark() {
        assert_ne!(mark("a cookie", false), mark("another cookie", false));
        assert_ne!(mark("a cookie", false), mark("a cookie", true));
    }
}
