//! `fanfare admin`: accounts, for whoever has access to the machine.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;

use super::print;
use crate::app::offline::must_be_there;
use crate::app::{SystemClock, broken, make_data_folder, not_acceptable, open_store};
use crate::config::Config;
use crate::domain::account::{Role, email_key};
use crate::domain::invite::Wish;
use crate::domain::refusal::Refusal;
use crate::domain::time::Clock;
use crate::error::Error;
use crate::flow::audit::operator;
use crate::flow::login::{create_account, set_password};
use crate::flow::users::set_disabled;
use crate::flow::{enroll, invite};
use crate::store::Store;

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
    /// Confirm an account whose mail did not arrive.
    Confirm {
        /// The account's mail address.
        email: String,
    },
    /// Shut an account out and end its sessions.
    Disable {
        /// The account's mail address.
        email: String,
    },
    /// Let an account in again.
    Enable {
        /// The account's mail address.
        email: String,
    },
    /// Make an invitation code.
    Invite {
        /// The one address that may use it.
        #[arg(long)]
        email: Option<String>,
        /// How many accounts it is good for.
        #[arg(long, default_value_t = 1)]
        times: i64,
        /// How many days it lasts; for good if not given.
        #[arg(long)]
        days: Option<i64>,
        /// Where the people come from who use it.
        #[arg(long)]
        source: Option<String>,
    },
}

/// Does it on the database, whether a server runs on it or not.
pub async fn run(config: &Config, command: Admin) -> anyhow::Result<()> {
    match command {
        // The first account may come before the first start.
        Admin::CreateUser { .. } => make_data_folder(&config.data_dir)?,
        _ => must_be_there(config)?,
    }
    let store = open_store(config).await?;
    let now = SystemClock::default().now();
    let told = match command {
        Admin::CreateUser { email, admin } => {
            let role = if admin { Role::Admin } else { Role::User };
            let made = create_account(&store, now, &email, read_password()?, role).await.map_err(told)?;
            let account = made.with_context(|| format!("there is an account with the address {email} already"))?;
            format!("made the {} {}\n", account.role.as_str(), account.email)
        }
        Admin::SetPassword { email } => {
            let changed = set_password(&store, now, &email, read_password()?).await.map_err(told)?;
            ensure!(changed, no_account(&email));
            format!("changed the password of {email}\n")
        }
        Admin::Confirm { email } => {
            let confirmed = enroll::force(&store, now, &operator(), &email).await.map_err(told)?;
            format!("confirmed {}\n", confirmed.with_context(|| no_account(&email))?.email)
        }
        Admin::Disable { email } => disable(&store, &email, true).await?,
        Admin::Enable { email } => disable(&store, &email, false).await?,
        Admin::Invite { email, times, days, source } => {
            let email_key = match email {
                Some(email) => Some(email_key(&email).with_context(|| format!("{email} is not a mail address"))?),
                None => None,
            };
            let valid_time = days.map(|days| days.saturating_mul(86_400));
            let wish = Wish { times: Some(times), email_key, valid_time, source, ..Wish::default() };
            let codes = invite::by_operator(&store, now, wish).await.map_err(told)?;
            codes.iter().map(|invite| format!("{}\n", invite.code)).collect()
        }
    };
    store.close().await;
    print(&told)
}

async fn disable(store: &Store, email: &str, disabled: bool) -> anyhow::Result<String> {
    let key = email_key(email).unwrap_or_default();
    let found = store.read().await.map_err(told)?.account_by_email(&key).await.map_err(told)?;
    let (account, _) = found.with_context(|| no_account(email))?;
    set_disabled(store, &SystemClock::default(), &account.id, disabled).await.map_err(told)?;
    Ok(format!("{} {}\n", if disabled { "disabled" } else { "enabled" }, account.email))
}

fn no_account(email: &str) -> String {
    format!("there is no account with the address {email}")
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
        Error::Refused(Refusal::LastAdmin) => anyhow::anyhow!("this is the last administrator"),
        other => not_acceptable("the ", &other).unwrap_or_else(|| broken(other)),
    }
}
