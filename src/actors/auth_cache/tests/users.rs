//! The first users, and those that the command line makes.

use super::*;

#[tokio::test]
async fn the_set_up_link_is_good_once_and_ends_when_there_is_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let config: Config = toml::from_str(DEFAULTS).unwrap();
    let auth = AuthHandle::start(&config, Clock::manual(START), &stores)
        .await
        .unwrap();
    let token = auth.open_setup().await.unwrap().unwrap();
    assert_eq!(
        auth.open_setup().await.unwrap().as_deref(),
        Some(token.as_str())
    );

    assert!(matches!(
        auth.set_up("", "A", &ada()).await,
        Err(AccountError::SetupClosed)
    ));
    let short = Person {
        password: "short".to_owned(),
        ..ada()
    };
    assert!(matches!(
        auth.set_up(&token, "A", &short).await,
        Err(AccountError::Invalid { .. })
    ));
    assert!(
        auth.setup_is_open(&token).await.unwrap(),
        "a mistake does not use the link up"
    );

    let person = ada();
    let (first, second) = tokio::join!(
        auth.set_up(&token, "A", &person),
        auth.set_up(&token, "B", &person)
    );
    assert!(first.is_ok() && matches!(second, Err(AccountError::SetupClosed)));
    assert!(!auth.setup_is_open(&token).await.unwrap());
    assert_eq!(auth.open_setup().await.unwrap(), None);
}

#[tokio::test]
async fn the_environment_makes_the_first_administrator_once_and_by_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let clock = Clock::manual(START);
    let found = async |email: Option<&str>, password: Option<&str>| {
        let (email, password) = (email.map(str::to_owned), password.map(str::to_owned));
        accounts::found_from_environment(&stores, &clock, |name| match name {
            accounts::ADMIN_EMAIL => email.clone(),
            accounts::ADMIN_PASSWORD => password.clone(),
            _ => None,
        })
        .await
    };
    assert!(found(None, None).await.unwrap().is_none());
    let sentence = |result: Result<_, AccountError>| result.err().map(|error| error.to_string());
    assert_eq!(
        sentence(found(Some(EMAIL), None).await).unwrap(),
        "FAKTOR_ADMIN_EMAIL is set but FAKTOR_ADMIN_PASSWORD is not; \
         set both to make the first administrator"
    );
    assert_eq!(
        sentence(found(Some("ada"), Some("short")).await).unwrap(),
        "FAKTOR_ADMIN_EMAIL: expected an address such as name@example.com; \
         FAKTOR_ADMIN_PASSWORD: at least 12 characters"
    );
    let user = found(Some(EMAIL), Some(PASSWORD)).await.unwrap().unwrap();
    assert_eq!(user.roles, [roles::ADMINISTRATOR]);
    assert!(
        found(Some("eve@example.com"), Some(PASSWORD))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn nodes_that_are_started_at_once_make_one_administrator_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let clock = Clock::manual(START);
    let start = || {
        accounts::found_from_environment(&stores, &clock, |name| match name {
            accounts::ADMIN_EMAIL => Some(EMAIL.to_owned()),
            accounts::ADMIN_PASSWORD => Some(PASSWORD.to_owned()),
            _ => None,
        })
    };
    let (one, other) = tokio::join!(start(), start());
    let made = [one.unwrap(), other.unwrap()];
    assert_eq!(made.iter().flatten().count(), 1);
}

#[tokio::test]
async fn the_command_line_adds_users_and_changes_passwords() {
    let node = node().await;
    let organization = accounts::organization_of(&node.stores, EMAIL)
        .await
        .unwrap();
    let bob = Person {
        email: "Bob@Example.com".to_owned(),
        ..ada()
    };
    let add = |person: Person, role: &str| {
        let roles = vec![role.to_owned()];
        let (stores, clock) = (node.stores.clone(), node.clock.clone());
        async move { accounts::add_user(&stores, &clock, organization, &person, roles).await }
    };
    let error = add(bob.clone(), "boss").await.err().unwrap();
    assert!(matches!(error, AccountError::NoSuchRole { .. }), "{error}");
    add(bob.clone(), "accountant").await.unwrap();
    assert!(matches!(
        add(bob, "accountant").await,
        Err(AccountError::EmailTaken)
    ));

    let tokens = node.auth.login("bob@example.com", PASSWORD).await.unwrap();
    let new = "another horse battery";
    accounts::set_password(&node.stores, &node.clock, "bob@example.com", new)
        .await
        .unwrap();
    assert!(node.auth.refresh(&tokens.refresh_token).await.is_err());
    assert!(node.auth.login("bob@example.com", PASSWORD).await.is_err());
    node.auth.login("bob@example.com", new).await.unwrap();
    let error = accounts::set_password(&node.stores, &node.clock, "eve@example.com", new).await;
    assert!(matches!(error, Err(AccountError::NoSuchUser)));
}
