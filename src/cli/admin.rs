//! `fanfare admin`: accounts, for whoever has access to the machine.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::print;
use crate::app::{SystemClock, open_store};
use crate::config::Config;
use crate::domain::account::Role;
use crate::domain::time::Clock;
use crate::error::Error;
use crate::flow::login::{create_account, set_password};

#[derive(Subcommand)]
pub enum Admin {
    /// Make an account that is confirmed from the start. The password is read from standard input.
    CreateUser {
        /// The account's mail address.
        email: String,
        /// Make an administrator.
        #[arg(long)]
        admin: bool,
    },
    /// Give an account another password, read from standard input.
    SetPassword {
        /// The account's mail address.
        email: String,
    },
}

/// Does it on the database, whether a server runs on it or not.
pub async fn run(config: &Config, command: Admin) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir)?;
    let store = open_store(config).await?;
    let told = match command {
        Admin::CreateUser { email, admin } => {
            let role = if admin { Role::Admin } else { Role::User };
            match create_account(&store, SystemClock::default().now(), &email, read_password()?, role)
                .await
                .map_err(told)?
            {
                Some(account) => format!("made the {} {}\n", account.role.as_str(), account.email),
                None => bail!("there is an account with the address {email} already"),
            }
        }
        Admin::SetPassword { email } => {
            if !set_password(&store, &email, read_password()?).await.map_err(told)? {
                bail!("there is no account with the address {email}");
            }
            format!("changed the password of {email}\n")
        }
    };
    store.close().await;
    print(&told)
}

fn read_password() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprint!("Password (shown as you type): ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the password could not be read")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password on standard input");
    }
    Ok(password.to_owned())
}

fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Refused(crate::domain::refusal::Refusal::Field { field, reason }) => {
            anyhow::anyhow!("the {field} is not acceptable: {}", reason.replace('_', " "))
        }
        Error::Broken(cause) => cause,
        other => anyhow::anyhow!("{other:?}"),
    }
}
