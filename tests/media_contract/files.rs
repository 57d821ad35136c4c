//! Documents as files.

use bytes::Bytes;
use faktor::outbound::media::{FileMedia, Media, MediaError};

use crate::Subject;

pub(crate) struct Files(tempfile::TempDir);

impl Subject for Files {
    async fn set_up() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    async fn media(&self) -> Media {
        Media::Files(FileMedia::new(self.0.path()))
    }

    async fn damage(&self, name: &str) {
        let path = self.0.path().join("documents").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    async fn objects(&self) -> usize {
        files_under(&self.0.path().join("documents"))
    }

    async fn tidy_up(self) {}
}

fn files_under(directory: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| if path.is_dir() { files_under(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    // A file where the directory should be: fails for every user, root included.
    std::fs::write(directory.path().join("documents"), b"").unwrap();
    let media = Media::Files(FileMedia::new(directory.path()));
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
