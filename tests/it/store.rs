//! The database by itself: what each method promises, on a database of its own for each test.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::domain::account::{Account, Role};
use fanfare::domain::agenda::{Ask, Limits};
use fanfare::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use fanfare::domain::pusher::{Group, Member, Preset, Strategy};
use fanfare::domain::task::TaskState;
use fanfare::domain::time::Timestamp;
use fanfare::error::Error;
use fanfare::store::{
    Location, NewAccount, NewTask, News, PusherKind, SecretKey, Store, StoredPusher, TaskCounts, TaskFilter, TokenHash,
    Tx,
};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::database::{CONNECTIONS, Database, Fresh, both};

both!(
    only_the_key_of_the_first_start_opens_it,
    settings_stay_as_they_were_first_set,
    an_address_belongs_to_one_account,
    a_token_ends_unless_it_is_used,
    a_pusher_comes_back_as_it_was,
    a_pusher_does_not_open_elsewhere,
    lists_of_pushers_are_newest_first,
    who_builds_on_whom_follows_every_change,
    everything_above_a_pusher_is_found,
    a_pusher_has_an_owner,
    a_task_comes_back_as_it_was,
    what_was_not_committed_is_not_there,
    tasks_are_counted_by_state,
    finished_tasks_are_removed_by_age_and_in_steps,
    those_who_edit_at_the_same_time_wait_for_each_other,
    readers_do_not_wait_for_a_writer,
    a_closed_database_is_busy,
);

/// A database of its own, and what is needed to open it again.
pub struct Base {
    pub store: Store,
    pub location: Location,
    _folder: TempDir,
    _database: Option<Fresh>,
}

pub const KEY: [u8; 32] = [7; 32];
pub const LIMITS: Limits = Limits { total: 8, per_host: 4 };

impl Base {
    /// A new database of the kind that the test is for.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (location, database) = match Database::of_this_test() {
            Database::Sqlite => (Location::Sqlite { file: folder.path().join("test.db"), durable: false }, None),
            Database::Postgres => {
                let database = Fresh::new().await;
                let location = Location::Postgres { url: database.url.clone(), max_connections: CONNECTIONS };
                (location, Some(database))
            }
        };
        let store = Store::open(&location, &SecretKey::from_bytes(KEY), LIMITS).await.unwrap();
        let base = Self { store, location, _folder: folder, _database: database };
        for name in ["ann", "bob"] {
            let mut tx = base.write().await;
            assert!(tx.insert_account(&account(name)).await.unwrap());
            tx.commit().await.unwrap();
        }
        base
    }

    /// Opens it once more, under this key.
    pub async fn open(&self, key: [u8; 32]) -> anyhow::Result<Store> {
        Store::open(&self.location, &SecretKey::from_bytes(key), LIMITS).await
    }

    pub async fn write(&self) -> Tx {
        self.store.write().await.unwrap()
    }

    pub async fn read(&self) -> Tx {
        self.store.read().await.unwrap()
    }

    async fn keep(&self, pusher: &StoredPusher) {
        let mut tx = self.write().await;
        tx.insert_pusher(self.store.sealer(), pusher).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn pusher(&self, id: &PusherId) -> Option<StoredPusher> {
        self.read().await.pusher(self.store.sealer(), id).await.unwrap()
    }
}

fn account(name: &str) -> NewAccount {
    let email = format!("{name}@example.com");
    NewAccount {
        account: Account {
            id: AccountId::new(name),
            email: email.clone(),
            role: Role::User,
            confirmed: true,
            disabled: false,
            created_at: Timestamp(1000),
        },
        email_key: email,
        password_hash: format!("hash of {name}"),
    }
}

fn preset(id: &str, base: &str, at: i64) -> StoredPusher {
    StoredPusher::Preset(Preset {
        id: PusherId::new(id),
        owner: AccountId::new("ann"),
        name: format!("preset {id}"),
        base_pusher: PusherId::new(base),
        params: serde_json::json!({ "b": 1, "a": ["磁盘", null] }).as_object().unwrap().clone(),
        redefine_content: Some("_title_1".to_owned()),
        protected: true,
        shared: false,
        created_at: Timestamp(at),
        updated_at: Timestamp(at + 1),
    })
}

