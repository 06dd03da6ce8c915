//! What one push costs the processor before and after it is recorded: following, resolving, sealing, rendering. No
//! network and no database.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fanfare::domain::agenda::{self, Agenda};
use fanfare::domain::id::{AccountId, PusherId};
use fanfare::domain::params::Params;
use fanfare::domain::pusher::{Group, Member, Preset, Pusher, Strategy, Target, follow};
use fanfare::domain::rate::Terms;
use fanfare::domain::resolve::{Call, Plan, resolve};
use fanfare::domain::time::Timestamp;
use fanfare::flow::limits::{Allowed, Limits};
use fanfare::service::{Catalogue, RenderEnv};
use fanfare::store::{Column, Location, Sealer, SecretKey, Store};
use futures_util::FutureExt;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ENV: RenderEnv<'_> = RenderEnv { now: NOW, delivery_id: "01jz0000000000000000000000x0", random: 7 };

fn params(value: Value) -> Params {
    match value {
        Value::Object(params) => params,
        _ => Params::new(),
    }
}

fn preset(id: &str, base: &str, predefined: Value) -> Pusher {
    Pusher::Preset(Arc::new(Preset {
        id: PusherId::new(id),
        owner: AccountId::new("ann"),
        name: id.to_owned(),
        base_pusher: PusherId::new(base),
        params: params(predefined),
        redefine_content: None,
        protected: false,
        shared: false,
        created_at: NOW,
        updated_at: NOW,
    }))
}

/// Five members, each with a title of its own that the call fills, behind a map.
fn group() -> Pusher {
    let member = |number: usize| Member {
        name: format!("p{number}"),
        base_pusher: PusherId::new(if number.is_multiple_of(2) { "hook" } else { "phone" }),
        params: params(json!({ "title": format!("Host {number}: <_0> of <_1>"), "content": "<_what> is full" })),
    };
    let targets = |name: &str| (1..=5).map(|number| format!("p{number}.{name}")).collect();
    Pusher::Group(Arc::new(Group {
        id: PusherId::new("group"),
        owner: AccountId::new("ann"),
        name: "group".to_owned(),
        pushers: (1..=5).map(member).collect(),
        param_map: vec![("used".to_owned(), targets("_title")), ("size".to_owned(), targets("_title_1"))],
        redefine_content: Some("used".to_owned()),
        strategy: Strategy::All,
        protected: false,
        shared: false,
        created_at: NOW,
        updated_at: NOW,
    }))
}

/// The Pushers of the bench, as a server has them in memory.
struct World {
    catalogue: Catalogue,
    pushers: HashMap<PusherId, Pusher>,
}

impl World {
    fn new() -> Self {
        let catalogue = Catalogue::embedded().expect("the embedded Services are tested");
        let hook = preset("hook", "webhook", json!({ "endpoint": "https://example.com/hook", "priority": 3 }));
        let phone = preset("phone", "bark", json!({ "device_key": "F8Qxxxxxxxxxvue", "group": "ops" }));
        let named = [("hook", hook), ("phone", phone), ("group", group())];
        Self { catalogue, pushers: named.into_iter().map(|(id, pusher)| (PusherId::new(id), pusher)).collect() }
    }

    fn target(&self, id: &PusherId) -> Target {
        let service = |id: &PusherId| Some(Pusher::Service(self.catalogue.get(id.as_str())?.spec.clone()));
        follow(id, &|id| service(id).or_else(|| self.pushers.get(id).cloned())).expect("the chains end in Services")
    }

    fn render(&self, plan: Plan) -> usize {
        let rendered = plan.deliveries.into_iter().map(|delivery| {
            let service = self.catalogue.get(&delivery.service.id).expect("the chain ended in it");
            service.render(&delivery.into_params(), &ENV).expect("the parameters are complete")
        });
        rendered.map(black_box).count()
    }
}

fn call() -> Call {
    let body = json!({
        "title": "Backup of host-17 failed",
        "content": "The disk is full: 98 percent used, 12 GiB left. Nothing is lost.",
    });
    Call { body: params(body), ..Call::default() }
}

fn group_call() -> Call {
    let query = params(json!({ "size": "2 TB", "p2.content": "of its own" }));
    Call { content: Some("98 %".to_owned()), query, ..Call::default() }
}

