use faktor::clock;
use faktor::domain::ids::{ApiKeyId, OrganizationId, SessionId, UserId};
use faktor::domain::permission::{Permission, Permissions};
use faktor::store::{
    ApiKey, PageRequest, Refreshed, Role, Session, SigningKey, StoreError, Stores, User,
};
use futures_util::future::join_all;

use crate::sample::{at, new_organization, organization};

async fn founded(stores: &Stores) -> OrganizationId {
    let organization = organization(new_organization());
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    organization.id
}

fn user(organization: OrganizationId, email: &str, roles: &[&str]) -> User {
    User {
        id: UserId::new(clock::new_uuid()),
        organization,
        version: 1,
        first_name: "Grete".to_owned(),
        last_name: "Hermann".to_owned(),
        email: email.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        password_hash: "$argon2id$v=19$…".to_owned(),
        created_at: at(0),
        updated_at: at(0),
    }
}

fn next(user: &User, change: impl FnOnce(&mut User)) -> User {
    let mut after = User {
        version: user.version + 1,
        updated_at: at(9),
        ..user.clone()
    };
    change(&mut after);
    after
}

pub(crate) async fn an_address_can_be_used_once(stores: &Stores) {
    assert!(!stores.identity.any_user().await.unwrap());
    let (one, two) = (founded(stores).await, founded(stores).await);
    let first = user(one, "a@x.example", &["accountant", "own"]);
    stores.identity.insert_user(&first).await.unwrap();
    assert!(stores.identity.any_user().await.unwrap());
    let taken = StoreError::Taken { field: "email" };
    let second = user(two, "a@x.example", &[]);
    assert_eq!(
        stores.identity.insert_user(&second).await.unwrap_err(),
        taken
    );
    let second = user(two, "b@x.example", &[]);
    stores.identity.insert_user(&second).await.unwrap();
    let renamed = next(&second, |user| user.email = "a@x.example".to_owned());
    assert_eq!(
        stores.identity.update_user(&renamed).await.unwrap_err(),
        taken
    );
    assert_eq!(
        stores.identity.user_by_email("a@x.example").await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(stores.identity.user(second.id).await.unwrap(), Some(second));
    assert_eq!(
        stores.identity.user_by_email("c@x.example").await.unwrap(),
        None
    );
}

pub(crate) async fn a_user_is_updated_only_from_the_version_before(stores: &Stores) {
    let first = user(founded(stores).await, "a@x.example", &[]);
    stores.identity.insert_user(&first).await.unwrap();
    let second = next(&first, |user| user.first_name = "Emmy".to_owned());
    stores.identity.update_user(&second).await.unwrap();
    assert_eq!(
        stores.identity.update_user(&second).await.unwrap_err(),
        StoreError::Conflict
    );
    assert_eq!(stores.identity.user(first.id).await.unwrap(), Some(second));
    let unknown = user(first.organization, "b@x.example", &[]);
    assert_eq!(
        stores.identity.update_user(&unknown).await.unwrap_err(),
        StoreError::Conflict
    );
}

pub(crate) async fn the_last_administrator_stays(stores: &Stores) {
    let organization = founded(stores).await;
    let only = user(organization, "a@x.example", &["administrator"]);
    stores.identity.insert_user(&only).await.unwrap();
    // Neither a similar name nor another organization's administrator counts.
    let similar = user(
        organization,
        "b@x.example",
        &["Administrator", "administrators"],
    );
    stores.identity.insert_user(&similar).await.unwrap();
    let elsewhere = user(founded(stores).await, "c@x.example", &["administrator"]);
    stores.identity.insert_user(&elsewhere).await.unwrap();
    let count = |role| stores.identity.users_with_role(organization, role);
    assert_eq!(count("administrator").await.unwrap(), 1);

    let refused = StoreError::LastAdministrator;
    let demoted = next(&only, |user| user.roles = vec!["accountant".to_owned()]);
    assert_eq!(
        stores.identity.update_user(&demoted).await.unwrap_err(),
        refused
    );
    assert_eq!(
        stores
            .identity
            .delete_user(organization, only.id)
            .await
            .unwrap_err(),
        refused
    );
    assert_eq!(
        stores.identity.user(only.id).await.unwrap(),
        Some(only.clone())
    );

    let promoted = next(&similar, |user| user.roles.push("administrator".to_owned()));
    stores.identity.update_user(&promoted).await.unwrap();
    stores.identity.update_user(&demoted).await.unwrap();
    assert!(
        stores
            .identity
            .delete_user(organization, only.id)
            .await
            .unwrap()
    );
    assert!(
        !stores
            .identity
            .delete_user(organization, only.id)
            .await
            .unwrap()
    );
    assert!(
        !stores
            .identity
            .delete_user(organization, elsewhere.id)
            .await
            .unwrap()
    );
}

pub(crate) async fn of_two_administrators_who_remove_each_other_one_stays(stores: &Stores) {
    let organization = founded(stores).await;
    let one = user(organization, "a@x.example", &["administrator"]);
    let two = user(organization, "b@x.example", &["administrator"]);
    stores.identity.insert_user(&one).await.unwrap();
    stores.identity.insert_user(&two).await.unwrap();
    let answers = tokio::join!(
        stores.identity.delete_user(organization, one.id),
        stores.identity.delete_user(organization, two.id),
    );
    assert!(answers.0.is_ok() != answers.1.is_ok(), "{answers:?}");
    assert_eq!(
        stores
            .identity
            .users_with_role(organization, "administrator")
            .await
            .unwrap(),
        1
    );
}

pub(crate) async fn users_are_listed_newest_first(stores: &Stores) {
    let organization = founded(stores).await;
    let mut expected = Vec::new();
    for number in 0..5 {
        let mut user = user(organization, &format!("{number}@x.example"), &[]);
        user.created_at = at(number);
        stores.identity.insert_user(&user).await.unwrap();
        expected.insert(0, user);
    }
    let first = PageRequest {
        limit: 3,
        starting_after: None,
    };
    let first = stores.identity.users(organization, &first).await.unwrap();
    assert!(first.has_more);
    assert_eq!(first.data, expected[..3]);
    let rest = PageRequest {
        limit: 3,
        starting_after: Some(first.data[2].id),
    };
    let rest = stores.identity.users(organization, &rest).await.unwrap();
    assert!(!rest.has_more);
    assert_eq!(rest.data, expected[3..]);
}

pub(crate) async fn roles_are_an_organizations_own(stores: &Stores) {
    let (mine, other) = (founded(stores).await, founded(stores).await);
    let permissions: Permissions = [Permission::InvoiceSend, Permission::RoleDelete]
        .into_iter()
        .collect();
    let role = |name: &str, version| Role {
        organization: mine,
        name: name.to_owned(),
        permissions,
        version,
        created_at: at(0),
        updated_at: at(0),
    };
    stores
        .identity
        .insert_role(&role("sender", 1))
        .await
        .unwrap();
    stores
        .identity
        .insert_role(&role("archivist", 1))
        .await
        .unwrap();
    let taken = StoreError::Taken { field: "name" };
    assert_eq!(
        stores
            .identity
            .insert_role(&role("sender", 1))
            .await
            .unwrap_err(),
        taken
    );
    let expected = vec![role("archivist", 1), role("sender", 1)];
    assert_eq!(stores.identity.roles(mine).await.unwrap(), expected);
    assert_eq!(stores.identity.roles(other).await.unwrap(), vec![]);

    let changed = Role {
        permissions: Permissions::NONE,
        ..role("sender", 2)
    };
    stores.identity.update_role(&changed).await.unwrap();
    assert_eq!(
        stores.identity.update_role(&changed).await.unwrap_err(),
        StoreError::Conflict
    );
    assert!(!stores.identity.delete_role(other, "sender").await.unwrap());
    assert!(
        stores
            .identity
            .delete_role(mine, "archivist")
            .await
            .unwrap()
    );
    assert_eq!(stores.identity.roles(mine).await.unwrap(), vec![changed]);
}

pub(crate) async fn an_api_key_is_found_by_its_hash_until_it_is_revoked_for_good(stores: &Stores) {
    let (organization, other) = (founded(stores).await, founded(stores).await);
    let key = ApiKey {
        id: ApiKeyId::new(clock::new_uuid()),
        organization,
        name: "till".to_owned(),
        roles: vec!["accountant".to_owned()],
        secret_hash: "ab".repeat(32),
        prefix: "fk_1234".to_owned(),
        created_at: at(0),
        last_used_at: None,
        revoked_at: None,
    };
    stores.identity.insert_api_key(&key).await.unwrap();
    let by_hash = || stores.identity.api_key_by_hash(&key.secret_hash);
    assert_eq!(by_hash().await.unwrap(), Some(key.clone()));
    assert_eq!(
        stores.identity.api_key_by_hash("other").await.unwrap(),
        None
    );
    assert_eq!(stores.identity.api_key(other, key.id).await.unwrap(), None);

    stores.identity.touch_api_key(key.id, at(7)).await.unwrap();
    stores.identity.touch_api_key(key.id, at(5)).await.unwrap();
    assert_eq!(by_hash().await.unwrap().unwrap().last_used_at, Some(at(7)));

    assert!(
        !stores
            .identity
            .revoke_api_key(other, key.id, at(8))
            .await
            .unwrap()
    );
    assert!(
        stores
            .identity
            .revoke_api_key(organization, key.id, at(8))
            .await
            .unwrap()
    );
    assert!(
        stores
            .identity
            .revoke_api_key(organization, key.id, at(9))
            .await
            .unwrap()
    );
    assert_eq!(by_hash().await.unwrap().unwrap().revoked_at, Some(at(8)));
    let page = PageRequest {
        limit: 10,
        starting_after: None,
    };
    let listed = stores.identity.api_keys(organization, &page).await.unwrap();
    assert_eq!(listed.data.len(), 1);
}

fn session(user: UserId, refresh_hash: &str) -> Session {
    Session {
        id: SessionId::new(clock::new_uuid()),
        user,
        refresh_hash: refresh_hash.to_owned(),
        created_at: at(0),
        expires_at: at(1_000),
        revoked_at: None,
    }
}

pub(crate) async fn a_refresh_token_works_once_and_its_second_use_ends_the_chain(stores: &Stores) {
    let session = session(UserId::new(clock::new_uuid()), "one");
    stores.identity.insert_session(&session).await.unwrap();
    let refresh = |presented, next| stores.identity.refresh_session(presented, next, at(10));
    let second = Session {
        refresh_hash: "two".to_owned(),
        ..session.clone()
    };
    assert_eq!(
        refresh("one", "two").await.unwrap(),
        Refreshed::Rotated(second)
    );
    let third = Session {
        refresh_hash: "three".to_owned(),
        ..session.clone()
    };
    assert_eq!(
        refresh("two", "three").await.unwrap(),
        Refreshed::Rotated(third.clone())
    );
    // The first one comes back: somebody has stolen it.
    let ended = Session {
        revoked_at: Some(at(10)),
        ..third
    };
    assert_eq!(
        refresh("one", "four").await.unwrap(),
        Refreshed::Reused(ended.clone())
    );
    assert_eq!(refresh("three", "five").await.unwrap(), Refreshed::Unknown);
    assert_eq!(
        stores.identity.session(session.id).await.unwrap(),
        Some(ended)
    );
    assert_eq!(
        refresh("never issued", "six").await.unwrap(),
        Refreshed::Unknown
    );
}

pub(crate) async fn of_many_uses_of_one_refresh_token_exactly_one_rotates(stores: &Stores) {
    let session = session(UserId::new(clock::new_uuid()), "one");
    stores.identity.insert_session(&session).await.unwrap();
    let uses = (0..20).map(|number| async move {
        stores
            .identity
            .refresh_session("one", &format!("next {number}"), at(1))
            .await
            .unwrap()
    });
    let outcomes = join_all(uses).await;
    let rotated = outcomes
        .iter()
        .filter(|it| matches!(it, Refreshed::Rotated(_)))
        .count();
    assert_eq!(rotated, 1);
    assert!(
        stores
            .identity
            .session(session.id)
            .await
            .unwrap()
            .unwrap()
            .revoked_at
            .is_some()
    );
}

pub(crate) async fn an_expired_or_revoked_session_is_not_refreshed(stores: &Stores) {
    let user = UserId::new(clock::new_uuid());
    let expired = session(user, "expired");
    let revoked = session(user, "revoked");
    stores.identity.insert_session(&expired).await.unwrap();
    stores.identity.insert_session(&revoked).await.unwrap();
    stores
        .identity
        .revoke_session(revoked.id, at(5))
        .await
        .unwrap();
    let refresh = |presented, now| stores.identity.refresh_session(presented, "next", now);
    assert_eq!(
        refresh("expired", at(1_000)).await.unwrap(),
        Refreshed::Unknown
    );
    assert_eq!(refresh("revoked", at(6)).await.unwrap(), Refreshed::Unknown);
    assert!(matches!(
        refresh("expired", at(999)).await.unwrap(),
        Refreshed::Rotated(_)
    ));
}

pub(crate) async fn all_sessions_of_a_user_end_together(stores: &Stores) {
    let (user, other) = (
        UserId::new(clock::new_uuid()),
        UserId::new(clock::new_uuid()),
    );
    let sessions = [
        session(user, "one"),
        session(user, "two"),
        session(other, "three"),
    ];
    for session in &sessions {
        stores.identity.insert_session(session).await.unwrap();
    }
    let mut ended = stores
        .identity
        .revoke_sessions_of(user, at(5))
        .await
        .unwrap();
    ended.sort();
    let mut expected = vec![sessions[0].id, sessions[1].id];
    expected.sort();
    assert_eq!(ended, expected);
    let untouched = stores
        .identity
        .session(sessions[2].id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(untouched.revoked_at, None);
}

pub(crate) async fn signing_keys_retire_and_go(stores: &Stores) {
    let key = |id: &str, created_at| SigningKey {
        id: id.to_owned(),
        private_der: vec![1, 2, 3],
        public_der: vec![4, 5],
        created_at: at(created_at),
        retired_at: None,
    };
    let ids = |keys: Vec<SigningKey>| {
        keys.into_iter()
            .map(|key| (key.id, key.retired_at))
            .collect::<Vec<_>>()
    };
    stores
        .identity
        .insert_signing_key(&key("old", 0))
        .await
        .unwrap();
    stores
        .identity
        .insert_signing_key(&key("new", 5))
        .await
        .unwrap();
    stores
        .identity
        .retire_signing_keys("new", at(5), at(0))
        .await
        .unwrap();
    let kept = stores.identity.signing_keys().await.unwrap();
    assert_eq!(kept[0].private_der, [1, 2, 3]);
    assert_eq!(
        ids(kept),
        [("new".to_owned(), None), ("old".to_owned(), Some(at(5)))]
    );
    stores
        .identity
        .retire_signing_keys("new", at(9), at(6))
        .await
        .unwrap();
    assert_eq!(
        ids(stores.identity.signing_keys().await.unwrap()),
        [("new".to_owned(), None)]
    );
}