fn group(id: &str, bases: &[&str], at: i64) -> StoredPusher {
    let member = |(n, base): (usize, &&str)| Member {
        name: format!("p{n}"),
        base_pusher: PusherId::new(*base),
        params: Default::default(),
    };
    StoredPusher::Group(Group {
        id: PusherId::new(id),
        owner: AccountId::new("ann"),
        name: format!("group {id}"),
        pushers: bases.iter().enumerate().map(member).collect(),
        param_map: vec![("z".to_owned(), vec!["p0.a".to_owned()]), ("a".to_owned(), vec!["p0.b".to_owned()])],
        redefine_content: None,
        strategy: Strategy::Fallback,
        protected: false,
        shared: true,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    })
}

/// A task of a push made at this time, in the lane `ann@<host>`, due at once.
pub fn task(at: i64, position: usize, host: &str) -> NewTask {
    let push = PushId::new(time_ordered(at, 0));
    NewTask {
        id: TaskId::of(&push, position),
        owner: AccountId::new("ann"),
        pusher_id: PusherId::new("preset"),
        service: "webhook".to_owned(),
        name: (position > 0).then(|| format!("p{position}")),
        fallback: false,
        state: TaskState::Waiting,
        lane: format!("ann@{host}"),
        run_at: Timestamp(at),
        payload: "sealed".to_owned(),
        created_at: Timestamp(at),
    }
}

/// On PostgreSQL nodes tell each other what has changed.
#[tokio::test]
async fn what_another_process_writes_into_the_file_is_noticed_and_what_this_one_writes_is_not() {
    let base = Base::start().await;
    let mut news = base.store.join("node");
    let (began, mut at) = (Instant::now(), 0);
    // Long enough that it was looked at more than once, and so much that the log was moved to the file.
    while began.elapsed() < Duration::from_millis(1300) || at < 3000 {
        at += 64;
        base.store.record((at - 64..at).map(|at| task(at, 0, "host")).collect()).await.unwrap();
    }
    assert!(news.try_recv().is_err(), "nobody else has written");
    let other = base.open(KEY).await.unwrap();
    other.record(vec![task(at, 0, "host")]).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap();
    assert!(matches!(told, Some(News::Elsewhere)), "{told:?}");
    base.store.close().await;
    while tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().is_some() {}
}

async fn only_the_key_of_the_first_start_opens_it() {
    let base = Base::start().await;
    base.keep(&preset("p", "webhook", 1)).await;
    let refused = base.open([8; 32]).await.err().unwrap().to_string();
    assert_eq!(refused, "the secret key is not the one that this database was sealed with");
    let again = base.open(KEY).await.unwrap();
    assert!(again.read().await.unwrap().pusher(again.sealer(), &PusherId::new("p")).await.unwrap().is_some());
    assert!(again.is_alive().await && base.store.is_alive().await);
}

async fn settings_stay_as_they_were_first_set() {
    let base = Base::start().await;
    let mut tx = base.write().await;
    assert_eq!(tx.setting("colour").await.unwrap(), None);
    for value in ["red", "blue"] {
        tx.insert_setting("colour", value).await.unwrap();
        assert_eq!(tx.setting("colour").await.unwrap().as_deref(), Some("red"));
    }
}

async fn an_address_belongs_to_one_account() {
    let base = Base::start().await;
    let mut other = account("eve");
    other.email_key = "ann@example.com".to_owned();
    other.account.role = Role::Admin;
    let mut tx = base.write().await;
    assert!(!tx.insert_account(&other).await.unwrap());
    other.email_key = "eve@example.com".to_owned();
    assert!(tx.insert_account(&other).await.unwrap());
    assert_eq!(tx.account(&other.account.id).await.unwrap(), Some(other.account.clone()));
    assert_eq!(tx.account(&AccountId::new("nobody")).await.unwrap(), None);
    let found = tx.account_by_email("eve@example.com").await.unwrap();
    assert_eq!(found, Some((other.account.clone(), "hash of eve".to_owned())));
    tx.set_password_of(&other.account.id, "another").await.unwrap();
    assert_eq!(tx.account_by_email("eve@example.com").await.unwrap().unwrap().1, "another");
    assert_eq!(tx.account_by_email("ann@example.com").await.unwrap().unwrap().1, "hash of ann");
}

