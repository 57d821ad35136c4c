//! What every backend of the store promises, run over each.

#[cfg(test)]
#[path = "../support/backends.rs"]
mod backends;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod invoices;
#[cfg(test)]
mod lists;
#[cfg(test)]
#[path = "../support/mongo.rs"]
mod mongo_database;
#[cfg(test)]
mod pages;
#[cfg(test)]
#[path = "../support/postgres_database.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of PostgreSQL alone, which use more of it"
)]
mod postgres_database;
#[cfg(test)]
#[path = "../store_sample/mod.rs"]
mod sample;
#[cfg(test)]
mod series;

/// Makes one test of each promise, over a backend that `$open` opens: it gives the stores and what
/// must live as long as they do, or nothing when the backend's server is not there.
macro_rules! contract {
    ($backend:ident, $open:path: $($module:ident { $($promise:ident),+ $(,)? })+) => {
        #[cfg(test)]
        mod $backend {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let Some((stores, _guard)) = $open().await else {
                        return;
                    };
                    crate::$module::$promise(&stores).await;
                })+
            })+
        }
    };
}

/// Every promise, for one backend after the other.
macro_rules! every_promise {
    ($backend:ident, $open:path) => {
        contract! { $backend, $open:
        invoices {
            what_is_committed_is_loaded_as_it_was,
            an_unknown_invoice_is_nothing,
            a_second_create_of_the_same_id_is_a_conflict_and_changes_nothing,
            a_change_of_an_older_version_is_a_conflict_and_changes_nothing,
            a_change_of_an_unknown_invoice_is_a_conflict,
            an_older_epoch_is_refused_and_the_same_or_a_newer_one_is_taken,
            of_many_changes_of_one_version_exactly_one_wins,
            a_refused_command_leaves_its_neighbours_alone,
            a_commit_with_a_gap_in_its_versions_is_refused,
            several_entries_of_one_command_are_all_in_the_history,
            history_and_events_come_in_order_and_in_parts,
            due_gives_the_earliest_first_and_only_of_the_shards_asked_for,
            an_invoice_that_needs_no_waking_is_not_due,
            the_store_answers_a_ping,
        }
        claims {
            a_claimed_invoice_is_as_it_was_and_an_unknown_one_is_nothing,
            after_a_claim_older_owners_neither_write_nor_claim,
            a_claim_returns_what_an_older_owner_wrote_before_it,
            of_two_claims_the_newer_one_wins,
        }
        lists {
            each_filter_finds_what_it_names_and_nothing_else,
            filters_combine,
            date_bounds_are_inclusive,
            a_search_ignores_case_beyond_ascii_and_takes_wildcards_literally,
            a_changed_invoice_is_found_by_its_new_values_and_not_by_its_old_ones,
            deleted_drafts_are_not_listed,
            another_organizations_invoices_are_never_listed,
        }
        pages {
            pages_hold_each_invoice_once_while_others_are_created,
            pages_of_invoices_made_at_the_same_moment_hold_each_once,
            an_unknown_starting_point_gives_an_empty_page,
        }
        feed {
            events_stand_in_the_feed_in_the_order_of_their_commits,
            a_reader_that_follows_its_cursor_misses_nothing,
            each_event_is_published_once,
            an_unknown_event_is_no_cursor,
            an_event_is_a_cursor_as_soon_as_it_is_committed,
            events_of_a_refused_commit_are_not_published,
            the_whole_feed_is_read_by_position,
            a_reader_finds_how_far_it_had_come,
        }
        series {
            numbers_have_no_gap_under_parallel_allocations_with_repeats,
            an_invoice_keeps_its_number_in_a_later_year,
            the_issue_date_never_goes_back,
            each_year_begins_at_one,
            organizations_count_by_themselves,
            a_number_that_another_pattern_wrote_is_passed_over,
            an_organization_that_is_not_there_gets_no_number,
            a_number_that_an_invoice_brings_along_stands_once,
            a_number_is_reserved_for_one_invoice_however_often_it_asks,
            an_invoice_that_brings_a_number_is_made_once,
            of_many_invoices_that_bring_the_same_number_exactly_one_is_made,
            a_series_steps_over_numbers_that_invoices_brought_along,
            a_long_run_of_taken_numbers_does_not_stop_a_series,
        }
        inbox {
            the_same_event_is_received_once,
            undelivered_messages_come_back_until_they_are_delivered_or_parked,
            delivered_messages_are_forgotten_oldest_first_and_no_others,
        }
        identity {
            an_address_can_be_used_once,
            a_user_is_updated_only_from_the_version_before,
            the_last_administrator_stays,
            of_two_administrators_who_remove_each_other_one_stays,
            users_are_listed_newest_first,
            roles_are_an_organizations_own,
            an_api_key_is_found_by_its_hash_until_it_is_revoked_for_good,
            a_refresh_token_works_once_and_its_second_use_ends_the_chain,
            of_many_uses_of_one_refresh_token_exactly_one_rotates,
            an_expired_or_revoked_session_is_not_refreshed,
            all_sessions_of_a_user_end_together,
            signing_keys_retire_and_go,
        }
        directory {
            an_organization_is_updated_only_from_the_version_before,
            an_organization_is_founded_with_its_user_or_not_at_all,
            a_customer_is_an_organizations_own,
            a_customer_is_updated_only_from_the_version_before,
            customers_are_searched_and_paged,
            an_asset_is_kept_byte_for_byte,
            the_first_answer_is_kept_until_it_is_forgotten,
        }
        }
    };
}

