//! Who may do what, cell by cell: every action, by everybody, with a Pusher in every state, asked over HTTP. The table
//! is `domain/permission.rs`; what is refused, and how, stands here.

use fanfare::domain::permission::{Action, Relation, Standing, may};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, text};
use crate::support::http_sink::HttpSink;
use crate::support::world::{World, both, webhook, with};

both!(what_presets_allow, what_groups_allow, what_services_allow);

const ACTIONS: [Action; 9] = [
    Action::See,
    Action::SeeSecrets,
    Action::BuildOn,
    Action::Push,
    Action::Change,
    Action::Share,
    Action::Delete,
    Action::Revoke,
    Action::ReadTasks,
];
const RELATIONS: [Relation; 4] = [Relation::Anonymous, Relation::Stranger, Relation::Owner, Relation::Admin];
const SECRET: &str = "N0b0dy-reads-this";

/// Everybody who can want something, and somewhere to send it.
struct Cast {
    world: World,
    sink: HttpSink,
    callers: Vec<(Relation, Client)>,
}

impl Cast {
    async fn gather() -> Self {
        let world = World::start().await;
        let mut callers = Vec::new();
        for relation in RELATIONS {
            let client = match relation {
                Relation::Anonymous => world.anonymous(),
                Relation::Stranger => world.user("bob").await,
                Relation::Owner => world.user("ann").await,
                Relation::Admin => world.admin().await,
            };
            callers.push((relation, client));
        }
        Self { world, sink: HttpSink::start().await, callers }
    }

    fn owner(&self) -> &Client {
        &self.callers[2].1
    }

    /// A Preset or Group of Ann's in a state.
    async fn pusher(&self, kind: &str, standing: Standing) -> String {
        let params = with(webhook(&self.sink), json!({ "headers": { "x-key": SECRET } }));
        let protected = standing == Standing::Protected;
        let id = if kind == "preset" {
            self.owner().preset_with("webhook", params, json!({ "protected": protected })).await
        } else {
            let member = json!({ "name": "m", "base_pusher": "webhook", "params": params });
            self.owner().group(json!({ "pushers": [member], "protected": protected })).await
        };
        if standing == Standing::Shared {
            self.owner().share(kind, &id).await;
        }
        id
    }

    /// Whether the caller did it; a refusal must be the one that is expected.
    async fn tried(&self, kind: &str, action: Action, by: &(Relation, Client), standing: Standing) -> bool {
        let id = match standing {
            Standing::Service { .. } => "webhook".to_owned(),
            _ => self.pusher(kind, standing).await,
        };
        let cell = format!("{action:?} by {:?}, {standing:?} {kind}", by.0);
        let answer = self.ask(kind, action, &by.1, &id).await;
        if answer.status != 200 {
            assert_eq!(answer.refusal(), expected(action, by.0, standing), "{cell}: {}", answer.body);
            return false;
        }
        match action {
            Action::SeeSecrets => answer.body.to_string().contains(SECRET),
            Action::Revoke => answer.data()["state"] == "revoked",
            _ => true,
        }
    }

    async fn ask(&self, kind: &str, action: Action, by: &Client, id: &str) -> Answer {
        let path = format!("/{kind}/{id}/");
        match action {
            Action::See | Action::SeeSecrets => by.get(&path).await,
            Action::BuildOn => by.post("/preset/", json!({ "name": "n", "base_pusher": id })).await,
            Action::Push => by.push(id, with(webhook(&self.sink), json!({ "delay": 3600 }))).await,
            Action::Change => by.patch(&path, json!({ "name": "new" })).await,
            Action::Share => by.try_share(kind, id).await,
            Action::Delete => by.delete(&path).await,
            Action::Revoke => by.get(&format!("/revoke/task/{}/", self.task(id).await)).await,
            Action::ReadTasks => by.get(&format!("/task/{}/", self.task(id).await)).await,
        }
    }

    /// A task of Ann's that waits.
    async fn task(&self, id: &str) -> String {
        let pushed = self.owner().pushed(id, with(webhook(&self.sink), json!({ "delay": 3600 }))).await;
        text(&pushed["tasks"][0]["task_id"])
    }

    async fn walk(&self, kind: &str, standings: &[Standing]) {
        let mut cells = 0;
        for &standing in standings {
            for action in ACTIONS {
                for by in &self.callers {
                    // No operation of this server changes or deletes a Service yet; see below.
                    let none = matches!(standing, Standing::Service { .. })
                        && matches!(action, Action::Change | Action::Delete);
                    let allowed = may(action, by.0, standing) && !none;
                    let done = self.tried(kind, action, by, standing).await;
                    assert_eq!(done, allowed, "{action:?} by {:?}, {standing:?} {kind}", by.0);
                    cells += 1;
                }
            }
        }
        assert_eq!(cells, standings.len() * 36);
    }
}

/// How a caller is refused who may not.
fn expected(action: Action, relation: Relation, standing: Standing) -> (u16, &'static str) {
    use Relation::{Admin, Anonymous, Owner};
    match (action, relation, standing) {
        (Action::Change | Action::Delete, _, Standing::Service { .. }) => (405, "method_not_allowed"),
        (Action::Share, _, Standing::Service { .. }) => (404, "path_not_found"),
        (_, Anonymous, _) => (401, "token_missing"),
        (Action::ReadTasks, ..) => (404, "task_not_found"),
        (Action::BuildOn, ..) => (422, "base_unknown"),
        (Action::Push, ..) => (403, "forbidden"),
        (_, Owner, Standing::Shared) => (409, "shared_is_final"),
        (Action::Share, Owner, Standing::Protected) => (409, "protected_not_shared"),
        (_, Admin, _) | (_, _, Standing::Shared) => (403, "forbidden"),
        _ => (404, "pusher_not_found"),
    }
}

const OWNED: [Standing; 3] = [Standing::Private, Standing::Protected, Standing::Shared];

async fn what_presets_allow() {
    Cast::gather().await.walk("preset", &OWNED).await;
}

async fn what_groups_allow() {
    Cast::gather().await.walk("group", &OWNED).await;
}

async fn what_services_allow() {
    let cast = Cast::gather().await;
    cast.walk("service", &[Standing::Service { open: false }]).await;
    assert!(cast.world.tasks().await.iter().all(|task| task.pusher_id.as_str() == "webhook"));
    let read: Value = cast.owner().get("/service/webhook/").await.into_data();
    assert!(read["params"].as_array().unwrap().iter().any(|param| param["secret"] == true));
}
