//! How much was used of rates and quotas: as each node tells it, or, in a row of no node, as all together have taken it.

use super::rows::{Kind, MOST_ROWS, Rows};
use super::{Store, Tx, directly, on};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// In place of a node's name: all of them together.
pub const ALL: &str = "";

/// What one node has used of one thing, or all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// For quotas the day, counted from 1970; 0 for rates.
    pub day: i64,
    pub key: String,
    pub node: String,
    /// In all.
    pub count: i64,
}

/// What is to be taken of a rate that all nodes share, as `domain/rate.rs` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    pub units: i64,
    /// What the bucket holds.
    pub room: i64,
    /// What runs out of it in a millisecond.
    pub leak: i64,
}

/// The level of a bucket at $3, of which $5 run out in a millisecond. One that was not touched for two minutes is empty.
/// What another clock wrote that is ahead has not run out yet.
macro_rules! level {
    () => {
        "(CASE WHEN usage.count > $5 * (CASE WHEN $3 <= usage.told_at THEN 0 WHEN $3 - usage.told_at < 120000 \
         THEN $3 - usage.told_at ELSE 120000 END) THEN usage.count - $5 * (CASE WHEN $3 <= usage.told_at THEN 0 \
         WHEN $3 - usage.told_at < 120000 THEN $3 - usage.told_at ELSE 120000 END) ELSE 0 END)"
    };
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

/// The time stays: what leaks out does so from the level before, with or without what is given back.
static GIVE_BACK: Rows<5> = Rows::new(
    "INSERT INTO usage (day, key, node, count, told_at) ",
    [Kind::Number, Kind::Text, Kind::Text, Kind::Number, Kind::Number],
    " ON CONFLICT (day, key, node) DO UPDATE SET
    count = CASE WHEN usage.count > excluded.count THEN usage.count - excluded.count ELSE 0 END",
);

impl Store {
    /// Tells what a node has used, in place of what it told before. Each row by itself is right, so they need no
    /// transaction together.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tell_usage(&self, told: &[Usage], now: Timestamp) -> Result<()> {
        self.write_usage(&TELL, told, now).await
    }

    async fn write_usage(&self, statement: &'static Rows<5>, usage: &[Usage], now: Timestamp) -> Result<()> {
        for some in usage.chunks(MOST_ROWS) {
            let rows = some.iter().map(|usage| {
                let (key, node) = (usage.key.clone(), usage.node.clone());
                [usage.day.into(), key.into(), node.into(), usage.count.into(), now.0.into()]
            });
            directly!(&self.db, conn => {
                statement.query::<Dialect>(rows).execute(conn).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Takes something of a rate that all nodes share, if there is room; answers how full the bucket is then, and when.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_of_rate(&self, key: &str, draw: Draw, now: Timestamp) -> Result<Option<(i64, Timestamp)>> {
        // A clock that was ahead by more than a second is not believed, as in memory.
        let row: Option<(i64, i64)> = directly!(&self.db, conn => sqlx::query_as(concat!(
            "INSERT INTO usage (day, key, node, count, told_at) VALUES (0, $1, '', $2, $3)
            ON CONFLICT (day, key, node) DO UPDATE SET count = excluded.count + ", level!(), ",
                told_at = CASE WHEN usage.told_at > $3 AND usage.told_at - $3 < 1000 THEN usage.told_at ELSE $3 END
            WHERE excluded.count + ", level!(), " <= $4 RETURNING count, told_at"))
            .bind(key.to_owned()).bind(draw.units).bind(now.0).bind(draw.room).bind(draw.leak)
            .fetch_optional(conn).await)?;
        Ok(row.map(|(level, at)| (level, Timestamp(at))))
    }

    /// How full the bucket of a rate that all nodes share was when something was last taken, and when that was.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn used_of_rate(&self, key: &str) -> Result<(i64, Timestamp)> {
        let row: Option<(i64, i64)> = directly!(readers of &self.db, conn => sqlx::query_as(
            "SELECT count, told_at FROM usage WHERE day = 0 AND key = $1 AND node = ''")
            .bind(key.to_owned()).fetch_optional(conn).await)?;
        let (level, at) = row.unwrap_or_default();
        Ok((level, Timestamp(at)))
    }

    /// Takes so many of a day's quota that all nodes share, if it has room for all of them; answers how many are used then.
    /// What nodes have told that counted by themselves is used as well.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_of_quota(
        &self,
        day: i64,
        key: &str,
        count: u32,
        quota: u32,
        now: Timestamp,
    ) -> Result<Option<u64>> {
        let row: Option<(i64,)> = directly!(&self.db, conn => sqlx::query_as(
            "INSERT INTO usage (day, key, node, count, told_at)
            SELECT $1, $2, '', told.used + $3, $5 FROM (SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) AS used
                FROM usage WHERE day = $1 AND key = $2 AND node <> '') told WHERE told.used + $3 <= $4
            ON CONFLICT (day, key, node) DO UPDATE SET count = usage.count + $3, told_at = excluded.told_at
            WHERE usage.count + $3 <= $4 RETURNING count")
            .bind(day).bind(key.to_owned()).bind(i64::from(count)).bind(i64::from(quota)).bind(now.0)
            .fetch_optional(conn).await)?;
        Ok(row.map(|(used,)| u64::try_from(used).unwrap_or(0)))
    }

    /// How much of a day's quota that all nodes share is used, and when something was last taken of it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn used_of_quota(&self, day: i64, key: &str) -> Result<(u64, Timestamp)> {
        let row: Option<(i64, i64)> = directly!(readers of &self.db, conn => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(CASE WHEN node = '' THEN count END), SUM(count), 0) AS BIGINT),
                COALESCE(MAX(CASE WHEN node = '' THEN told_at END), 0)
            FROM usage WHERE day = $1 AND key = $2")
            .bind(day).bind(key.to_owned()).fetch_optional(conn).await)?;
        let (used, at) = row.unwrap_or_default();
        Ok((u64::try_from(used).unwrap_or(0), Timestamp(at)))
    }

    /// Gives back what was taken of what all nodes share and not used: of quotas tasks, of rates units.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn give_back(&self, unused: &[Usage], now: Timestamp) -> Result<()> {
        self.write_usage(&GIVE_BACK, unused, now).await
    }
}

