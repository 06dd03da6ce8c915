//! How much was used of rates and quotas, as each node tells it. Knows nothing of what the limits are.

use super::rows::{Kind, MOST_ROWS, Rows};
use super::{Store, Tx, directly, on};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// What one node has used of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// For quotas the day, counted from 1970; 0 for rates.
    pub day: i64,
    pub key: String,
    pub node: String,
    /// In all.
    pub count: i64,
}

type UsageRow = (i64, String, String, i64);

fn usage((day, key, node, count): UsageRow) -> Usage {
    Usage { day, key, node, count }
}

static TELL: Rows<5> = Rows::new(
    "INSERT INTO usage (day, key, node, count, told_at) ",
    [Kind::Number, Kind::Text, Kind::Text, Kind::Number, Kind::Number],
    " ON CONFLICT (day, key, node) DO UPDATE SET count = excluded.count, told_at = excluded.told_at",
);

impl Store {
    /// Tells what a node has used, in place of what it told before. Each row by itself is right, so they need no
    /// transaction together.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tell_usage(&self, told: &[Usage], now: Timestamp) -> Result<()> {
        for some in told.chunks(MOST_ROWS) {
            let rows = some.iter().map(|usage| {
                let (key, node) = (usage.key.clone(), usage.node.clone());
                [usage.day.into(), key.into(), node.into(), usage.count.into(), now.0.into()]
            });
            directly!(&self.db, conn => {
                TELL.query::<Dialect>(rows).execute(conn).await.map(drop)
            })?;
        }
        Ok(())
    }
}

impl Tx {
    /// What nodes other than this one have told since a time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn usage_since(&mut self, node: &str, since: Timestamp) -> Result<Vec<Usage>> {
        let rows: Vec<UsageRow> = on!(self, conn => sqlx::query_as(
            "SELECT day, key, node, count FROM usage WHERE told_at >= $1 AND node <> $2 ORDER BY day, key, node")
            .bind(since.0).bind(node.to_owned()).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(usage).collect())
    }

    /// What has been used of the quotas of a day.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn usage_of_day(&mut self, day: i64) -> Result<Vec<Usage>> {
        let rows: Vec<UsageRow> = on!(self, conn => sqlx::query_as(
            "SELECT day, key, node, count FROM usage WHERE day = $1 ORDER BY day, key, node")
            .bind(day).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(usage).collect())
    }

    /// Removes rates told before a time and quotas of days before one; answers how many rows went.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_usage(&mut self, before: Timestamp, day: i64) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            "DELETE FROM usage WHERE (day = 0 AND told_at < $1) OR (day > 0 AND day < $2)")
            .bind(before.0).bind(day).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
