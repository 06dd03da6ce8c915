//! The embedded definitions, and folders that add to them.

use crate::service::Catalogue;
use crate::service::catalogue::EMBEDDED;

#[test]
fn every_embedded_definition_becomes_what_its_examples_say() {
    let catalogue = Catalogue::embedded().unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    });
    let errors: Vec<String> = catalogue.all().filter_map(|service| service.check_examples().err()).flatten().collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert_eq!(catalogue.all().count(), EMBEDDED.len());
}