impl Tx {
    /// Takes one of so many that there are in a window of time, which begins with the first; answers how many milliseconds
    /// are left of it if there is none left.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_in_window(
        &mut self,
        key: &str,
        most: u32,
        window_ms: i64,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        // What a clock wrote that was ahead does not count.
        let taken = on!(self, conn => sqlx::query(
            "INSERT INTO usage (day, key, node, count, told_at) VALUES (0, $1, '', 1, $2)
            ON CONFLICT (day, key, node) DO UPDATE SET
                count = CASE WHEN $2 - usage.told_at BETWEEN 0 AND $3 - 1 THEN usage.count + 1 ELSE 1 END,
                told_at = CASE WHEN $2 - usage.told_at BETWEEN 0 AND $3 - 1 THEN usage.told_at ELSE $2 END
            WHERE usage.count < $4 OR NOT ($2 - usage.told_at BETWEEN 0 AND $3 - 1)")
            .bind(key.to_owned()).bind(now.0).bind(window_ms).bind(i64::from(most))
            .execute(conn).await.map(|done| done.rows_affected()))?;
        if taken > 0 {
            return Ok(None);
        }
        let row: Option<(i64,)> = on!(self, conn => sqlx::query_as(
            "SELECT told_at FROM usage WHERE day = 0 AND key = $1 AND node = ''")
            .bind(key.to_owned()).fetch_optional(conn).await)?;
        Ok(Some(row.map_or(1, |(since,)| since + window_ms - now.0)))
    }

    /// What nodes other than this one have told since a time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn usage_since(&mut self, node: &str, since: Timestamp) -> Result<Vec<Usage>> {
        let rows: Vec<UsageRow> = on!(self, conn => sqlx::query_as(
            "SELECT day, key, node, count FROM usage WHERE told_at >= $1 AND node <> $2 AND node <> '' ORDER BY day, key, node")
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
