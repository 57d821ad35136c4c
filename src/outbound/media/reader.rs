//! An object on its way out of a store.

use std::collections::VecDeque;
use std::fmt;

use bytes::BytesMut;
use futures_util::stream::{BoxStream, Stream, StreamExt, try_unfold};
use sha2::{Digest, Sha256};
use tokio::time::{Duration, Instant};

use super::{Bytes, MAX_OBJECT_BYTES, MediaError, within};

/// The end of an object that is held back until its checksum is known to be right. An object of this
/// size is checked before its first byte is handed out, and of none is the last byte handed out that is
/// not what was stored.
const HELD_BACK_BYTES: usize = 256 * 1024;

/// The parts of an object in their order, as a store brings them.
pub(super) type Parts = BoxStream<'static, Result<Bytes, MediaError>>;

/// An object that is read part by part and compared with its checksum on the way. In memory are the
/// bytes that are held back and two parts of the store's, however large the object is and however
/// slowly it is taken; what nobody takes is not read.
pub struct ObjectReader {
    name: String,
    expected_sha256: String,
    /// None: the object's end was reached, or it can't be.
    parts: Option<Parts>,
    patience: Duration,
    seen: Sha256,
    seen_bytes: usize,
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectReader({})", self.name)
    }
}

impl ObjectReader {
    /// Reads until the first bytes may be handed out. `patience` is for each wait for the store.
    pub(super) async fn open(
        name: &str,
        expected_sha256: &str,
        parts: Parts,
        patience: Duration,
    ) -> Result<Self, MediaError> {
        let mut reader = Self {
            name: name.to_owned(),
            expected_sha256: expected_sha256.to_owned(),
            parts: Some(parts),
            patience,
            seen: Sha256::new(),
            seen_bytes: 0,
            held: VecDeque::new(),
            held_bytes: 0,
        };
        reader.read_ahead(Instant::now() + patience).await?;
        Ok(reader)
    }

