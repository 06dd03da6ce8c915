//! What people are told, in English and in Chinese. Texts may change at any time; codes, which live elsewhere, may not.

use std::future::Future;

use crate::domain::account::PASSWORD_LENGTH;
pub use crate::domain::language::Language;
use crate::domain::params::ParamType;
use crate::domain::refusal::{FieldFault, Problem, Refusal};
use crate::domain::scope::Scope;
use crate::error::{AuthProblem, Limit};

tokio::task_local! {
    static LANGUAGE: Language;
}

/// The language that the current request asked for; English outside a request.
pub fn language() -> Language {
    LANGUAGE.try_with(|language| *language).unwrap_or_default()
}

/// Runs a future with the language that `language()` answers inside it.
pub fn speaking<F: Future>(language: Language, work: F) -> impl Future<Output = F::Output> {
    LANGUAGE.scope(language, work)
}

impl Language {
    /// Chooses by the lines of `Accept-Language`; the heaviest range that we speak wins, the earlier one among equals.
    pub fn from_headers<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut best = (Self::English, 0.0);
        for range in lines.into_iter().flat_map(|line| line.split(',')).take(32) {
            let Some((language, weight)) = parse_range(range) else { continue };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }
}

/// One range such as `zh-CN;q=0.8`; nothing if we do not speak it or its weight is out of bounds.
fn parse_range(range: &str) -> Option<(Language, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let tag = parts.next()?;
    let weight = match parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))) {
        Some(weight) => weight.trim().parse::<f32>().ok().filter(|w| (0.0..=1.0).contains(w))?,
        None => 1.0,
    };
    // Programs that know the languages of their system write `zh_CN`.
    let primary = tag.split(['-', '_']).next()?;
    if primary.eq_ignore_ascii_case("zh") {
        Some((Language::Chinese, weight))
    } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
        Some((Language::English, weight))
    } else {
        None
    }
}

/// What is wrong with one parameter.
pub fn problem(language: Language, problem: &Problem) -> String {
    let (english, chinese): (String, String) = match problem {
        Problem::Missing => ("is required".into(), "必填".into()),
        Problem::NotA(kind) => {
            let (english, chinese) = type_name(*kind);
            (format!("must be {english}"), format!("必须是{chinese}"))
        }
        Problem::NotOne(kind) => {
            let (english, chinese) = type_name(*kind);
            (format!("must be {english}, given once and not as a list"), format!("必须是单个{chinese}，不能重复给出，也不能是列表"))
        }
        Problem::TooLong(limit) => (format!("is longer than {limit} characters"), format!("超过 {limit} 个字符")),
        Problem::TooLarge(limit) => (format!("is larger than {limit} bytes"), format!("超过 {limit} 字节")),
        Problem::NotOneOf(words) => {
            (format!("must be one of: {}", words.join(", ")), format!("只能是以下之一：{}", words.join("、")))
        }
        Problem::Below(limit) => (format!("must be at least {limit}"), format!("不能小于 {limit}")),
        Problem::Above(limit) => (format!("must be at most {limit}"), format!("不能大于 {limit}")),
        Problem::SchemeNotIn(schemes) => (
            format!("must be a URL that begins with one of: {}", schemes.join(", ")),
            format!("网址的协议只能是：{}", schemes.join("、")),
        ),
        Problem::Entry(number, inner) => (
            format!("entry {number} {}", self::problem(Language::English, inner)),
            format!("第 {number} 项{}", self::problem(Language::Chinese, inner)),
        ),
        Problem::BadName => (
            "is not a name that a parameter may have: 1 to 64 characters, none of them a control character".into(),
            "不是合法的参数名：须为 1 到 64 个字符，且不含控制字符".into(),
        ),
        Problem::Reserved => ("is a reserved name, not a parameter".into(), "是保留名，不是参数".into()),
        Problem::Unfilled(number) => (
            format!("the placeholder <_{number}> of its predefined value was not filled"),
            format!("预设值中的占位符 <_{number}> 未被填充"),
        ),
        Problem::UnknownMember => ("addresses a member that the group does not have".into(), "群组中没有该成员".into()),
        Problem::NotInsertable => {
            ("a list or an object cannot be put in place of a placeholder".into(), "列表或对象不能填入占位符".into())
        }
        Problem::HoldsNul => ("holds a NUL character".into(), "含有 NUL 字符".into()),
        Problem::BadDelay => ("must be whole seconds from 0 to 86400".into(), "必须是 0 到 86400 之间的整数秒".into()),
        Problem::BadAt => (
            "must be a time: YYMMDDhhmm (GMT+8), YYMMDDhhmm.UTC, or RFC 3339 with an offset, whose + is %2B in a query or form"
                .into(),
            "必须是时间：YYMMDDhhmm（东八区）、YYMMDDhhmm.UTC，或带时区的 RFC 3339（查询或表单中的 + 须写成 %2B）".into(),
        ),
        Problem::AtInPast => ("the time has passed".into(), "时间已过".into()),
        Problem::AtTooFar => ("the time is more than seven days ahead".into(), "时间超出七天".into()),
        Problem::DelayAndAt => (
            "delay and at cannot be given together; send a predefined one empty to give the other".into(),
            "delay 与 at 不能同时给出；要改用另一个，请将预设的那个传为空".into(),
        ),
        Problem::BadKey => (
            "must be 1 to 255 visible ASCII characters, given once".into(),
            "必须是 1 到 255 个可见 ASCII 字符，且只能给出一次".into(),
        ),
        Problem::TooMany(limit) => (format!("more than {limit} parameters in all"), format!("参数总数超过 {limit} 个")),
    };
    language.pick(english, chinese)
}

