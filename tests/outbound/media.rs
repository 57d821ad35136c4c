//! Documents as files.

use bytes::Bytes;
use faktor::outbound::media::{FileMedia, Media, MediaError, StoredObject};

fn files(directory: &tempfile::TempDir) -> Media {
    Media::Files(FileMedia::new(directory.path()))
}

/// SHA-256 of "abc", from FIPS 180-2.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn an_object_reads_back_with_its_checksum_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let name = "inv_00000000000000000000000000000007/document-1.pdf";
    for _ in 0..2 {
        let stored = files(&directory)
            .put(name, Bytes::from_static(b"abc"))
            .await
            .unwrap();
        assert_eq!(
            stored,
            StoredObject {
                sha256: ABC.to_owned(),
                bytes: 3
            }
        );
    }
    assert_eq!(files(&directory).get(name, ABC).await.unwrap(), "abc");
    assert!(directory.path().join("documents").join(name).is_file());
}

#[tokio::test]
async fn a_damaged_or_missing_object_is_never_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let media = files(&directory);
    media
        .put("a/b.pdf", Bytes::from_static(b"abc"))
        .await
        .unwrap();
    std::fs::write(directory.path().join("documents/a/b.pdf"), b"abd").unwrap();
    let damaged = media.get("a/b.pdf", ABC).await;
    assert_eq!(
        damaged,
        Err(MediaError::Damaged {
            name: "a/b.pdf".to_owned()
        })
    );
    let missing = media.get("a/c.pdf", ABC).await;
    assert_eq!(
        missing,
        Err(MediaError::Missing {
            name: "a/c.pdf".to_owned()
        })
    );
}

#[tokio::test]
async fn no_name_leads_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let media = files(&directory);
    let long = "x".repeat(201);
    for name in [
        "", ".", "..", "../a", "a/../b", "a/..", "/a", "a//b", "a/", ".hidden", "a/.b", "A", "a b",
        "a\\b", "a\0b", "a\nb", "ä", "a..b", &long,
    ] {
        let put = media.put(name, Bytes::from_static(b"abc")).await;
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
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn many_writers_of_one_object_leave_one_whole_object() {
    let directory = tempfile::tempdir().unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..20_u8 {
        let media = files(&directory);
        writers.spawn(async move {
            media
                .put("a.pdf", Bytes::from(vec![writer; 100_000]))
                .await
                .unwrap()
                .sha256
        });
    }
    let checksums = writers.join_all().await;
    let mut whole = 0;
    for checksum in &checksums {
        whole += usize::from(files(&directory).get("a.pdf", checksum).await.is_ok());
    }
    assert_eq!(whole, 1);
    let left: Vec<_> = std::fs::read_dir(directory.path().join("documents"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    files(&directory).ping().await.unwrap();
    // A file where the directory should be: fails for every user, root included.
    let blocked = directory.path().join("blocked");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::write(blocked.join("documents"), b"").unwrap();
    let media = Media::Files(FileMedia::new(&blocked));
    assert!(matches!(
        media.ping().await,
        Err(MediaError::Unavailable { .. })
    ));
    let put = media.put("a.pdf", Bytes::from_static(b"abc")).await;
    assert!(
        matches!(put, Err(MediaError::Unavailable { .. })),
        "{put:?}"
    );
}
