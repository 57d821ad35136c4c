//! Failed logins and rates, counted by all nodes together.

use std::time::Duration;

use faktor::actors::auth_cache::{AuthError, AuthHandle};
use futures_util::future::join_all;

use crate::nodes::{EMAIL, Installation, PASSWORD, login};

const WRONG: &str = "wrong horse battery";

/// How a login with the wrong password is answered: the seconds to wait, or none when it was checked.
pub(crate) async fn wrong_login(node: &AuthHandle) -> Option<u64> {
    match node.login(EMAIL, WRONG).await.err().unwrap() {
        AuthError::Unauthenticated { .. } => None,
        AuthError::Throttled { retry_after_s } => Some(retry_after_s),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn failed_logins_at_several_nodes_count_together() {
    let Some(installation) = Installation::with(|config| config.auth.max_failed_logins = 4).await
    else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    for _ in 0..2 {
        assert_eq!(wrong_login(&one).await, None);
        assert_eq!(wrong_login(&other).await, None);
    }
    for node in [&one, &other] {
        let error = node.login(EMAIL, PASSWORD).await.err().unwrap();
        let AuthError::Throttled { retry_after_s } = error else {
            panic!("{error}");
        };
        assert!((880..=900).contains(&retry_after_s), "{retry_after_s}");
        assert_eq!(
            error.to_string(),
            format!("too many attempts; try again in {retry_after_s} seconds")
        );
    }
    let bob = one.login("bob@example.com", WRONG).await.err().unwrap();
    assert!(
        matches!(bob, AuthError::Unauthenticated { .. }),
        "others don't wait"
    );
}

#[tokio::test]
async fn a_good_login_at_one_node_forgets_the_failed_ones_of_all() {
    let Some(installation) = Installation::with(|config| config.auth.max_failed_logins = 3).await
    else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    assert_eq!(wrong_login(&one).await, None);
    assert_eq!(wrong_login(&one).await, None);
    login(&other).await;
    assert_eq!(wrong_login(&other).await, None);
    assert_eq!(wrong_login(&other).await, None);
    login(&other).await;
}

#[tokio::test]
async fn guessing_in_parallel_at_two_nodes_gets_no_more_attempts_than_guessing_in_turn() {
    let Some(installation) = Installation::with(|config| config.auth.max_failed_logins = 3).await
    else {
        return;
    };
    let (one, other) = (installation.node().await, installation.node().await);
    let guesses = (0..12).map(|n| wrong_login(if n % 2 == 0 { &one } else { &other }));
    let answers = join_all(guesses).await;
    let checked = answers.iter().filter(|answer| answer.is_none()).count();
    assert!((1..=3).contains(&checked), "{answers:?}");
}

#[tokio::test]
async fn a_rate_holds_over_all_nodes_and_each_thing_has_its_own() {
    let Some(installation) = Installation::new().await else {
        return;
    };
    let (one, other) = (
        installation.cache(&installation.url).await,
        installation.cache(&installation.url).await,
    );
    for cache in [&one, &other, &one] {
        assert_eq!(cache.admit("mail:a.example", 3).await, Some(Ok(())));
    }
    let wait = other.admit("mail:a.example", 3).await.unwrap().unwrap_err();
    let minute = Duration::from_mins(1);
    assert!(wait <= minute && wait > minute / 2, "{wait:?}");
    assert_eq!(other.admit("mail:b.example", 3).await, Some(Ok(())));
}