fn type_name(kind: ParamType) -> (&'static str, &'static str) {
    match kind {
        ParamType::String | ParamType::Text => ("text", "文本"),
        ParamType::Integer => ("a whole number", "整数"),
        ParamType::Number => ("a number", "数字"),
        ParamType::Boolean => ("true or false", "布尔值（true 或 false）"),
        ParamType::Enum => ("one of the words allowed", "允许的取值之一"),
        ParamType::List => ("a list", "列表"),
        ParamType::Object => ("a JSON object", "JSON 对象"),
        ParamType::Url => ("an absolute URL", "完整的网址"),
        ParamType::Email => ("a mail address", "邮箱地址"),
    }
}

/// What a field must be that is at fault for a reason that says little by itself.
fn rule_of_field(field: &str, reason: &str) -> Option<(&'static str, &'static str)> {
    let last = field.rsplit('.').next().unwrap_or(field);
    Some(match (last, reason) {
        _ if field.starts_with("param_map.") => match reason {
            "invalid" => ("must be a list of targets of the form member.param", "必须是 member.param 形式的目标列表"),
            "empty" => {
                ("must name at least one target of the form member.param", "至少需要一个 member.param 形式的目标")
            }
            "bad_name" => {
                ("is not the name of a parameter or modifier, or leads to none", "不是合法的参数名或修饰符名")
            }
            _ => return None,
        },
        ("redefine_content", "empty") => ("cannot be empty: leave it out or send null", "不能为空：请省略或设为 null"),
        ("redefine_content", "bad_name") => {
            ("is not the name of a parameter or modifier", "不是合法的参数名或修饰符名")
        }
        ("name", "bad_name") => (
            "must be a letter a-z, then letters a-z, digits and _, at most 64 characters",
            "须以小写字母开头，其后为小写字母、数字或下划线，最多 64 个字符",
        ),
        ("name" | "source" | "q", "invalid") => ("holds a control character", "含有控制字符"),
        ("email" | "limit_email", "invalid") => ("must be a mail address", "必须是邮箱地址"),
        ("which", "unknown") => ("must be auto, referer or admin", "只能是 auto、referer 或 admin"),
        _ => return None,
    })
}