/// The promises of the cluster's book, which is relational.
macro_rules! cluster_promises {
    ($backend:ident, $open:path) => {
        contract! { $backend, $open:
        cluster {
            a_new_book_has_every_shard_and_no_owner,
            a_node_that_joined_stands_in_the_book_as_it_is,
            a_name_is_of_one_live_node,
            a_node_takes_the_name_of_one_whose_lease_ran_out,
            of_many_nodes_with_one_name_exactly_one_joins,
            joining_again_after_a_lost_reply_is_joining_once,
            a_renewal_prolongs_a_lease,
            a_lease_that_ran_out_never_revives,
            a_node_is_buried_as_expired_only_when_its_lease_ran_out,
            a_node_that_was_buried_stays_so_and_the_reason_too,
            free_shards_are_taken_with_a_new_epoch_and_no_others,
            only_a_live_node_takes,
            the_shards_of_a_node_that_is_gone_are_taken,
            shards_are_handed_over_by_the_owner_that_holds_their_epoch,
            nothing_is_handed_to_a_node_that_is_not_live,
            a_node_that_leaves_leaves_its_shards,
            a_node_is_drained_and_its_namesake_after_it_is_not,
                a_shard_handed_over_to_its_own_owner_refuses_what_is_under_way,
            of_many_nodes_that_want_one_shard_one_gets_it,
            epochs_only_grow_whoever_does_what_at_once,
        }
        }
    };
}

every_promise! { sqlite, crate::open_sqlite }
every_promise! { shared_sqlite, crate::open_shared_sqlite }
every_promise! { mongo, crate::open_mongo }
every_promise! { postgres, crate::open_postgres }
cluster_promises! { sqlite_cluster, crate::open_shared_sqlite }
cluster_promises! { postgres_cluster, crate::open_postgres }

#[cfg(test)]
async fn open_shared_sqlite() -> Option<(faktor::store::Stores, tempfile::TempDir)> {
    use faktor::store::sql::{SqliteOptions, SqliteStore};

    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        shared: true,
        ..SqliteOptions::default()
    };
    let (stores, _handle) = SqliteStore::open(directory.path(), options).await.unwrap();
    Some((stores, directory))
}

#[cfg(test)]
async fn open_sqlite() -> Option<(faktor::store::Stores, tempfile::TempDir)> {
    use faktor::store::sql::{SqliteOptions, SqliteStore};

    let directory = tempfile::tempdir().unwrap();
    let (stores, _handle) = SqliteStore::open(directory.path(), SqliteOptions::default())
        .await
        .unwrap();
    Some((stores, directory))
}

#[cfg(test)]
async fn open_mongo() -> Option<(faktor::store::Stores, mongo_database::TestDatabase)> {
    let database = mongo_database::TestDatabase::new().await?;
    Some((database.stores().await, database))
}

#[cfg(test)]
async fn open_postgres() -> Option<(faktor::store::Stores, postgres_database::TestDatabase)> {
    use faktor::store::sql::{PostgresOptions, PostgresStore};

    let database = postgres_database::TestDatabase::new().await?;
    let options = PostgresOptions {
        // Tests run side by side, and the server has a hundred connections for all of them.
        max_connections: 6,
        ..PostgresOptions::default()
    };
    let (stores, _handle) = PostgresStore::open(&database.url, options).await.unwrap();
    Some((stores, database))
}
