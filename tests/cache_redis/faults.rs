//! Redis goes, hangs, answers half or late, and comes back: requests go on, nothing fails open.

use std::time::Duration;

use faktor::actors::auth_cache::AuthHandle;
use faktor::store::cache::{Scope, SharedCache};
use tokio::time::Instant;

use crate::nodes::{Installation, TIMEOUT, caller, is_refused, login, until};
use crate::support::fault_proxy::Fault;
use crate::throttling::wrong_login;

const SLOW: Fault = Fault::Delay(Duration::from_secs(2));
const FAULTS: [Fault; 4] = [Fault::Refuse, Fault::Stall, Fault::CutMidAnswer, SLOW];

async fn answers(cache: &SharedCache) -> bool {
    cache.recall(&[1; 32], &[Scope::ApiKeys]).await.is_some()
}

#[tokio::test]
async fn whatever_redis_does_requests_go_on_revoked_tokens_stay_out_and_it_is_found_again() {
    let Some(installation) = Installation::with(|config| config.auth.max_failed_logins = 3).await
    else {
        return;
    };
    for fault in FAULTS {
        let (cache, proxy) = installation.fragile_cache().await;
        let node = installation.node_with(cache.clone()).await;
        let revoked = login(&node).await;
        let session = caller(&node, &revoked).await.session.unwrap();

        proxy.set(fault);
        let token = login(&node).await;
        caller(&node, &token).await;
        node.revoke_session(installation.user.id, session)
            .await
            .unwrap();
        assert!(is_refused(&node, &revoked).await, "{fault:?}");
        let neighbour = installation.node_with(cache.clone()).await;
        assert!(is_refused(&neighbour, &revoked).await, "{fault:?}");
        caller(&neighbour, &token).await;

        proxy.set(Fault::Pass);
        // What Redis may still have of the revoked one is not believed either.
        let back = until("Redis is found again", async || {
            assert!(is_refused(&node, &revoked).await, "{fault:?}");
            answers(&cache).await
        });
        eprintln!("{fault:?}: found again after {:?}", back.await);
        assert!(is_refused(&node, &revoked).await, "{fault:?}");
        caller(&node, &token).await;
    }
}

#[tokio::test]
async fn without_redis_logins_are_throttled_by_each_node_and_with_it_by_all_again() {
    let Some(installation) = Installation::with(|config| config.auth.max_failed_logins = 3).await
    else {
        return;
    };
    let (cache, proxy) = installation.fragile_cache().await;
    let one = installation.node_with(cache.clone()).await;
    assert_eq!(wrong_login(&one).await, None);
    proxy.set(Fault::Refuse);
    assert_eq!(wrong_login(&one).await, None);
    assert_eq!(wrong_login(&one).await, None);
    let wait = wrong_login(&one).await;
    assert_eq!(wait, Some(900), "this node knows of three");

    proxy.set(Fault::Pass);
    until("Redis is found again", || answers(&cache)).await;
    assert_eq!(wrong_login(&one).await, Some(900), "still");
    // Redis knows of the one before the cut; two more make three, for every node.
    let (two, three) = (
        installation.node().await,
        installation.node_with(cache).await,
    );
    assert_eq!(wrong_login(&two).await, None);
    assert_eq!(wrong_login(&three).await, None);
    assert!(wrong_login(&two).await.is_some_and(|wait| wait > 800));
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_a_few_times_and_then_left_alone() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (cache, proxy) = installation.fragile_cache().await;
    assert!(answers(&cache).await);
    proxy.set(Fault::Stall);
    let began = Instant::now();
    for _ in 0..200 {
        assert!(!answers(&cache).await);
    }
    let took = began.elapsed();
    assert!(took >= TIMEOUT, "it was asked: {took:?}");
    assert!(took < TIMEOUT * 10, "200 requests waited for {took:?}");
    assert!(cache.ping().await.is_err());
    proxy.set(Fault::Pass);
    until("Redis is found again", || answers(&cache)).await;
}

#[tokio::test]
async fn a_revocation_that_did_not_reach_redis_is_not_undone_by_it() {
    let Some(installation) = Installation::with(|config| config.auth.cache_ttl_s = 2).await else {
        return;
    };
    let (cut, proxy) = installation.fragile_node().await;
    let other: AuthHandle = installation.node().await;
    let token = login(&cut).await;
    let session = caller(&other, &token).await.session.unwrap();
    proxy.set(Fault::Stall);
    cut.revoke_session(installation.user.id, session)
        .await
        .unwrap();
    proxy.set(Fault::Refuse);
    assert!(is_refused(&cut, &token).await);
    proxy.set(Fault::Pass);
    // Redis still has the caller, and the other node believes it for as long as it always may.
    let began = Instant::now();
    let at_the_other = until("refused at the other node, too", async || {
        assert!(is_refused(&cut, &token).await);
        installation.clock.advance_ms(5);
        is_refused(&other, &token).await
    });
    at_the_other.await;
    assert!(began.elapsed() < Duration::from_secs(10));
}