/// Why a field is not acceptable, for the reason words that are in use; any other word stands for itself.
pub fn field_reason(language: Language, field: &str, reason: &str) -> String {
    if let Some((english, chinese)) = rule_of_field(field, reason) {
        return language.pick(english, chinese).to_owned();
    }
    let (english, chinese) = match reason {
        "empty" | "missing" => ("is required", "必填"),
        "too_long" => ("is too long", "过长"),
        // Passwords alone can be that.
        "too_short" => {
            let least = *PASSWORD_LENGTH.start();
            return language.pick(format!("must have {least} characters at least"), format!("至少需要 {least} 个字符"));
        }
        "not_a_time" => (
            "must be a time, such as 2030-01-31T08:00:00Z or 2030-01-31T16:00:00+08:00, whose + is %2B in a query",
            "必须是时间，如 2030-01-31T08:00:00Z 或 2030-01-31T16:00:00+08:00（查询中的 + 须写成 %2B）",
        ),
        "too_many" => ("has too many entries", "条目过多"),
        "unknown" => ("is not known", "不存在"),
        "taken" => ("is taken", "已被占用"),
        "not_allowed" => ("is not allowed", "不允许"),
        "out_of_range" => ("is out of range", "超出范围"),
        "spent" => ("has been used up", "已用完"),
        "expired" => ("has expired", "已过期"),
        "cursor" => ("is not a cursor of this list", "不是该列表的游标"),
        "other_address" => ("is for another mail address", "仅限其他邮箱使用"),
        "not_with_quantity" => ("cannot be given together with quantity", "不能与 quantity 同时给出"),
        "not_a_person" => ("does not prove that you are a person", "未通过真人验证"),
        "wrong" => ("is wrong", "不正确"),
        "too_many_open" => ("would be more unused codes than a user may have", "未使用的邀请码数量超出上限"),
        "bad_name" => ("is not a name that may be given", "名称不合法"),
        "reserved" => ("is a reserved name", "是保留名"),
        "duplicate" => ("is there twice", "重复"),
        "dotted" => ("holds a dot", "不能含有点号"),
        "not_dotted" => ("must be of the form member.param", "必须写成 member.param 的形式"),
        "unknown_member" => ("addresses a member that the group does not have", "群组中没有该成员"),
        "invalid" => ("is not acceptable", "格式不正确"),
        other => return other.replace('_', " "),
    };
    language.pick(english, chinese).to_owned()
}

