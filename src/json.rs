//! Writing JSON without growing a buffer each time.

use std::cell::RefCell;

use serde::Serialize;

/// What a thread's buffer may keep; larger ones are given back after use.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes `value` into the thread's buffer and hands its bytes to `take`, which copies them at their
/// right size: one allocation, where growing from empty costs one for each doubling.
pub(crate) fn written<T: Serialize + ?Sized, R>(
    value: &T,
    take: impl FnOnce(&[u8]) -> R,
) -> serde_json::Result<R> {
    BUFFER.with(|buffer| {
        // A value that writes JSON while it is being written gets a buffer of its own.
        let Ok(mut buffer) = buffer.try_borrow_mut() else {
            return serde_json::to_vec(value).map(|bytes| take(&bytes));
        };
        buffer.clear();
        serde_json::to_writer(&mut *buffer, value)?;
        let result = take(&buffer);
        buffer.shrink_to(KEPT_BYTES);
        Ok(result)
    })
}

#[cfg(test)]
mod tests {
    use serde::Serializer;

    use super::*;

    #[test]
    fn what_is_written_is_what_serde_json_writes() {
        let value = serde_json::json!({"a": [1, "zwölf", null]});
        let bytes = written(&value, <[u8]>::to_vec).unwrap();
        assert_eq!(bytes, serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn writing_within_writing_works() {
        struct Nested;
        impl Serialize for Nested {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let inner = written(&[1, 2], |bytes| String::from_utf8_lossy(bytes).into_owned());
                serializer.serialize_str(&inner.map_err(serde::ser::Error::custom)?)
            }
        }
        let text = written(&[Nested], |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        });
        assert_eq!(text.unwrap(), r#"["[1,2]"]"#);
    }

    #[test]
    fn an_error_leaves_nothing_behind_for_the_next() {
        let bad = std::collections::BTreeMap::from([(vec![1_u8], 1)]);
        assert!(written(&bad, |_| ()).is_err());
        assert_eq!(written(&7, <[u8]>::to_vec).unwrap(), b"7");
    }
}
