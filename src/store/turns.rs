//! What must not interleave takes turns. SQLite has one writing connection, so its transactions do so by themselves. On
//! PostgreSQL, at READ COMMITTED, what one transaction has checked another may change before the first commits: here
//! lies the fork, locks that last until the end of the transaction.

use super::trouble::in_time;
use super::{Store, Tx, on};
use crate::domain::id::{AccountId, PushId};
use crate::error::Result;

/// What stands before every name, because the locks of a database may have other users.
const OURS: &str = "fanfare ";

impl Store {
    /// Begins a transaction that may write and has the Pushers to itself: what it reads of them and of who builds on
    /// whom is true until it ends. Everything that makes, changes or removes a Pusher begins here; reading and pushing
    /// go on meanwhile.
    ///
    /// # Errors
    /// If no connection is free in time, or the database fails.
    pub async fn edit(&self) -> Result<Tx> {
        let mut tx = self.write().await?;
        tx.take_turn("pushers").await?;
        Ok(tx)
    }
}

impl Tx {
    /// From here to its end this transaction alone starts, skips or revokes held steps of a push. Workers may claim its
    /// waiting tasks meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn alone_with(&mut self, push: &PushId) -> Result<()> {
        self.take_turn(push.as_str()).await
    }

    /// From here to its end this transaction alone takes admins away: each sees those that the others left.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn alone_with_admins(&mut self) -> Result<()> {
        self.take_turn("admins").await
    }

    /// From here to its end this transaction alone changes who may act as this account, or acts on it: a password, a role,
    /// sessions and tokens are what it reads until then. Comes after every other turn, and of two accounts in the order
    /// of their ids: nobody waits in a circle.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn alone_with_account(&mut self, id: &AccountId) -> Result<()> {
        self.take_turn(&format!("account {id}")).await
    }

    /// What waits of an account's tasks, up to `limit`, locked in the order of their ids: one statement that changes them all
    /// would lock them in any order, and could wait in a circle with whoever goes by their ids.
    pub(super) async fn hold_waiting_of(&mut self, owner: &AccountId, limit: i64) -> Result<Vec<String>> {
        let sql = match self {
            Self::Sqlite(_) => {
                "SELECT id FROM task WHERE owner = $1 AND state IN ('waiting', 'held') ORDER BY id LIMIT $2"
            }
            Self::Postgres(_) => {
                "SELECT id FROM task WHERE owner = $1 AND state IN ('waiting', 'held') ORDER BY id LIMIT $2 FOR UPDATE"
            }
        };
        Ok(on!(self, conn => sqlx::query_scalar(sql)
            .bind(owner.as_str().to_owned()).bind(limit).fetch_all(conn).await)?)
    }

    async fn take_turn(&mut self, name: &str) -> Result<()> {
        if let Self::Postgres(tx) = self {
            let turn =
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(format!("{OURS}{name}"));
            in_time(turn.execute(&mut **tx)).await?;
        }
        Ok(())
    }
}
