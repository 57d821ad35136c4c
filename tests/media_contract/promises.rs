//! The promises, each a test of one store.

use bytes::Bytes;
use faktor::outbound::media::{MediaError, StoredObject};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::Subject;

/// SHA-256 of "abc", from FIPS 180-2.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const NAME: &str = "inv_00000000000000000000000000000007/document-1.pdf";

fn abc() -> Bytes {
    Bytes::from_static(b"abc")
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes of every value in no simple order, line ends and zeros among them.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 7_u32;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(length).collect()
}

fn missing(name: &str) -> MediaError {
    MediaError::Missing {
        name: name.to_owned(),
    }
}

fn damaged(name: &str) -> MediaError {
    MediaError::Damaged {
        name: name.to_owned(),
    }
}

pub(crate) async fn an_object_reads_back_with_its_checksum_also_after_a_restart(
    subject: &impl Subject,
) {
    let stored = subject.media().await.put(NAME, abc()).await.unwrap();
    let expected = StoredObject {
        sha256: ABC.to_owned(),
        bytes: 3,
    };
    assert_eq!(stored, expected);
    assert_eq!(subject.media().await.get(NAME, ABC).await.unwrap(), "abc");
}

pub(crate) async fn a_repeat_of_a_put_changes_nothing_and_leaves_one_object(
    subject: &impl Subject,
) {
    let media = subject.media().await;
    let first = media.put(NAME, abc()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(media.put(NAME, abc()).await.unwrap(), first);
    }
    assert_eq!(media.get(NAME, ABC).await.unwrap(), "abc");
    assert_eq!(subject.objects().await, 1);
}

pub(crate) async fn a_replaced_object_is_the_new_one_and_no_longer_the_old_one(
    subject: &impl Subject,
) {
    let media = subject.media().await;
    media.put(NAME, abc()).await.unwrap();
    let new = media.put(NAME, noise(300_000)).await.unwrap();
    assert_eq!(
        media.get(NAME, &new.sha256).await.unwrap(),
        noise(300_000),
        "the new one"
    );
    assert_eq!(media.get(NAME, ABC).await, Err(damaged(NAME)));
    assert_eq!(subject.objects().await, 1);
}

pub(crate) async fn a_reader_never_misses_an_object_that_is_being_replaced(subject: &impl Subject) {
    let versions = [noise(300_000), noise(10)];
    let checksums = versions.clone().map(|bytes| sha256(&bytes));
    let media = subject.media().await;
    media.put(NAME, versions[1].clone()).await.unwrap();
    let writer = tokio::spawn({
        let media = media.clone();
        async move {
            for n in 0..12 {
                media.put(NAME, versions[n % 2].clone()).await.unwrap();
            }
        }
    });
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        for checksum in &checksums {
            match media.get(NAME, checksum).await {
                Ok(bytes) => assert_eq!(&sha256(&bytes), checksum),
                // The other one is there at this moment.
                Err(error) => assert_eq!(error, damaged(NAME)),
            }
            reads += 1;
        }
    }
    writer.await.unwrap();
    assert!(media.get(NAME, &checksums[1]).await.is_ok(), "the last one");
}

pub(crate) async fn a_damaged_object_is_never_handed_out_and_a_repeat_of_its_put_heals_it(
    subject: &impl Subject,
) {
    let media = subject.media().await;
    media.put(NAME, abc()).await.unwrap();
    subject.damage(NAME).await;
    assert_eq!(media.get(NAME, ABC).await, Err(damaged(NAME)));
    media.put(NAME, abc()).await.unwrap();
    assert_eq!(media.get(NAME, ABC).await.unwrap(), "abc");
    assert_eq!(subject.objects().await, 1);
}

pub(crate) async fn a_missing_object_is_told_from_a_damaged_one(subject: &impl Subject) {
    let media = subject.media().await;
    assert_eq!(media.get(NAME, ABC).await, Err(missing(NAME)));
    media.put(NAME, abc()).await.unwrap();
    assert_eq!(media.get("a/b.pdf", ABC).await, Err(missing("a/b.pdf")));
    assert_eq!(media.get(NAME, &sha256(b"")).await, Err(damaged(NAME)));
}

