//! Presets and Groups. What they are made of is sealed as a whole: any parameter may turn out to be a secret.

use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;

use super::rows::{from_row, newest_first};
use super::{Column, Sealer, Tx, on};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::params::Params;
use crate::domain::pusher::{Group, Member, ParamMap, Preset, Strategy};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// A Pusher that belongs to an account.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredPusher {
    Preset(Preset),
    Group(Group),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PusherKind {
    Preset,
    Group,
}

impl PusherKind {
    /// The word for it, in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preset => "preset",
            Self::Group => "group",
        }
    }
}

/// What the sealed column holds; also the format on disk, so fields are only ever added.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Definition {
    Preset { base_pusher: PusherId, params: Params, redefine_content: Option<String> },
    Group { pushers: Vec<Member>, param_map: ParamMap, redefine_content: Option<String>, strategy: Strategy },
}

/// The beginning of every query for Pushers.
pub(super) const COLUMNS: &str =
    "SELECT id, owner, name, definition, protected, shared, created_at, updated_at FROM pusher WHERE ";

pub(super) struct PusherRow {
    id: String,
    owner: String,
    name: String,
    definition: String,
    protected: bool,
    shared: bool,
    created_at: i64,
    updated_at: i64,
}

from_row!(PusherRow, |row| {
    Ok(Self {
        id: row.try_get("id")?,
        owner: row.try_get("owner")?,
        name: row.try_get("name")?,
        definition: row.try_get("definition")?,
        protected: row.try_get("protected")?,
        shared: row.try_get("shared")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
});

impl PusherRow {
    pub(super) fn open(self, sealer: &Sealer) -> Result<StoredPusher> {
        let text = sealer.open(&self.id, &self.definition).map_err(|e| Error::Broken(e.into()))?;
        let definition = serde_json::from_str(&text).map_err(|e| Error::Broken(e.into()))?;
        let (id, owner, name) = (PusherId::new(self.id), AccountId::new(self.owner), self.name);
        let (protected, shared) = (self.protected, self.shared);
        let (created_at, updated_at) = (Timestamp(self.created_at), Timestamp(self.updated_at));
        Ok(match definition {
            Definition::Preset { base_pusher, params, redefine_content } => StoredPusher::Preset(Preset {
                id,
                owner,
                name,
                base_pusher,
                params,
                redefine_content,
                protected,
                shared,
                created_at,
                updated_at,
            }),
            Definition::Group { pushers, param_map, redefine_content, strategy } => StoredPusher::Group(Group {
                id,
                owner,
                name,
                pushers,
                param_map,
                redefine_content,
                strategy,
                protected,
                shared,
                created_at,
                updated_at,
            }),
        })
    }
}

impl StoredPusher {
    /// Its id.
    pub fn id(&self) -> &PusherId {
        match self {
            Self::Preset(preset) => &preset.id,
            Self::Group(group) => &group.id,
        }
    }

    /// The account that it belongs to.
    pub fn owner(&self) -> &AccountId {
        match self {
            Self::Preset(preset) => &preset.owner,
            Self::Group(group) => &group.owner,
        }
    }

    /// What its owner calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Preset(preset) => &preset.name,
            Self::Group(group) => &group.name,
        }
    }

    /// Which of the two it is.
    pub fn kind(&self) -> PusherKind {
        match self {
            Self::Preset(_) => PusherKind::Preset,
            Self::Group(_) => PusherKind::Group,
        }
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        match self {
            Self::Preset(preset) => preset.created_at,
            Self::Group(group) => group.created_at,
        }
    }

    /// What it is built on, each once.
    pub fn bases(&self) -> Vec<PusherId> {
        let mut bases: Vec<PusherId> = match self {
            Self::Preset(preset) => vec![preset.base_pusher.clone()],
            Self::Group(group) => group.pushers.iter().map(|member| member.base_pusher.clone()).collect(),
        };
        bases.sort();
        bases.dedup();
        bases
    }

    fn sealed(&self, sealer: &Sealer) -> Result<String> {
        let definition = match self {
            Self::Preset(preset) => Definition::Preset {
                base_pusher: preset.base_pusher.clone(),
                params: preset.params.clone(),
                redefine_content: preset.redefine_content.clone(),
            },
            Self::Group(group) => Definition::Group {
                pushers: group.pushers.clone(),
                param_map: group.param_map.clone(),
                redefine_content: group.redefine_content.clone(),
                strategy: group.strategy,
            },
        };
        let text = serde_json::to_string(&definition).map_err(|e| Error::Broken(e.into()))?;
        Ok(sealer.seal(Column::Definition, self.id().as_str(), &text))
    }

    fn columns(&self) -> (&str, bool, bool, Timestamp, Timestamp) {
        match self {
            Self::Preset(p) => (&p.name, p.protected, p.shared, p.created_at, p.updated_at),
            Self::Group(g) => (&g.name, g.protected, g.shared, g.created_at, g.updated_at),
        }
    }
}

