//! Tests of the whole folder, by subject.

mod catalogue;

use crate::service::Service;

/// A definition for tests: a head, then what is given.
fn parse(rest: &str) -> Result<Service, crate::service::DefinitionError> {
    Service::parse("t.toml", &definition(rest))
}

/// Eight lines of head and parameters, so that line numbers can be counted from there.
fn definition(rest: &str) -> String {
    let head = "id = \"t\"\nname = \"T\"\ndocs = \"https://example.com/\"\ncategory = \"push\"\ntransport = \"http\"\n";
    format!("{head}{rest}")
}
