//! What every media store promises, run over each; and what is special about each.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on panics"
)]

mod cloudinary;
mod cloudinary_double;
mod files;
mod gridfs;
mod node;
mod promises;
mod s3;
mod s3_double;
mod streaming;
#[path = "../support/mod.rs"]
mod support;

use support::backends;

use std::time::Duration;

use faktor::outbound::media::{Media, TimeLimits};

/// A store of its own for one test.
pub(crate) trait Subject: Sized {
    /// Whether the service behind it takes objects of no bytes.
    const TAKES_EMPTY_OBJECTS: bool = true;

    /// None: its server is not there.
    async fn set_up() -> Option<Self>;
    /// The store, opened anew.
    async fn media(&self) -> Media;
    /// Changes a byte of an object behind the store's back.
    async fn damage(&self, name: &str);
    /// How many objects are kept, old revisions included.
    async fn objects(&self) -> usize;
    async fn tidy_up(self);
}

/// Time limits for servers on this machine.
pub(crate) fn limits() -> TimeLimits {
    TimeLimits {
        connect: Duration::from_secs(5),
        transfer: Duration::from_secs(20),
    }
}

/// Makes one test of each promise for each store.
macro_rules! contract {
    ($($store:ident: $subject:path),+ $(,)?) => {
        $(contract! { @ $store $subject:
            an_object_reads_back_with_its_checksum_also_after_a_restart,
            a_repeat_of_a_put_changes_nothing_and_leaves_one_object,
            a_replaced_object_is_the_new_one_and_no_longer_the_old_one,
            a_reader_never_misses_an_object_that_is_being_replaced,
            a_damaged_object_is_never_handed_out_and_a_repeat_of_its_put_heals_it,
            a_missing_object_is_told_from_a_damaged_one,
            names_that_are_alike_are_different_objects,
            no_name_leads_anywhere_else,
            five_mebibytes_come_back_byte_for_byte,
            an_empty_object_is_kept_or_refused_but_never_lost,
            an_object_too_large_to_be_read_back_is_not_taken,
            many_writers_of_one_name_leave_whole_objects,
            a_store_that_is_there_says_so,
        })+
    };
    (@ $store:ident $subject:path: $($promise:ident),+ $(,)?) => {
        mod $store {
            mod promises {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    use crate::Subject as _;
                    let Some(subject) = <$subject>::set_up().await else { return };
                    crate::promises::$promise(&subject).await;
                    subject.tidy_up().await;
                })+
            }
        }
    };
}

mod over {
    contract! {
        files: crate::files::Files,
        gridfs: crate::gridfs::GridFs,
        s3: crate::s3::S3,
        cloudinary: crate::cloudinary::Cloudinary,
    }
}