/// A refusal in one sentence.
pub fn refusal(language: Language, refusal: &Refusal) -> String {
    let (english, chinese): (String, String) = match refusal {
        Refusal::Params(problems) => return param_list(language, problems.iter().map(|p| (&*p.param, &p.problem))),
        Refusal::Fields { fields, params } => {
            let field =
                |fault: &FieldFault| format!("{}: {}", fault.field, field_reason(language, &fault.field, fault.reason));
            let mut parts: Vec<_> = fields.iter().map(field).collect();
            if !params.is_empty() {
                parts.push(param_list(language, params.iter().map(|at| (&*at.param, &at.problem))));
            }
            return parts.join(language.pick("; ", "；"));
        }
        Refusal::BaseUnknown(id) => {
            (format!("There is no pusher {id} that you may build on."), format!("没有可供使用的推送器 {id}。"))
        }
        Refusal::Cycle(id) => {
            (format!("The chain of base pushers leads back to {id}."), format!("基础推送器的链条又回到了 {id}。"))
        }
        Refusal::ChainTooDeep(limit) => {
            (format!("The chain of base pushers is longer than {limit}."), format!("基础推送器的链条超过 {limit} 层。"))
        }
        Refusal::GroupInGroup(id) => (
            format!("{id} leads to a group; a member of a group cannot."),
            format!("{id} 指向一个群组，群组成员不能是群组。"),
        ),
        Refusal::GroupEmpty => ("A group needs at least one member.".into(), "群组至少需要一个成员。".into()),
        Refusal::GroupFull(limit) => {
            (format!("A group has at most {limit} members."), format!("群组最多有 {limit} 个成员。"))
        }
        Refusal::MemberNameTaken(name) => {
            (format!("The group already has a member {name}."), format!("群组中已有成员 {name}。"))
        }
        Refusal::NotRenderable { member, reason } => {
            let at = member.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
            (
                format!("{at}the request cannot be made of these parameters: {reason}"),
                format!("{at}无法用这些参数生成请求：{reason}"),
            )
        }
        Refusal::PusherInUse { .. } => ("Other pushers build on this one.".into(), "有其他推送器基于它。".into()),
        Refusal::WouldBreak { dependents, fields, params } => {
            let first = dependents.first().map_or("", |dependent| dependent.name.as_str());
            let faults = Refusal::Fields { fields: fields.clone(), params: params.clone() };
            let faults = |language| self::refusal(language, &faults);
            (
                format!("{first} is built on this one and would no longer fit: {}", faults(Language::English)),
                format!("“{first}”基于它，改动后将不再适用：{}", faults(Language::Chinese)),
            )
        }
        Refusal::TooManyPushers(limit) => (
            format!("An account may have {limit} presets and groups; delete one first."),
            format!("每个账号最多拥有 {limit} 个预设和群组，请先删除一个。"),
        ),
        Refusal::SharedIsFinal => (
            "A shared pusher can no longer be changed, and only an administrator can delete it.".into(),
            "已公开的推送器不能再修改，只有管理员可以删除。".into(),
        ),
        Refusal::ProtectedNotShared => {
            ("A protected pusher cannot be shared.".into(), "受保护的推送器不能公开。".into())
        }
        Refusal::BaseNotPublic(id) => (
            format!("It builds on {id}, which is not public: share that first."),
            format!("它基于尚未公开的 {id}，请先将其公开。"),
        ),
        Refusal::AddressIsFinal(id) => (
            format!(
                "The secrets of the pusher {id} go only where it sends them; only its owner may change the address."
            ),
            format!("推送器 {id} 的密钥只会发往它自己的地址，只有其所有者可以改变该地址。"),
        ),
        Refusal::WrongState(state) => {
            (format!("This is not possible: the state is {state}."), format!("当前状态（{state}）下不能这样做。"))
        }
        Refusal::IdempotencyMismatch => (
            "Within the last 24 hours this Idempotency-Key came with another call.".into(),
            "该 Idempotency-Key 在 24 小时内已用于另一个请求。".into(),
        ),
        Refusal::RegistrationClosed => ("Nobody can sign up here.".into(), "本服务器不开放注册。".into()),
        Refusal::RegistrationNotOpen => {
            ("An invitation from a user or an administrator is needed.".into(), "需要用户或管理员的邀请。".into())
        }
        Refusal::MailNotConfigured => (
            "This server sends no mails; ask its administrator.".into(),
            "本服务器未配置邮件发送，请联系管理员。".into(),
        ),
        Refusal::LastAdmin => ("This is the last administrator.".into(), "这是最后一位管理员。".into()),
    };
    language.pick(english, chinese)
}

/// The problems of several parameters in one sentence.
pub fn param_list<'a>(language: Language, problems: impl Iterator<Item = (&'a str, &'a Problem)>) -> String {
    let parts: Vec<_> = problems.map(|(param, what)| format!("{param}: {}", problem(language, what))).collect();
    parts.join(language.pick("; ", "；"))
}

/// That something is not there.
pub fn not_found(language: Language, what: &str) -> String {
    let chinese = match what {
        "path" => "路径",
        "pusher" => "推送器",
        "service" => "服务",
        "preset" => "预设",
        "group" => "群组",
        "member" => "成员",
        "task" => "任务",
        "account" => "账号",
        "session" => "会话",
        "token" => "令牌",
        "invite" => "邀请码",
        "confirm_token" | "reset_token" => "该链接对应的令牌",
        other => other,
    };
    language.pick(format!("There is no such {}.", what.replace('_', " ")), format!("{chinese}不存在。"))
}

/// Why a caller is not let in.
pub fn unauthorized(language: Language, problem: AuthProblem) -> String {
    let (english, chinese) = match problem {
        AuthProblem::Missing => (
            "This needs a token, in a header `Authorization: Bearer <token>`.",
            "需要令牌，请放在请求头 `Authorization: Bearer <令牌>` 中。",
        ),
        AuthProblem::Invalid => ("The token is not valid.", "令牌无效。"),
        AuthProblem::Expired => ("The token has expired.", "令牌已过期。"),
    };
    language.pick(english, chinese).to_owned()
}