    /// The next part; none after the last one, or after an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, MediaError> {
        self.read_ahead(Instant::now() + self.patience).await?;
        let part = self.held.pop_front();
        self.held_bytes -= part.as_ref().map_or(0, Bytes::len);
        Ok(part)
    }

    /// The whole object.
    pub async fn whole(mut self) -> Result<Bytes, MediaError> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut object = BytesMut::from(first);
        object.extend_from_slice(&second);
        while let Some(part) = self.next().await? {
            object.extend_from_slice(&part);
        }
        Ok(object.freeze())
    }

    /// The parts; the last item is an error if there is one.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, MediaError>> + Send + 'static {
        try_unfold(self, |mut reader| async {
            let part = reader.next().await?;
            Ok(part.map(|part| (part, reader)))
        })
    }

    /// Reads until what is held back allows the first part of it to go, or the object has ended as it
    /// should. Nothing is handed out after an error.
    async fn read_ahead(&mut self, deadline: Instant) -> Result<(), MediaError> {
        let filled = self.fill(deadline).await;
        if filled.is_err() {
            self.parts = None;
            self.held.clear();
            self.held_bytes = 0;
        }
        filled
    }

    async fn fill(&mut self, deadline: Instant) -> Result<(), MediaError> {
        while let Some(parts) = &mut self.parts {
            let next = self.held.front().map_or(usize::MAX, Bytes::len);
            if self.held_bytes.saturating_sub(next) >= HELD_BACK_BYTES {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let part = within(left, async { parts.next().await.transpose() });
            if let Some(part) = part.await? {
                self.hold(part)?;
            } else {
                self.check()?;
                self.parts = None;
            }
        }
        Ok(())
    }

    fn hold(&mut self, part: Bytes) -> Result<(), MediaError> {
        self.seen_bytes += part.len();
        if self.seen_bytes > MAX_OBJECT_BYTES {
            return Err(MediaError::damaged(&self.name));
        }
        self.seen.update(&part);
        self.held_bytes += part.len();
        // A reader that gets an empty part might take it for the end.
        if !part.is_empty() {
            self.held.push_back(part);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), MediaError> {
        let seen = hex::encode(self.seen.finalize_reset());
        if seen == self.expected_sha256 {
            Ok(())
        } else {
            Err(MediaError::damaged(&self.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const PART_BYTES: usize = 64 * 1024;

    /// `count` parts, each of another byte, and how many of them have been read.
    fn parts(count: usize) -> (Parts, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let parts = stream::iter(0..count).map(move |number| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(part(number))
        });
        (parts.boxed(), read)
    }

    fn part(number: usize) -> Bytes {
        Bytes::from(vec![u8::try_from(number % 256).unwrap(); PART_BYTES])
    }

    fn sha256(count: usize) -> String {
        let whole = (0..count).fold(Sha256::new(), |seen, number| {
            seen.chain_update(part(number))
        });
        hex::encode(whole.finalize())
    }

    async fn open(parts: Parts, sha256: &str) -> Result<ObjectReader, MediaError> {
        ObjectReader::open("a.pdf", sha256, parts, PATIENCE).await
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_held_back() {
        let (parts, read) = parts(200);
        let mut reader = open(parts, &sha256(200)).await.unwrap();
        let ahead = HELD_BACK_BYTES / PART_BYTES + 1;
        assert_eq!(read.load(Ordering::Relaxed), ahead);
        for number in 0..200 {
            assert_eq!(reader.next().await.unwrap().unwrap(), part(number));
            let read = read.load(Ordering::Relaxed);
            assert!(read <= number + ahead, "{read} after {number}");
        }
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_damaged_object_of_a_few_parts_is_known_before_the_first_goes_out() {
        let opened = open(parts(4).0, &sha256(5)).await;
        assert_eq!(opened.unwrap_err(), MediaError::damaged("a.pdf"));
    }

    #[tokio::test]
    async fn of_a_larger_one_that_is_damaged_the_end_is_never_handed_out() {
        let mut reader = open(parts(20).0, &sha256(21)).await.unwrap();
        let mut bytes = 0;
        let error = loop {
            match reader.next().await {
                Ok(part) => bytes += part.expect("no end").len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error, MediaError::damaged("a.pdf"));
        assert_eq!(bytes, 20 * PART_BYTES - HELD_BACK_BYTES);
        assert_eq!(reader.next().await, Ok(None), "and nothing after it");
    }

    #[tokio::test]
    async fn an_object_larger_than_any_stored_is_read_no_further() {
        let (parts, read) = parts(usize::MAX);
        let mut reader = open(parts, "").await.unwrap();
        let ahead = read.load(Ordering::Relaxed);
        reader.seen_bytes = MAX_OBJECT_BYTES - PART_BYTES;
        for number in 0..2 {
            assert_eq!(reader.next().await.unwrap().unwrap(), part(number));
        }
        assert_eq!(reader.next().await, Err(MediaError::damaged("a.pdf")));
        assert_eq!(read.load(Ordering::Relaxed), ahead + 2);
    }

    #[tokio::test]
    async fn empty_parts_are_no_end() {
        let parts = [&b""[..], b"a", b"", b"bc", b""].map(|part| Ok(Bytes::from_static(part)));
        let sha256 = hex::encode(Sha256::digest("abc"));
        let reader = open(stream::iter(parts).boxed(), &sha256).await.unwrap();
        let read: Vec<_> = reader.into_stream().collect().await;
        assert_eq!(read, [Ok(Bytes::from("a")), Ok(Bytes::from("bc"))]);
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_is_waited_for_no_longer_than_the_limit() {
        let silent = stream::iter([Ok(part(0))]).chain(stream::pending());
        let patience = Duration::from_millis(20);
        let opened = ObjectReader::open("a.pdf", "", silent.boxed(), patience).await;
        let error = opened.unwrap_err();
        assert!(matches!(error, MediaError::Unavailable { .. }), "{error}");
    }
}