fn benches(c: &mut Criterion) {
    let world = World::new();
    for (name, id, call) in [("preset on webhook", "hook", call()), ("group of five", "group", group_call())] {
        let id = PusherId::new(id);
        let target = world.target(&id);
        c.bench_function(&format!("follow, {name}"), |b| b.iter(|| black_box(world.target(black_box(&id)))));
        c.bench_function(&format!("resolve, {name}"), |b| {
            b.iter(|| resolve(black_box(&target), black_box(&call), NOW).expect("the call is right"));
        });
        c.bench_function(&format!("follow, resolve and render, {name}"), |b| {
            b.iter(|| world.render(resolve(&world.target(&id), black_box(&call), NOW).expect("the call is right")));
        });
    }
    for id in ["hook", "phone"] {
        let plan = resolve(&world.target(&PusherId::new(id)), &call(), NOW).expect("the call is right");
        let Some(delivery) = plan.deliveries.into_iter().next() else { continue };
        let service = world.catalogue.get(&delivery.service.id).expect("the chain ended in it");
        let params = delivery.into_params();
        c.bench_function(&format!("render, {}", service.spec.id), |b| {
            b.iter(|| service.render(black_box(&params), &ENV).expect("the parameters are complete"));
        });
        c.bench_function(&format!("destination, {}", service.spec.id), |b| {
            b.iter(|| service.destination(black_box(&params)).expect("the parameters are complete"));
        });
    }
    seal(c);
    limits(c);
}

/// What a push pays to be counted: for its address, its Pusher, its account and the day's quota; and what the agenda
/// costs when an account has a hundred thousand hosts.
fn limits(c: &mut Criterion) {
    let (account, pusher) = (AccountId::new("01jz00000000000000000000an"), PusherId::new("01jz00000000000000000000ho"));
    let most = 1_000_000_000;
    let allowed = Allowed { per_address: most, per_account: most, per_pusher: most, daily_quota: most };
    let limits = Limits::new(allowed, false);
    for address in 0..10_000 {
        limits.address(address, NOW).expect("there is room");
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let location = Location::Sqlite { file: folder.path().join("bench.db"), durable: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can start");
    let room = agenda::Limits { total: 256, per_host: 32 };
    let store =
        runtime.block_on(Store::open(&location, &SecretKey::from_bytes([7; 32]), room)).expect("a new database opens");
    c.bench_function("count a push for its limits", |b| {
        b.iter(|| {
            limits.address(black_box(4711), NOW).expect("there is room");
            // A node that is alone waits for nothing.
            let counted = async {
                limits.pusher(&store, black_box(&pusher), NOW).await.expect("there is room");
                limits.account(&store, black_box(&account), NOW).await.expect("there is room");
                limits.quota(&store, account.as_str(), Terms::default(), 1, NOW).await.is_ok()
            };
            counted.now_or_never()
        });
    });
    let mut agenda = Agenda::new(room);
    for host in 0..100_000 {
        agenda.note(&agenda::lane("ann", &format!("host-{host}.example")), 0);
    }
    c.bench_function("agenda: a push beside 100,000 lanes", |b| {
        b.iter(|| {
            agenda.note("bob@hook.example", 1);
            for agenda::Ask { lane, .. } in agenda.picks(1) {
                agenda.claimed(&lane, 1, (lane != "bob@hook.example").then_some(1));
                agenda.ended(&lane);
            }
        });
    });
}

fn seal(c: &mut Criterion) {
    let sealer = Sealer::new(&SecretKey::from_bytes([7; 32]));
    let text = json!({ "endpoint": "https://example.com/hook", "title": "t".repeat(24), "content": "c".repeat(90) });
    let text = text.to_string();
    let sealed = sealer.seal(Column::Payload, "task", &text);
    c.bench_function("seal", |b| b.iter(|| sealer.seal(Column::Payload, black_box("task"), black_box(&text))));
    c.bench_function("open", |b| b.iter(|| sealer.open("task", black_box(&sealed)).expect("it was sealed so")));
}

criterion_group! {
    name = push;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = benches
}
criterion_main!(push);
