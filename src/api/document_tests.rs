use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, LicenseObject, Object, OpenApi, OpenApiService};

use super::*;
use crate::api::envelope::{ApiError, Reply};
use crate::api::input::Input;
use crate::api::page::Page;

#[derive(Default, Enum)]
#[oai(rename_all = "snake_case")]
enum Mood {
    #[default]
    Calm,
    Loud,
}

#[derive(Object)]
struct Thing {
    name: String,
    /// Ends </script><script>alert(1)
    note: Option<String>,
    part: Option<Part>,
    #[oai(default)]
    mood: Mood,
}

#[derive(Object)]
struct Part {
    size: i32,
}

struct First;

#[OpenApi]
impl First {
    /// List things
    #[oai(path = "/thing/", method = "get", operation_id = "list_things")]
    async fn list(&self, tag: Query<Option<Vec<String>>>) -> Result<Reply<Page<Thing>>, ApiError> {
        Ok(Reply(Page { items: vec![], next_cursor: tag.0.and_then(|tags| tags.into_iter().next()) }))
    }

    /// Push
    #[oai(path = "/push/:pusher_id/", method = "get", operation_id = "push")]
    async fn push(&self, pusher_id: Path<String>) -> Reply<Vec<i32>> {
        Reply(vec![i32::try_from(pusher_id.0.len()).unwrap()])
    }
}

struct Second;

#[OpenApi]
impl Second {
    /// Make a thing
    #[oai(path = "/thing/", method = "post", operation_id = "make_thing")]
    async fn make(&self, body: Input<Thing>) -> Result<Reply<Thing>, ApiError> {
        Ok(Reply(body.0))
    }

    /// Count
    #[oai(path = "/count/", method = "get", operation_id = "count")]
    async fn count(&self) -> Result<Reply<i32>, ApiError> {
        Ok(Reply(1))
    }
}

fn raw() -> String {
    OpenApiService::new((First, Second), "things", "1").license(LicenseObject::new("X").identifier("X")).spec()
}

fn document() -> Value {
    finish(read(&raw()).unwrap())
}

fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer} in {document:#}"))
}

#[test]
fn paths_end_in_a_slash_and_two_groups_may_share_one() {
    let document = document();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/count/", "/push/{pusher_id}/", "/thing/"]);
    assert_eq!(at(&document, "/paths/~1thing~1/get/operationId"), "list_things");
    assert_eq!(at(&document, "/paths/~1thing~1/post/operationId"), "make_thing");
}

#[test]
fn components_have_legal_names_and_every_reference_leads_to_one() {
    let mut document = document();
    let names: Vec<_> = document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        names,
        [
            "Failure",
            "Int32IntegerListReply",
            "Int32IntegerReply",
            "Mood",
            "Part",
            "Thing",
            "ThingPage",
            "ThingPageReply",
            "ThingReply"
        ]
    );
    let mut references = 0;
    each(&mut document, &mut |value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            assert!(names.iter().any(|name| target == format!("{SCHEMAS}{name}")), "{target}");
        }
    });
    assert!(references > 10);
}

#[test]
fn what_may_be_absent_may_be_null() {
    let document = document();
    let part = at(&document, "/components/schemas/Thing/properties/part");
    assert_eq!(
        part,
        &json!({ "allOf": [{ "$ref": "#/components/schemas/Part" }], "type": "object", "nullable": true })
    );
    assert_eq!(at(&document, "/components/schemas/Thing/properties/note/nullable"), true);
    assert_eq!(document.pointer("/components/schemas/Thing/properties/name/nullable"), None);
    assert_eq!(at(&document, "/components/schemas/ThingPage/properties/next_cursor/nullable"), true);
}

#[test]
fn a_default_stands_beside_its_reference() {
    let mood = at(&document(), "/components/schemas/Thing/properties/mood").clone();
    assert_eq!(mood, json!({ "allOf": [{ "$ref": "#/components/schemas/Mood" }], "default": "calm" }));
}

#[test]
fn every_operation_documents_its_failures_and_its_media_types() {
    let document = document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert_eq!(responses.keys().collect::<Vec<_>>(), ["200", "429", "4XX", "5XX"], "{place}");
            for response in responses.values() {
                assert_ne!(response["description"], "", "{place}");
                assert!(response["content"].get("application/json").is_some(), "{place}");
            }
        }
    }
    let media: Vec<_> =
        at(&document, "/paths/~1thing~1/post/requestBody/content").as_object().unwrap().keys().collect();
    assert_eq!(media, ["application/json", "application/x-www-form-urlencoded"]);
    let request = at(&document, "/paths/~1thing~1/post/requestBody");
    assert_eq!(request["required"], true);
}

#[test]
fn parameters_of_the_query_and_of_a_push_are_as_they_are() {
    let document = document();
    assert_eq!(at(&document, "/paths/~1thing~1/get/parameters/0/required"), false);
    let key = at(&document, "/paths/~1push~1{pusher_id}~1/get/parameters/1");
    assert_eq!(
        (&key["name"], &key["in"], &key["required"]),
        (&json!("Idempotency-Key"), &json!("header"), &json!(false))
    );
    let any = at(&document, "/paths/~1push~1{pusher_id}~1/get/parameters/2");
    assert_eq!((&any["name"], &any["in"], &any["explode"]), (&json!("parameters"), &json!("query"), &json!(true)));
}

#[test]
fn the_licence_has_an_address_and_nothing_that_openapi_3_0_does_not_know() {
    let document = document();
    assert_eq!(document["info"]["license"], json!({ "name": "MIT OR Apache-2.0", "url": LICENCE_URL }));
}

#[test]
fn finishing_is_deterministic_and_changes_nothing_the_second_time() {
    let once = document();
    assert_eq!(serde_json::to_string(&once).unwrap(), serde_json::to_string(&document()).unwrap());
    assert_eq!(finish(once.clone()), once);
}

#[test]
fn media_types_lose_their_charset() {
    let mut value = json!({ "content": { "application/json; charset=utf-8": {}, "text/plain": {} } });
    plain_media_types(&mut value);
    assert_eq!(value, json!({ "content": { "application/json": {}, "text/plain": {} } }));
}
