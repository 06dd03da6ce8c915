//! What a failure may be called: the codes that programs go by. They stay; new ones may come.

/// A code, the status that it comes with, and when.
type Code = (&'static str, u16, &'static str);

/// All of them, by status.
pub const CODES: &[Code] = &[
    ("body_invalid", 400, "The body is not what its `Content-Type` says"),
    ("body_unreadable", 400, "The body broke off"),
    ("request_invalid", 400, "The path or the query is not well formed, or not UTF-8"),
    ("token_expired", 401, "The token has ended"),
    ("token_invalid", 401, "The token is not known"),
    ("token_missing", 401, "This needs a token"),
    ("forbidden", 403, "The caller may not do this"),
    ("registration_closed", 403, "Nobody can sign up here"),
    ("registration_not_open", 403, "Signing up takes an invitation from a user or an administrator"),
    ("scope_missing", 403, "The API token lacks the scope that `data.scope` names"),
    ("account_not_found", 404, "There is no such account"),
    ("confirm_token_not_found", 404, "The link to confirm an address is not good, or no longer"),
    ("group_not_found", 404, "The id is none of a Group"),
    ("invite_not_found", 404, "There is no such invitation code, or not for the caller"),
    ("member_not_found", 404, "The Group has no such member"),
    ("path_not_found", 404, "There is nothing at this path"),
    ("preset_not_found", 404, "The id is none of a Preset"),
    ("pusher_not_found", 404, "There is no such Pusher (Service, Preset or Group), or not for the caller"),
    ("reset_token_not_found", 404, "The link to set a new password is not good, or no longer"),
    ("service_not_found", 404, "There is no such Service"),
    ("session_not_found", 404, "There is no such session, or not for the caller"),
    ("task_not_found", 404, "There is no such task, or not for the caller"),
    ("token_not_found", 404, "There is no such API token, or not for the caller"),
    ("method_not_allowed", 405, "The path takes other methods, which `Allow` names"),
    ("base_not_public", 409, "What is to be shared builds on `data.base_pusher`, which is not public"),
    ("last_admin", 409, "It would leave no administrator"),
    ("member_name_taken", 409, "The Group has a member of this name"),
    ("protected_not_shared", 409, "A protected Pusher cannot be shared, nor a shared one protected"),
    (
        "pusher_in_use",
        409,
        "Others build on it, or would no longer fit on it: `data.dependents`, and `data.others` more",
    ),
    ("shared_is_final", 409, "What is shared can no longer be changed"),
    ("too_many_pushers", 409, "The account has as many Presets and Groups as it may"),
    ("wrong_state", 409, "Not in the state that `data.state` names"),
    ("body_too_large", 413, "The body is larger than `data.limit` bytes"),
    ("uri_too_long", 414, "The path and the query are too long"),
    ("media_type_unsupported", 415, "The body is neither JSON nor a form, nor text where that is taken"),
    ("address_is_final", 422, "The secrets of a shared Pusher go only where it sends them"),
    ("at_in_past", 422, "`at` has passed"),
    ("at_too_far", 422, "`at` is more than seven days ahead"),
    ("base_unknown", 422, "There is no such base that the caller may build on"),
    ("chain_too_deep", 422, "The chain of bases is too long"),
    ("cursor_invalid", 422, "`cursor` is none of this list"),
    ("field_invalid", 422, "Fields of the body are not acceptable: `data` lists them"),
    ("group_empty", 422, "A Group needs a member"),
    ("group_full", 422, "A Group has five members at most"),
    ("group_in_group", 422, "A member of a Group leads to a Group"),
    ("idempotency_mismatch", 422, "Within 24 hours the `Idempotency-Key` came with another call"),
    ("not_renderable", 422, "The request to the channel cannot be made of these parameters: `data.reason`"),
    ("param_invalid", 422, "Parameters are not acceptable: `data` lists them"),
    ("param_missing", 422, "Parameters are missing: `data` lists them"),
    ("placeholder_unfilled", 422, "Placeholders of predefined values were not filled: `data` lists them"),
    ("pusher_cycle", 422, "The chain of bases leads back to itself"),
    ("quota_exceeded", 429, "The account's quota of the day is used up"),
    ("rate_limited", 429, "Too many requests by the address or account, or pushes to the Pusher"),
    ("too_many_attempts", 429, "Too many wrong passwords"),
    ("headers_too_large", 431, "The headers are too large or too many"),
    ("broken", 500, "The server is at fault; its log knows it by `data.id`"),
    ("busy", 503, "The server cannot take it now; try again after `Retry-After`"),
    ("mail_not_configured", 503, "The server sends no mails"),
];

/// The table of them, in Markdown.
pub fn table() -> String {
    let rows = CODES.iter().map(|(code, status, when)| format!("| `{code}` | {status} | {when} |\n"));
    format!("| code | status | when |\n| --- | --- | --- |\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_order_and_once() {
        assert!(CODES.windows(2).all(|two| (two[0].1, two[0].0) < (two[1].1, two[1].0)));
    }
}
