//! `faktor user`: users while the node is stopped, as its data directory has one owner at a time. A
//! PostgreSQL database has many: there the nodes may go on.

use std::io::{self, Write};

use super::args::{User, UserAdd};
use super::password::{self, PasswordError};
use crate::actors::auth_cache::accounts::{self, AccountError, Person};
use crate::app::{BackendError, open_stores};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{StoreError, Stores};

/// Why a user was not added or changed, as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("can't write to the terminal: {0}")]
    Output(#[from] io::Error),
}

/// Carries out `faktor user add` or `passwd`.
pub async fn run(
    command: User,
    config: &Config,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<(), UserError> {
    let (stores, store) = open_stores(config).await?;
    // Asked for only now: nobody types a password to hear that the node is running.
    let done = match password::read() {
        Ok(password) => carry_out(command, password, &stores, clock, out).await,
        Err(error) => Err(error.into()),
    };
    let closed = store.close().await;
    done?;
    Ok(closed?)
}

async fn carry_out(
    command: User,
    password: String,
    stores: &Stores,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<(), UserError> {
    match command {
        User::Add(add) => self::add(add, password, stores, clock, out).await,
        User::Passwd { email } => {
            accounts::set_password(stores, clock, &email, &password).await?;
            writeln!(out, "{email} has a new password; its sessions have ended.")?;
            Ok(())
        }
    }
}

async fn add(
    add: UserAdd,
    password: String,
    stores: &Stores,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<(), UserError> {
    let UserAdd {
        email,
        first_name,
        last_name,
        roles,
        organization,
    } = add;
    let person = Person {
        first_name,
        last_name,
        email,
        password,
    };
    let user = match (organization.id, organization.new_organization) {
        (Some(id), _) => accounts::add_user(stores, clock, id, &person, roles).await?,
        (None, name) => {
            // Without an id clap has asked for a name; an empty one is refused like any other.
            let (directory, name) = (stores.directory.as_ref(), name.unwrap_or_default());
            let (founded, user) = accounts::found(directory, clock.now(), &name, &person).await?;
            writeln!(
                out,
                "Organization {} is {}.",
                founded.issuer.legal_name, founded.id
            )?;
            user
        }
    };
    writeln!(
        out,
        "User {} is {}, {}.",
        user.email,
        user.id,
        user.roles.join(" and ")
    )?;
    Ok(())
}