pub(crate) async fn names_that_are_alike_are_different_objects(subject: &impl Subject) {
    let media = subject.media().await;
    let names = [
        "inv_7/document-1.pdf",
        "inv_7/document-1.csv",
        "inv_7/document-11.pdf",
        "inv_70/document-1.pdf",
        "invoice-7/document-1.pdf",
        "other/inv_7/document-1.pdf",
        "document-1.pdf",
    ];
    for name in names {
        media.put(name, Bytes::from(name)).await.unwrap();
    }
    assert_eq!(subject.objects().await, names.len());
    for name in names {
        let read = media.get(name, &sha256(name.as_bytes())).await;
        assert_eq!(read.unwrap(), name);
    }
}

pub(crate) async fn no_name_leads_anywhere_else(subject: &impl Subject) {
    let media = subject.media().await;
    let long = "x".repeat(201);
    for name in [
        "", ".", "..", "../a", "a/../b", "a/..", "/a", "a//b", "a/", ".hidden", "a/.b", "A", "a b",
        "a\\b", "a\0b", "a\nb", "ä", "a..b", "a?b", "a&b", "a#b", "a%2fb", &long,
    ] {
        let put = media.put(name, abc()).await;
        assert!(
            matches!(put, Err(MediaError::InvalidName { .. })),
            "{name:?}: {put:?}"
        );
        let get = media.get(name, ABC).await;
        assert!(
            matches!(get, Err(MediaError::InvalidName { .. })),
            "{name:?}: {get:?}"
        );
    }
    assert_eq!(subject.objects().await, 0);
    let longest = "x".repeat(200);
    media.put(&longest, abc()).await.unwrap();
    assert_eq!(media.get(&longest, ABC).await.unwrap(), "abc");
}

pub(crate) async fn five_mebibytes_come_back_byte_for_byte(subject: &impl Subject) {
    let media = subject.media().await;
    let bytes = noise(5 * 1024 * 1024);
    let stored = media.put(NAME, bytes.clone()).await.unwrap();
    assert_eq!(stored.bytes, 5 * 1024 * 1024);
    assert_eq!(stored.sha256, sha256(&bytes));
    let read = media.get(NAME, &stored.sha256).await.unwrap();
    assert!(read == bytes, "other bytes");
}

pub(crate) async fn an_empty_object_is_kept_or_refused_but_never_lost<S: Subject>(subject: &S) {
    let media = subject.media().await;
    let put = media.put(NAME, Bytes::new()).await;
    if S::TAKES_EMPTY_OBJECTS {
        assert_eq!(put.unwrap().bytes, 0);
        assert_eq!(media.get(NAME, &sha256(b"")).await.unwrap(), "");
    } else {
        assert!(
            matches!(put, Err(MediaError::Unavailable { .. })),
            "{put:?}"
        );
        assert_eq!(media.get(NAME, &sha256(b"")).await, Err(missing(NAME)));
    }
}

pub(crate) async fn an_object_too_large_to_be_read_back_is_not_taken(subject: &impl Subject) {
    let bytes = Bytes::from(vec![0; 64 * 1024 * 1024 + 1]);
    let put = subject.media().await.put(NAME, bytes).await;
    assert!(matches!(put, Err(MediaError::TooLarge { .. })), "{put:?}");
    assert_eq!(subject.objects().await, 0);
}

pub(crate) async fn many_writers_of_one_name_leave_whole_objects(subject: &impl Subject) {
    let media = subject.media().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_u8 {
        let media = media.clone();
        writers.spawn(async move {
            let bytes = Bytes::from(vec![writer; 300_000]);
            media.put(NAME, bytes).await.unwrap().sha256
        });
    }
    let mut whole = 0;
    for checksum in writers.join_all().await {
        match media.get(NAME, &checksum).await {
            Ok(_) => whole += 1,
            Err(error) => assert_eq!(error, damaged(NAME)),
        }
    }
    assert_eq!(whole, subject.objects().await);
    assert!(whole >= 1);
    media.put(NAME, abc()).await.unwrap();
    assert_eq!(media.get(NAME, ABC).await.unwrap(), "abc");
    assert_eq!(subject.objects().await, 1, "the next put tidies up");
}

pub(crate) async fn a_store_that_is_there_says_so(subject: &impl Subject) {
    let media = subject.media().await;
    assert_eq!(media.open().await, Ok(()));
    assert_eq!(media.ping().await, Ok(()));
}