async fn a_token_ends_unless_it_is_used() {
    let base = Base::start().await;
    let (hash, ann) = (TokenHash::of("ff_1"), AccountId::new("ann"));
    let mut tx = base.write().await;
    tx.insert_token(&hash, &ann, Timestamp(100), Timestamp(200)).await.unwrap();
    let holder = async |tx: &mut Tx| {
        let (account, used, ends) = tx.token_holder(&hash).await.unwrap().unwrap();
        (account.id.to_string(), used.0, ends.0)
    };
    assert_eq!(holder(&mut tx).await, ("ann".to_owned(), 100, 200));
    tx.touch_token(&hash, Timestamp(150), Timestamp(300)).await.unwrap();
    assert_eq!(holder(&mut tx).await, ("ann".to_owned(), 150, 300));
    assert_eq!(tx.token_holder(&TokenHash::of("ff_2")).await.unwrap(), None);
    assert_eq!(tx.remove_ended_tokens(Timestamp(299)).await.unwrap(), 0);
    assert_eq!(tx.remove_ended_tokens(Timestamp(300)).await.unwrap(), 1);
    assert_eq!(tx.token_holder(&hash).await.unwrap(), None);
}

async fn a_pusher_comes_back_as_it_was() {
    let base = Base::start().await;
    for pusher in [preset("p", "webhook", 5), group("g", &["webhook", "p", "p"], 6)] {
        base.keep(&pusher).await;
        assert_eq!(base.pusher(pusher.id()).await, Some(pusher));
    }
    let StoredPusher::Preset(before) = preset("p", "ntfy", 5) else { unreachable!("a Preset") };
    let changed = StoredPusher::Preset(Preset { redefine_content: None, protected: false, shared: true, ..before });
    let mut tx = base.write().await;
    assert!(tx.update_pusher(base.store.sealer(), &changed).await.unwrap());
    assert!(!tx.update_pusher(base.store.sealer(), &preset("nowhere", "ntfy", 5)).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(base.pusher(changed.id()).await, Some(changed));
    assert_eq!(base.pusher(&PusherId::new("nowhere")).await, None);
}

async fn a_pusher_does_not_open_elsewhere() {
    let base = Base::start().await;
    base.keep(&preset("p", "webhook", 5)).await;
    let other = fanfare::store::Sealer::new(&SecretKey::from_bytes([8; 32]));
    let found = base.read().await.pusher(&other, &PusherId::new("p")).await;
    assert!(matches!(found, Err(Error::Broken(_))), "{found:?}");
}

async fn lists_of_pushers_are_newest_first() {
    let base = Base::start().await;
    for pusher in
        [preset("a", "webhook", 1), group("b", &["webhook"], 2), preset("c", "webhook", 2), preset("d", "x", 3)]
    {
        base.keep(&pusher).await;
    }
    let list = async |owner, kind, before: Option<(i64, &str)>, limit| {
        let before = before.map(|(at, id)| (Timestamp(at), PusherId::new(id)));
        let mut tx = base.read().await;
        let found = tx.pushers_of(base.store.sealer(), &AccountId::new(owner), kind, before, limit).await.unwrap();
        found.iter().map(|pusher| pusher.id().to_string()).collect::<Vec<_>>().concat()
    };
    assert_eq!(list("ann", None, None, 10).await, "dcba");
    assert_eq!(list("ann", None, None, 2).await, "dc");
    assert_eq!(list("ann", None, Some((2, "c")), 10).await, "ba");
    assert_eq!(list("ann", None, Some((2, "b")), 10).await, "a");
    assert_eq!(list("ann", Some(PusherKind::Preset), None, 10).await, "dca");
    assert_eq!(list("ann", Some(PusherKind::Group), Some((3, "d")), 10).await, "b");
    assert_eq!(list("bob", None, None, 10).await, "");
}

async fn who_builds_on_whom_follows_every_change() {
    let base = Base::start().await;
    for pusher in [preset("a", "webhook", 1), preset("b", "a", 2), group("g", &["a", "b", "a"], 3)] {
        base.keep(&pusher).await;
    }
    let dependents = async |id| {
        let (found, others) = base.read().await.dependents_of(&PusherId::new(id), None).await.unwrap();
        assert_eq!(others, 0);
        found.iter().map(|dependent| dependent.id.to_string()).collect::<Vec<_>>().concat()
    };
    assert_eq!((dependents("a").await, dependents("b").await), ("bg".to_owned(), "g".to_owned()));
    let mut tx = base.write().await;
    tx.update_pusher(base.store.sealer(), &group("g", &["webhook"], 3)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((dependents("a").await, dependents("b").await), ("b".to_owned(), String::new()));
    assert_eq!(dependents("webhook").await, "ag");
    let mut tx = base.write().await;
    assert!(tx.delete_pusher(&PusherId::new("b")).await.unwrap());
    assert!(!tx.delete_pusher(&PusherId::new("b")).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(dependents("a").await, "");
}

async fn everything_above_a_pusher_is_found() {
    let base = Base::start().await;
    let mut tx = base.write().await;
    for n in 0..150 {
        let below = if n % 3 == 0 { "root".to_owned() } else { format!("p{:03}", n - 1) };
        tx.insert_pusher(base.store.sealer(), &preset(&format!("p{n:03}"), &below, 1)).await.unwrap();
    }
    // Nobody can make a circle, but looking at one must end.
    tx.insert_pusher(base.store.sealer(), &group("root", &["p000", "p005", "webhook"], 1)).await.unwrap();
    let root = PusherId::new("root");
    let found = tx.all_dependents_of(&root, 1000).await.unwrap();
    let mut expected: Vec<_> = (0..150).map(|n| PusherId::new(format!("p{n:03}"))).collect();
    expected.push(root.clone());
    assert_eq!(found, expected);
    assert_eq!(tx.all_dependents_of(&root, 7).await.unwrap(), expected[..7]);
    assert_eq!(tx.all_dependents_of(&PusherId::new("p149"), 7).await.unwrap(), []);
    assert_eq!(tx.dependents_of(&root, None).await.unwrap().0.len(), 50);
}

async fn a_pusher_has_an_owner() {
    let base = Base::start().await;
    let mut tx = base.write().await;
    let StoredPusher::Preset(orphan) = preset("o", "webhook", 1) else { unreachable!("a Preset") };
    let orphan = StoredPusher::Preset(Preset { owner: AccountId::new("nobody"), ..orphan });
    assert!(tx.insert_pusher(base.store.sealer(), &orphan).await.is_err());
}

async fn a_task_comes_back_as_it_was() {
    let base = Base::start().await;
    let new = NewTask { fallback: true, state: TaskState::Held, run_at: Timestamp(9), ..task(5, 3, "a") };
    base.store.record(vec![new.clone()]).await.unwrap();
    let mut tx = base.read().await;
    let kept = tx.task(&new.id).await.unwrap().unwrap();
    assert_eq!((&kept.id, &kept.owner, &kept.pusher_id), (&new.id, &new.owner, &new.pusher_id));
    assert_eq!((&kept.service, &kept.name, &kept.lane), (&new.service, &new.name, &new.lane));
    assert_eq!(
        (kept.fallback, kept.state, kept.run_at, kept.created_at),
        (true, TaskState::Held, Timestamp(9), Timestamp(5))
    );
    assert_eq!((&kept.payload, kept.started_at, kept.finished_at), (&new.payload, None, None));
    assert!(kept.error.is_none() && kept.attempts.is_empty());
    assert!(tx.task(&task(6, 3, "a").id).await.unwrap().is_none());
    drop(tx);
    assert!(base.store.record(vec![new]).await.is_err(), "an id is used once");
}

async fn what_was_not_committed_is_not_there() {
    let base = Base::start().await;
    let mut tx = base.write().await;
    tx.insert_setting("colour", "red").await.unwrap();
    drop(tx);
    assert_eq!(base.read().await.setting("colour").await.unwrap(), None);
    // Of one push all tasks are recorded, or none.
    base.store.record(vec![task(2, 1, "a")]).await.unwrap();
    assert!(base.store.record(vec![task(2, 0, "a"), task(2, 1, "a")]).await.is_err());
    assert_eq!(base.read().await.tasks(&TaskFilter::default(), 10).await.unwrap().len(), 1);
}

async fn tasks_are_counted_by_state() {
    let base = Base::start().await;
    assert_eq!(base.read().await.count_tasks().await.unwrap(), TaskCounts::default());
    base.store.record((0..70).map(|at| task(at, 0, "a")).collect()).await.unwrap();
    base.store.record(vec![NewTask { state: TaskState::Held, ..task(100, 1, "a") }]).await.unwrap();
    base.store.claim("w", &[Ask::any("ann@a", 3)], Timestamp(100), Timestamp(200)).await.unwrap();
    assert_eq!(base.read().await.count_tasks().await.unwrap(), TaskCounts { waiting: 67, running: 3 });
}

async fn finished_tasks_are_removed_by_age_and_in_steps() {
    let base = Base::start().await;
    base.store.record((0..6).map(|at| task(at, 0, "a")).collect()).await.unwrap();
    for at in 0..5 {
        let mut tx = base.write().await;
        assert!(tx.revoke_task(&task(at, 0, "a").id, Timestamp(1000 + at)).await.unwrap());
        tx.commit().await.unwrap();
    }
    let left = async || {
        let tasks = base.read().await.tasks(&TaskFilter::default(), 10).await.unwrap();
        tasks.iter().map(|task| task.created_at.0).collect::<Vec<_>>()
    };
    let remove = async |before, limit| {
        let mut tx = base.write().await;
        let removed = tx.remove_finished_tasks(Timestamp(before), limit).await.unwrap();
        tx.commit().await.unwrap();
        removed
    };
    assert_eq!(remove(1000, 10).await, 0);
    assert_eq!(remove(1003, 2).await, 2);
    assert_eq!(left().await, [5, 4, 3, 2], "the oldest go first");
    assert_eq!(remove(i64::MAX, 10).await, 3);
    assert_eq!(left().await, [5], "what waits stays, however old");
}

async fn those_who_edit_at_the_same_time_wait_for_each_other() {
    let base = Base::start().await;
    // A second process beside the server.
    let beside = base.open(KEY).await.unwrap();
    let stores = [Arc::new(base.store.clone()), Arc::new(beside)];
    let mut writers = tokio::task::JoinSet::new();
    for turn in 0..40_i64 {
        let store = Arc::clone(&stores[usize::try_from(turn % 2).unwrap()]);
        writers.spawn(async move {
            store.record(vec![task(turn, 0, "a"), task(turn, 1, "a")]).await.unwrap();
            let mut tx = store.edit().await.unwrap();
            let count = async |tx: &mut Tx| {
                tx.pushers_of(store.sealer(), &AccountId::new("ann"), None, None, 100).await.unwrap().len()
            };
            let seen = count(&mut tx).await;
            tokio::task::yield_now().await;
            tx.insert_pusher(store.sealer(), &preset(&format!("p{turn}"), "webhook", turn)).await.unwrap();
            assert_eq!(count(&mut tx).await, seen + 1, "nobody edits meanwhile");
            tx.commit().await.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let mut tx = base.read().await;
    assert_eq!(tx.count_tasks().await.unwrap().waiting, 80);
    let kept = tx.pushers_of(base.store.sealer(), &AccountId::new("ann"), None, None, 100).await.unwrap();
    assert_eq!(kept.len(), 40);
}

async fn readers_do_not_wait_for_a_writer() {
    let base = Base::start().await;
    let mut writer = base.write().await;
    writer.insert_setting("colour", "red").await.unwrap();
    assert_eq!(base.read().await.setting("colour").await.unwrap(), None, "as it was before");
    writer.commit().await.unwrap();
    assert_eq!(base.read().await.setting("colour").await.unwrap().as_deref(), Some("red"));
}

async fn a_closed_database_is_busy() {
    let base = Base::start().await;
    base.store.close().await;
    assert!(!base.store.is_alive().await);
    assert!(matches!(base.store.read().await.err(), Some(Error::Busy { .. })));
    assert!(matches!(base.store.record(vec![task(1, 0, "a")]).await, Err(Error::Busy { .. })));
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_told_without_its_password() {
    let nowhere = Location::Sqlite { file: PathBuf::from("/nowhere/at/all.db"), durable: true };
    let told = Store::open(&nowhere, &SecretKey::from_bytes(KEY), LIMITS).await.err().unwrap().to_string();
    assert_eq!(told, "the database /nowhere/at/all.db could not be opened");
    for (url, told) in [
        ("postgres://ann:hunter2@127.0.0.1:9/none", "PostgreSQL could not be reached"),
        ("postgres://ann:hunter2@[none", "the database URL is malformed"),
    ] {
        let nowhere = Location::Postgres { url: url.to_owned(), max_connections: 2 };
        let error = Store::open(&nowhere, &SecretKey::from_bytes(KEY), LIMITS).await.err().unwrap();
        assert_eq!(error.to_string(), told);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
