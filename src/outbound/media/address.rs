//! Reads the address of a media store: `scheme://user:password@host/path?option=value`.

use std::collections::BTreeMap;

use reqwest::Url;

use super::MediaError;

/// The parts of an address, percent-decoded. Not printable: it holds secrets.
#[derive(Default)]
pub(super) struct Address {
    pub(super) host: String,
    /// Without slashes around it.
    pub(super) path: String,
    pub(super) user: String,
    pub(super) password: String,
    options: BTreeMap<String, String>,
}

impl Address {
    /// Reads an address whose options are among `known`. No error repeats a value.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self, MediaError> {
        let url = Url::parse(text).map_err(|error| MediaError::address(error.to_string()))?;
        let mut address = Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            path: decoded("the path", url.path().trim_matches('/'))?,
            user: decoded("the user", url.username())?,
            password: decoded("the password", url.password().unwrap_or_default())?,
            options: BTreeMap::new(),
        };
        let options = url.query().unwrap_or_default().split('&');
        for option in options.filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if !known.contains(&name) {
                let known = known.join(", ");
                let reason = format!("it has an option that is none of {known}");
                return Err(MediaError::address(reason));
            }
            address
                .options
                .insert(name.to_owned(), decoded(name, value)?);
        }
        Ok(address)
    }

    /// An option's value; an empty one is none.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let value = self.options.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// An option that is the address of an HTTP server, without a slash at its end.
    pub(super) fn server(&self, name: &str) -> Result<Option<&str>, MediaError> {
        let Some(text) = self.option(name) else {
            return Ok(None);
        };
        let plain = Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !plain {
            let reason = format!(
                "its option {name} must be a web address such as https://media.example.com, \
                 without user, password or ?"
            );
            return Err(MediaError::address(reason));
        }
        Ok(Some(text.trim_end_matches('/')))
    }
}

/// Undoes percent-encoding. A `+` stays one: secret keys have it, and nobody writes a form here.
fn decoded(what: &str, text: &str) -> Result<String, MediaError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        match escaped.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &after[2..];
            }
            None if first == b'%' => return Err(badly_encoded(what)),
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| badly_encoded(what))
}

fn badly_encoded(what: &str) -> MediaError {
    MediaError::address(format!("{what} has a % that is no percent-encoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_as_it_is_or_percent_encoded() {
        let parse = |text: &str| Address::parse(text, &["secret"]).ok();
        for text in ["s3://b/p?secret=a/b+c=", "s3://b/p/?secret=a%2Fb%2bc%3D"] {
            let address = parse(text).unwrap();
            assert_eq!(address.option("secret"), Some("a/b+c="), "{text}");
            assert_eq!((address.host.as_str(), address.path.as_str()), ("b", "p"));
        }
        let address = parse("cloudinary://key:s%40c@Cloud").unwrap();
        assert_eq!(address.user, "key");
        assert_eq!(address.password, "s@c");
        assert_eq!(address.host, "Cloud");
    }

    #[test]
    fn a_mistake_is_named_without_repeating_a_value() {
        for (text, named) in [
            ("s3://b?secrte=hunter2", "none of secret"),
            ("s3://b?secret=hunter2%", "secret has a %"),
            ("s3://b?secret=%ffhunter2", "secret has a %"),
            ("cloudinary://key:%zzhunter2@cloud", "the password has a %"),
        ] {
            let error = Address::parse(text, &["secret"]).err().unwrap().to_string();
            assert!(error.contains(named), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_server_is_a_plain_web_address() {
        let server = |value: &str| {
            let address = Address::parse(&format!("s3://b?at={value}"), &["at"]).ok();
            address.map(|address| address.server("at").map(|found| found.map(str::to_owned)))
        };
        assert_eq!(
            server("http://h:9000/"),
            Some(Ok(Some("http://h:9000".to_owned())))
        );
        assert_eq!(server(""), Some(Ok(None)));
        for wrong in ["h:9000", "ftp://h", "http://u:p@h", "http://h?x=1"] {
            assert!(matches!(server(wrong), Some(Err(_))), "{wrong}");
        }
    }
}