/// That the token lacks a scope.
pub fn scope_missing(language: Language, scope: Scope) -> String {
    let scope = scope.as_str();
    language.pick(format!("The token does not carry the scope {scope}."), format!("令牌缺少 {scope} 权限。"))
}

/// That a limit was reached.
pub fn limited(language: Language, limit: Limit, seconds: u64) -> String {
    let (english, chinese) = match limit {
        Limit::Rate => ("Too many requests", "请求过于频繁"),
        Limit::Quota => ("The quota of the day is used up", "今日配额已用完"),
        Limit::Attempts => ("Too many failed attempts", "失败次数过多"),
    };
    language.pick(format!("{english}; try again in {seconds} s."), format!("{chinese}，请在 {seconds} 秒后重试。"))
}

/// The texts that go with nothing but a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It went well.
    Done,
    /// The caller may not do this.
    Forbidden,
    /// The server is busy.
    Busy,
    /// The body is not UTF-8.
    BodyNotUtf8,
    /// A body whose lists and objects stand too deep in others.
    JsonTooDeep,
    /// The body could not be read to its end.
    BodyUnreadable,
    /// A push by GET that has a body.
    BodyWithGet,
    /// Neither JSON nor a form.
    MediaType,
    /// A body that is compressed.
    Encoding,
    /// The path or the query is not valid UTF-8, or not well formed.
    RequestInvalid,
    /// A slash in the content of a push, in its path.
    SlashInContent,
    /// Another method is needed.
    Method,
}

/// A text that goes with nothing but a code.
pub fn notice(language: Language, notice: Notice) -> &'static str {
    let (english, chinese) = match notice {
        Notice::Done => ("OK", "成功"),
        Notice::Forbidden => ("You may not do this.", "没有权限。"),
        Notice::Busy => ("The server is busy; try again soon.", "服务器繁忙，请稍后重试。"),
        Notice::BodyNotUtf8 => ("The body is not UTF-8.", "请求体不是 UTF-8 编码。"),
        Notice::JsonTooDeep => ("The body nests lists and objects too deeply.", "请求体中的列表和对象嵌套过深。"),
        Notice::BodyUnreadable => ("The body could not be read.", "无法读取请求体。"),
        Notice::BodyWithGet => (
            "A push by GET takes no body: use POST, or put the parameters into the query.",
            "GET 推送不接受请求体：请改用 POST，或将参数放入查询。",
        ),
        Notice::MediaType => (
            "The Content-Type is not supported; use application/json or application/x-www-form-urlencoded; a push takes text/plain as well.",
            "不支持该 Content-Type，请使用 application/json 或 application/x-www-form-urlencoded；推送还可用 text/plain。",
        ),
        Notice::Encoding => (
            "The body must not be compressed: Content-Encoding is not supported.",
            "不支持压缩的请求体（Content-Encoding）。",
        ),
        Notice::RequestInvalid => (
            "The path or the query is not well formed, or not UTF-8 once decoded.",
            "路径或查询格式错误，或解码后不是 UTF-8。",
        ),
        Notice::SlashInContent => {
            ("There is no such path; a slash in the content is written %2F.", "路径不存在；内容中的斜杠须写成 %2F。")
        }
        Notice::Method => ("This path does not take this method.", "该路径不支持此请求方法。"),
    };
    language.pick(english, chinese)
}

/// That the body is larger than so many bytes.
pub fn body_too_large(language: Language, limit: usize) -> String {
    language.pick(format!("The body is larger than {limit} bytes."), format!("请求体超过 {limit} 字节。"))
}

/// That the body is no JSON, and where that shows.
pub fn json_invalid(language: Language, line: usize, column: usize) -> String {
    language.pick(
        format!("The body is not well-formed JSON: see line {line}, column {column}."),
        format!("请求体不是合法的 JSON：见第 {line} 行第 {column} 列。"),
    )
}

/// That something broke, and the id under which the log knows it.
pub fn broken(language: Language, id: &str) -> String {
    language.pick(
        format!("Something went wrong here. The log knows it as {id}."),
        format!("服务器内部错误，日志编号 {id}。"),
    )
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
