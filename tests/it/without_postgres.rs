//! Sees to it that nobody takes the SQLite half of the tests for the whole. Its name puts it near the end of the list.

use fanfare::store::{Location, SecretKey, Store};

use crate::store::LIMITS;
use crate::support::database::{Fresh, tell_that_it_is_skipped, there_is_postgres};

#[tokio::test]
async fn the_other_half_is_skipped_loudly() {
    if !there_is_postgres() {
        tell_that_it_is_skipped();
        return;
    }
    let fresh = Fresh::new().await;
    let location = Location::Postgres { url: fresh.url.clone(), max_connections: 2 };
    let store = Store::open(&location, &SecretKey::from_bytes([1; 32]), LIMITS).await.unwrap();
    assert!(store.is_alive().await, "there is a server, so nothing was skipped");
    store.close().await;
}
