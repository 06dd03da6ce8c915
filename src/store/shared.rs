//! What is public, and who builds on what: the questions about Pushers that concern more than one account.

use sqlx::QueryBuilder;

use super::pushers::{COLUMNS, PusherRow};
use super::rows::newest_first;
use super::{PusherKind, Sealer, StoredPusher, Tx, on};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::refusal::Dependent;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Most dependents that are named.
const SHOWN_DEPENDENTS: i64 = 100;

impl Tx {
    /// Shared Pushers of one kind, newest first, that are older than `before`. With a text, those whose name, or whose
    /// base's id or name, contains it; ASCII letters of either case are the same.
    ///
    /// # Errors
    /// If the database fails or a definition does not open.
    pub async fn shared_pushers(
        &mut self,
        sealer: &Sealer,
        kind: PusherKind,
        text: Option<&str>,
        before: Option<(Timestamp, PusherId)>,
        limit: i64,
    ) -> Result<Vec<StoredPusher>> {
        let rows: Vec<PusherRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("shared AND kind = ").push_bind(kind.as_str());
            if let Some(pattern) = text.map(containing) {
                query.push(" AND (LOWER(name) LIKE ").push_bind(pattern.clone());
                query.push(" ESCAPE '!' OR EXISTS (SELECT 1 FROM pusher_base b LEFT JOIN pusher p ON p.id = b.base_id
                    WHERE b.pusher_id = pusher.id AND (b.base_id LIKE ").push_bind(pattern.clone());
                query.push(" ESCAPE '!' OR LOWER(p.name) LIKE ").push_bind(pattern).push(" ESCAPE '!')))");
            }
            newest_first!(query, "id", before, limit);
            query.build_query_as().fetch_all(conn).await
        })?;
        rows.into_iter().map(|row| row.open(sealer)).collect()
    }

    /// The Pushers that are built directly on this one: up to a hundred of those that an account may see (its own and
    /// shared ones; all if no account is given), and how many there are beside them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn dependents_of(&mut self, id: &PusherId, seen_by: Option<&AccountId>) -> Result<(Vec<Dependent>, u64)> {
        let rows: Vec<(String, String)> = on!(&mut *self, conn => {
            let mut query = QueryBuilder::<Db>::new(
                "SELECT p.id, p.name FROM pusher_base b JOIN pusher p ON p.id = b.pusher_id WHERE b.base_id = ");
            query.push_bind(id.as_str().to_owned());
            if let Some(account) = seen_by {
                query.push(" AND (p.shared OR p.owner = ").push_bind(account.as_str().to_owned()).push(")");
            }
            query.push(" ORDER BY p.id LIMIT ").push_bind(SHOWN_DEPENDENTS);
            query.build_query_as().fetch_all(conn).await
        })?;
        let (all,): (i64,) = on!(self, conn => sqlx::query_as("SELECT COUNT(*) FROM pusher_base WHERE base_id = $1")
            .bind(id.as_str().to_owned()).fetch_one(conn).await)?;
        let shown = dependents(rows);
        let others = u64::try_from(all).unwrap_or(0).saturating_sub(u64::try_from(shown.len()).unwrap_or(0));
        Ok((shown, others))
    }

    /// Pushers of others that are built on an account's, at most a hundred.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn foreign_dependents(&mut self, owner: &AccountId) -> Result<Vec<Dependent>> {
        let rows: Vec<(String, String)> = on!(self, conn => sqlx::query_as(
            "SELECT DISTINCT upper_.id, upper_.name FROM pusher base JOIN pusher_base ON pusher_base.base_id = base.id
             JOIN pusher upper_ ON upper_.id = pusher_base.pusher_id
             WHERE base.owner = $1 AND upper_.owner <> $1 ORDER BY upper_.id LIMIT $2")
            .bind(owner.as_str().to_owned()).bind(SHOWN_DEPENDENTS).fetch_all(conn).await)?;
        Ok(dependents(rows))
    }
}

fn dependents(rows: Vec<(String, String)>) -> Vec<Dependent> {
    rows.into_iter().map(|(id, name)| Dependent { id: PusherId::new(id), name }).collect()
}

/// The pattern for what contains a text, in lower case, with `!` in front of what means something in a pattern.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_pattern_is_taken_literally() {
        assert_eq!(containing("Ä_50% off!"), "%Ä!_50!% off!!%");
    }
}
