//! `ETag`, `If-Match` and `If-None-Match`: a resource's tag is its version.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::ApiError;

/// `"7"`.
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// What `If-Match` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Not given, or `*`: any version will do.
    Any,
    /// One of these versions; tags that can't be versions match none.
    Versions(Vec<u64>),
}

impl IfMatch {
    /// 412 unless `current` is asked for.
    pub fn check(&self, current: u64) -> Result<(), ApiError> {
        match self {
            Self::Any => Ok(()),
            Self::Versions(versions) if versions.contains(&current) => Ok(()),
            Self::Versions(_) => Err(ApiError::version_mismatch(current)),
        }
    }

    /// The one version asked for, when it is exactly one.
    pub fn single(&self) -> Option<u64> {
        match self {
            Self::Versions(versions) => <[u64; 1]>::try_from(versions.as_slice()).ok().map(|[v]| v),
            Self::Any => None,
        }
    }
}

/// The tags of a header, weak ones marked; `None` for `*`.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<(bool, String)>>, ApiError> {
    let malformed = || {
        ApiError::malformed(
            "invalid_header",
            format!("{name} takes entity tags such as \"7\", or *"),
        )
        .param(name.as_str())
    };
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| malformed())?;
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let (weak, quoted) = match tag.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, tag),
            };
            let inner = quoted
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .ok_or_else(malformed)?;
            tags.push((weak, inner.to_owned()));
        }
    }
    Ok(Some(tags))
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(Self::Any);
        }
        Ok(match tags(&parts.headers, &header::IF_MATCH)? {
            None => Self::Any,
            // RFC 9110 13.1.1: If-Match compares strongly, so a weak tag matches nothing.
            Some(tags) => Self::Versions(
                tags.iter()
                    .filter(|(weak, _)| !weak)
                    .filter_map(|(_, tag)| tag.parse().ok())
                    .collect(),
            ),
        })
    }
}

/// What `If-None-Match` has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneMatch(Option<HeaderValue>);

impl IfNoneMatch {
    /// Whether the caller has `tag` (with its quotes) already: answer 304.
    pub fn has(&self, tag: &HeaderValue) -> bool {
        let (Some(given), Ok(tag)) = (&self.0, tag.to_str()) else {
            return false;
        };
        given.to_str().is_ok_and(|given| {
            given.split(',').map(str::trim).any(|candidate| {
                candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
            })
        })
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.get(header::IF_NONE_MATCH).cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    async fn if_match(value: &str) -> Result<IfMatch, u16> {
        let request = Request::builder()
            .header("if-match", value)
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        IfMatch::from_request_parts(&mut parts, &())
            .await
            .map_err(|error| error.status().as_u16())
    }

    #[tokio::test]
    async fn if_match_names_versions_or_anything() {
        assert_eq!(if_match("\"7\"").await, Ok(IfMatch::Versions(vec![7])));
        assert_eq!(
            if_match("\"7\", \"9\"").await,
            Ok(IfMatch::Versions(vec![7, 9]))
        );
        assert_eq!(if_match("*").await, Ok(IfMatch::Any));
        assert_eq!(if_match("W/\"7\"").await, Ok(IfMatch::Versions(vec![])));
        assert_eq!(if_match("\"abc\"").await, Ok(IfMatch::Versions(vec![])));
        assert_eq!(if_match("7").await, Err(400));
        assert!(IfMatch::Versions(vec![7]).check(8).is_err());
        assert!(IfMatch::Versions(vec![7, 8]).check(8).is_ok());
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let has =
            |given: &'static str| IfNoneMatch(Some(HeaderValue::from_static(given))).has(&etag(7));
        assert!(has("\"7\"") && has("W/\"7\"") && has("\"6\", \"7\"") && has("*"));
        assert!(!has("\"8\""));
        assert!(!IfNoneMatch(None).has(&etag(7)));
    }
}