impl Tx {
    /// The Preset or Group with this id.
    ///
    /// # Errors
    /// If the database fails or the definition does not open.
    pub async fn pusher(&mut self, sealer: &Sealer, id: &PusherId) -> Result<Option<StoredPusher>> {
        let row: Option<PusherRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("id = ").push_bind(id.as_str().to_owned());
            query.build_query_as().fetch_optional(conn).await
        })?;
        row.map(|row| row.open(sealer)).transpose()
    }

    /// An account's Pushers, newest first, of one kind or both, that are older than `before`.
    ///
    /// # Errors
    /// If the database fails or a definition does not open.
    pub async fn pushers_of(
        &mut self,
        sealer: &Sealer,
        owner: &AccountId,
        kind: Option<PusherKind>,
        before: Option<(Timestamp, PusherId)>,
        limit: i64,
    ) -> Result<Vec<StoredPusher>> {
        let rows: Vec<PusherRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("owner = ").push_bind(owner.as_str().to_owned());
            if let Some(kind) = kind {
                query.push(" AND kind = ").push_bind(kind.as_str());
            }
            newest_first!(query, "id", before, limit);
            query.build_query_as().fetch_all(conn).await
        })?;
        rows.into_iter().map(|row| row.open(sealer)).collect()
    }

    /// Ids of all Pushers of an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn pusher_ids_of(&mut self, owner: &AccountId) -> Result<Vec<PusherId>> {
        let rows: Vec<(String,)> = on!(self, conn => sqlx::query_as("SELECT id FROM pusher WHERE owner = $1 ORDER BY id")
            .bind(owner.as_str().to_owned()).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|(id,)| PusherId::new(id)).collect())
    }

    /// How many Presets and Groups an account has.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_pushers(&mut self, owner: &AccountId) -> Result<i64> {
        let (count,): (i64,) = on!(self, conn => sqlx::query_as("SELECT COUNT(*) FROM pusher WHERE owner = $1")
            .bind(owner.as_str().to_owned()).fetch_one(conn).await)?;
        Ok(count)
    }

    /// Adds a Pusher.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_pusher(&mut self, sealer: &Sealer, pusher: &StoredPusher) -> Result<()> {
        let definition = pusher.sealed(sealer)?;
        let (name, protected, shared, created_at, updated_at) = pusher.columns();
        on!(self, conn => sqlx::query(
            "INSERT INTO pusher (id, owner, kind, name, definition, protected, shared, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(pusher.id().as_str().to_owned())
            .bind(pusher.owner().as_str().to_owned())
            .bind(pusher.kind().as_str())
            .bind(name.to_owned())
            .bind(definition)
            .bind(protected)
            .bind(shared)
            .bind(created_at.0)
            .bind(updated_at.0)
            .execute(conn).await.map(drop))?;
        self.insert_bases(pusher).await
    }

    /// Replaces a Pusher's content; `false` if it is not there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn update_pusher(&mut self, sealer: &Sealer, pusher: &StoredPusher) -> Result<bool> {
        let definition = pusher.sealed(sealer)?;
        let (name, protected, shared, _, updated_at) = pusher.columns();
        let changed = on!(self, conn => sqlx::query(
            "UPDATE pusher SET name = $1, definition = $2, protected = $3, shared = $4, updated_at = $5 WHERE id = $6")
            .bind(name.to_owned())
            .bind(definition)
            .bind(protected)
            .bind(shared)
            .bind(updated_at.0)
            .bind(pusher.id().as_str().to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        on!(self, conn => sqlx::query("DELETE FROM pusher_base WHERE pusher_id = $1")
            .bind(pusher.id().as_str().to_owned()).execute(conn).await.map(drop))?;
        if changed == 1 {
            self.tell_changed(pusher.id()).await?;
            self.insert_bases(pusher).await?;
        }
        Ok(changed == 1)
    }

    /// Removes a Pusher; `false` if it is not there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_pusher(&mut self, id: &PusherId) -> Result<bool> {
        self.tell_changed(id).await?;
        let gone = on!(self, conn => sqlx::query("DELETE FROM pusher WHERE id = $1")
            .bind(id.as_str().to_owned()).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(gone == 1)
    }

    /// The Pushers that are built on this one, directly or through others, each once.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all_dependents_of(&mut self, id: &PusherId, limit: i64) -> Result<Vec<PusherId>> {
        let rows: Vec<(String,)> = on!(self, conn => sqlx::query_as(
            "WITH RECURSIVE above (id) AS (
                SELECT pusher_id FROM pusher_base WHERE base_id = $1
                UNION
                SELECT pusher_base.pusher_id FROM pusher_base JOIN above ON pusher_base.base_id = above.id
             )
             SELECT id FROM above ORDER BY id LIMIT $2")
            .bind(id.as_str().to_owned()).bind(limit).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|(id,)| PusherId::new(id)).collect())
    }

    async fn insert_bases(&mut self, pusher: &StoredPusher) -> Result<()> {
        for base in pusher.bases() {
            on!(self, conn => sqlx::query("INSERT INTO pusher_base (pusher_id, base_id) VALUES ($1, $2)")
                .bind(pusher.id().as_str().to_owned()).bind(base.as_str().to_owned())
                .execute(conn).await.map(drop))?;
        }
        Ok(())
    }
}
