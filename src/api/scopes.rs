//! What each operation asks of whoever calls it: the one table that admission goes by, and
//! that the document shows.

use serde_json::{Value, json};

use super::auth::WAYS;
use super::document::each_operation;
use crate::domain::scope::Scope;

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing; a token is not looked at.
    Public,
    /// No token, or one with this scope: some things are for everybody, and more are for those who may.
    Open(Scope),
    /// A token with this scope.
    Needs(Scope),
}

/// What the operation with this id asks for. A test holds the table against the document.
pub fn access(operation: &str) -> Option<Access> {
    use Access::{Needs, Open, Public};
    use Scope::{Manage, Push, Read};
    Some(match operation {
        "login" | "listServices" | "getService" => Public,
        "signUp" | "confirmAgain" | "askReset" | "resetPassword" => Public,
        "confirm" | "invite" => Open(Manage),

        "push" | "pushGet" | "pushContent" | "pushContentGet" => Open(Push),
        "revokeTask" | "revokePush" => Needs(Push),

        "getPreset" | "getGroup" | "getPusher" | "listSharedPresets" | "listSharedGroups" => Open(Read),
        "listPresets" | "listGroups" | "listPushers" | "previewPush" => Needs(Read),
        "listTasks" | "getTask" | "listTokens" | "listAudit" => Needs(Read),

        "createPreset" | "changePreset" | "deletePreset" | "sharePreset" => Needs(Manage),
        "createGroup" | "changeGroup" | "deleteGroup" | "shareGroup" => Needs(Manage),
        "addMember" | "changeMember" | "removeMember" => Needs(Manage),
        "retryTask" | "createToken" | "deleteToken" => Needs(Manage),

        "getAccount" | "listSessions" | "listInvites" | "listUsers" | "getUser" => Needs(Read),
        "logout" | "changeAccount" | "deleteAccount" | "endSession" | "changePassword" => Needs(Manage),
        "withdrawInvite" | "changeUser" | "deleteUser" => Needs(Manage),
        _ => return None,
    })
}

/// Whether this operation does something although it is a GET. Nobody may ask for the head of its answer alone: programs
/// that look a link over do that, and take it to be harmless.
pub fn acts(operation: &str) -> bool {
    matches!(operation, "pushGet" | "pushContentGet" | "revokeTask" | "revokePush" | "confirm")
}

/// Whether the body of this operation is the parameters of a push, of which one may be the token.
pub fn takes_parameters(operation: &str) -> bool {
    matches!(operation, "push" | "pushContent" | "previewPush")
}

/// Writes into a finished document what each operation asks for: as `security`, as `x-required-scope` (a bearer scheme
/// has no place for scopes), and in its description.
pub fn add(document: &mut Value) {
    each_operation(document, |_, operation| {
        let asked = operation["operationId"].as_str().and_then(access);
        let mut ways: Vec<Value> = WAYS.iter().map(|way| json!({ *way: [] })).collect();
        let (scope, told) = match asked {
            None | Some(Access::Public) => {
                operation["security"] = json!([]);
                return;
            }
            Some(Access::Needs(scope)) => (scope, "Needs the scope"),
            Some(Access::Open(scope)) => {
                ways.push(json!({}));
                (scope, "Needs no token; one that is sent needs the scope")
            }
        };
        operation["security"] = Value::Array(ways);
        operation["x-required-scope"] = json!(scope.as_str());
        let text = operation["description"].as_str().unwrap_or_default();
        operation["description"] = json!(format!("{text}\n\n{told} `{}`.", scope.as_str()));
    });
}
