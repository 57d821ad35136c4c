//! The mail server's address as the configuration gives it.

use std::fmt;
use std::net::IpAddr;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;

const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS; a server without it gets nothing.
    StartTls,
    /// STARTTLS where the server has it. Protects from nobody who can change what is sent.
    Opportunistic,
    /// None.
    Plain,
}

/// `smtp://user:password@host:587?tls=…&ca=…`, read and checked.
#[derive(Clone)]
pub(super) struct Address {
    /// A name, or an IP address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    /// The password, to be kept out of what the server says.
    pub(super) password: String,
    /// A PEM file with further root certificates.
    pub(super) ca: Option<String>,
    /// How this node introduces itself; its host's name unless given.
    pub(super) client: ClientId,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({:?})", self.host, self.port, self.security)
    }
}

impl Address {
    /// The error is a sentence for the operator, and shows no part of the address.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(url).map_err(|error| format!("it is no URL: {error}"))?;
        let tls_first = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err("it begins with neither smtp:// nor smtps://".to_owned()),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("it has no host")?.trim_matches(['[', ']']);
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err("after the host and port only ?tls=, ?ca= and ?ehlo= may stand".to_owned());
        }
        let options = Options::read(&url)?;
        let security = match (tls_first, options.tls.as_deref()) {
            (true, None) => Security::Tls,
            (true, Some(_)) => return Err("smtps:// is TLS already; leave out ?tls=".to_owned()),
            (false, None | Some("required")) => Security::StartTls,
            (false, Some("opportunistic")) => Security::Opportunistic,
            (false, Some("none")) => Security::Plain,
            (false, Some(_)) => {
                return Err("?tls= is one of required, opportunistic, none".to_owned());
            }
        };
        let password = percent_decoded(url.password().unwrap_or_default())?;
        let user = percent_decoded(url.username())?;
        if user.is_empty() != password.is_empty() {
            return Err("it has a user without a password, or the other way round".to_owned());
        }
        let default_port = if tls_first {
            SUBMISSIONS_PORT
        } else {
            SUBMISSION_PORT
        };
        let address = Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(default_port),
            security,
            credentials: (!user.is_empty()).then(|| Credentials::new(user, password.clone())),
            password,
            ca: options.ca,
            client: options
                .ehlo
                .map_or_else(ClientId::default, ClientId::Domain),
        };
        if security == Security::Plain && !address.may_send_credentials(false) {
            return Err(
                "?tls=none would send the password in the clear; that is allowed to the \
                        local host only"
                    .to_owned(),
            );
        }
        Ok(address)
    }

    /// Whether there are none, or nobody on the way could read them.
    pub(super) fn may_send_credentials(&self, encrypted: bool) -> bool {
        let local = self.host == "localhost"
            || self
                .host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        self.credentials.is_none() || encrypted || local
    }
}

#[derive(Default)]
struct Options {
    tls: Option<String>,
    ca: Option<String>,
    ehlo: Option<String>,
}

impl Options {
    fn read(url: &reqwest::Url) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in url.query_pairs() {
            let place = match &*name {
                "tls" => &mut options.tls,
                "ca" => &mut options.ca,
                "ehlo" if is_host_name(&value) => &mut options.ehlo,
                "ehlo" => return Err("?ehlo= is not a host's name".to_owned()),
                _ => return Err("it has an option other than ?tls=, ?ca= and ?ehlo=".to_owned()),
            };
            if place.replace(value.into_owned()).is_some() {
                return Err("it has an option twice".to_owned());
            }
        }
        Ok(options)
    }
}

fn is_host_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || "the user or password has a % that is followed by no two hex digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2).ok_or_else(wrong)?;
            bytes.extend(hex::decode(digits).map_err(|_| wrong())?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let decoded = String::from_utf8(bytes).ok();
    let decoded = decoded.filter(|text| !text.chars().any(char::is_control));
    decoded.ok_or_else(|| "the user or password is not printable UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_protected_unless_it_says_otherwise() {
        for (url, port, security) in [
            ("smtp://mail.example", 587, Security::StartTls),
            ("smtp://mail.example:25/", 25, Security::StartTls),
            ("smtp://mail.example?tls=required", 587, Security::StartTls),
            (
                "smtp://mail.example?tls=opportunistic",
                587,
                Security::Opportunistic,
            ),
            ("smtp://mail.example:25?tls=none", 25, Security::Plain),
            ("smtps://mail.example", 465, Security::Tls),
            (
                "smtps://u:p@mail.example:4465?ca=%2Fetc%2Fca.pem",
                4465,
                Security::Tls,
            ),
        ] {
            let address = Address::parse(url).unwrap();
            let found = (&*address.host, address.port, address.security);
            assert_eq!(found, ("mail.example", port, security), "{url}");
        }
        assert_eq!(Address::parse("smtp://[::1]:25").unwrap().host, "::1");
    }

    #[test]
    fn user_and_password_are_percent_decoded_and_never_shown() {
        let address = Address::parse("smtp://ada%40x.example:p%2F%C3%A9%3a+@h").unwrap();
        assert_eq!(address.password, "p/é:+");
        let expected = Credentials::new("ada@x.example".to_owned(), "p/é:+".to_owned());
        assert_eq!(address.credentials, Some(expected));
        let shown = format!("{address:?}");
        assert!(!shown.contains("p/") && !shown.contains("ada"), "{shown}");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for url in [
            "http://h",
            "smtp://",
            "smtp://u:hidden@h?tls=maybe",
            "smtp://u:hidden@h?tsl=none",
            "smtp://u:hidden@h?ca=a&ca=b",
            "smtp://u:hidden@h/path",
            "smtp://u:hidden%zz@h",
            "smtp://u:hidden%4@h",
            "smtp://u:hidden%0d%0aQUIT@h",
            "smtp://:hidden@h",
            "smtp://u@h",
            "smtps://u:hidden@h?tls=none",
            "smtp://h?ehlo=a%0d%0ab",
            "smtp://u:hidden@h:99999",
        ] {
            let problem = Address::parse(url).map(|_| ()).unwrap_err();
            assert!(!problem.contains("hidden"), "{problem}");
        }
    }

    #[test]
    fn a_password_goes_in_the_clear_to_the_local_host_only() {
        for (url, allowed) in [
            ("smtp://u:p@mail.example:25?tls=none", false),
            ("smtp://u:p@10.0.0.1:25?tls=none", false),
            ("smtp://u:p@localhost.example:25?tls=none", false),
            ("smtp://mail.example:25?tls=none", true),
            ("smtp://u:p@localhost:25?tls=none", true),
            ("smtp://u:p@127.0.0.1:25?tls=none", true),
            ("smtp://u:p@[::1]:25?tls=none", true),
        ] {
            assert_eq!(Address::parse(url).is_ok(), allowed, "{url}");
        }
    }
}
