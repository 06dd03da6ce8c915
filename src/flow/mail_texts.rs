//! What the server's own mails say, in English and in Chinese, as text and as HTML.

use super::mails::{Letter, LetterKind};
use crate::domain::language::Language;

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// What stands in a mail, from top to bottom.
enum Part {
    Words(String),
    /// A link to follow.
    Link(String),
    /// To be copied as it is.
    Code(String),
}

/// The words of a letter, with a link to this server and a token.
pub fn text(letter: &Letter, base_url: &str, token: &str) -> Text {
    let (subject, parts) = match letter.language {
        Language::English => english(letter, base_url, token),
        Language::Chinese => chinese(letter, base_url, token),
    };
    let text: Vec<&str> = parts.iter().map(Part::text).collect();
    let html: String = parts.iter().map(Part::html).collect();
    Text { subject: subject.to_owned(), text: text.join("\n\n") + "\n", html }
}

fn english(letter: &Letter, base_url: &str, token: &str) -> (&'static str, Vec<Part>) {
    let to = &letter.to;
    let words = |text: &str| Part::Words(text.to_owned());
    match &letter.kind {
        LetterKind::Confirm { .. } => (
            "Confirm your Fanfare account",
            vec![
                Part::Words(format!(
                    "Somebody, probably you, signed up at {base_url} as {to}. To confirm, follow this link:"
                )),
                Part::Link(format!("{base_url}/account/user/confirm/{token}/")),
                words("If it was not you, do nothing: an account that is not confirmed is removed after 24 hours."),
            ],
        ),
        LetterKind::Exists => (
            "You have a Fanfare account already",
            vec![
                Part::Words(format!(
                    "Somebody, probably you, signed up at {base_url} as {to}, which has an account already."
                )),
                words("Log in with your password, or have it reset. If it was not you, do nothing."),
            ],
        ),
        LetterKind::Reset => (
            "Reset your Fanfare password",
            vec![
                Part::Words(format!(
                    "Somebody, probably you, asked for another password for {to}. Within an hour, send this token:"
                )),
                Part::Code(token.to_owned()),
                words("together with the new password, as fields token and password, by POST to:"),
                Part::Code(format!("{base_url}/account/password/reset/confirm/")),
                words("If it was not you, do nothing: your password stays as it is."),
            ],
        ),
        LetterKind::Change { .. } => (
            "Confirm your new mail address",
            vec![
                Part::Words(format!(
                    "An account at {base_url} is to have the address {to}. To confirm, follow this link within an hour:"
                )),
                Part::Link(format!("{base_url}/account/user/confirm/{token}/")),
                words("If you know nothing of it, do nothing."),
            ],
        ),
        LetterKind::Changed => (
            "Your Fanfare account has a new mail address",
            vec![
                Part::Words(format!(
                    "The account at {base_url} that had the address {to} has another one from now on."
                )),
                words("If it was not you, tell whoever runs that server."),
            ],
        ),
    }
}

fn chinese(letter: &Letter, base_url: &str, token: &str) -> (&'static str, Vec<Part>) {
    let to = &letter.to;
    let words = |text: &str| Part::Words(text.to_owned());
    match &letter.kind {
        LetterKind::Confirm { .. } => (
            "激活您的 Fanfare 账号",
            vec![
                Part::Words(format!("有人（应该是您）用 {to} 在 {base_url} 注册了账号。请打开以下链接激活：")),
                Part::Link(format!("{base_url}/account/user/confirm/{token}/")),
                words("如果不是您本人操作，请忽略本邮件：未激活的账号会在 24 小时后删除。"),
            ],
        ),
        LetterKind::Exists => (
            "您已有 Fanfare 账号",
            vec![
                Part::Words(format!("有人（应该是您）用 {to} 在 {base_url} 注册，而该邮箱已有账号。")),
                words("请用密码登录，或重置密码。如果不是您本人操作，请忽略本邮件。"),
            ],
        ),
        LetterKind::Reset => (
            "重置您的 Fanfare 密码",
            vec![
                Part::Words(format!("有人（应该是您）为 {to} 申请重置密码。请在一小时内将以下令牌：")),
                Part::Code(token.to_owned()),
                words("与新密码一起（字段 token 与 password）以 POST 方式提交到："),
                Part::Code(format!("{base_url}/account/password/reset/confirm/")),
                words("如果不是您本人操作，请忽略本邮件，密码不会改变。"),
            ],
        ),
        LetterKind::Change { .. } => (
            "确认您的新邮箱",
            vec![
                Part::Words(format!("{base_url} 上的一个账号将改用邮箱 {to}。请在一小时内打开以下链接确认：")),
                Part::Link(format!("{base_url}/account/user/confirm/{token}/")),
                words("如果您不知情，请忽略本邮件。"),
            ],
        ),
        LetterKind::Changed => (
            "您的 Fanfare 账号已更换邮箱",
            vec![
                Part::Words(format!("{base_url} 上原先使用邮箱 {to} 的账号已改用其他邮箱。")),
                words("如果不是您本人操作，请联系该服务器的管理员。"),
            ],
        ),
    }
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Self::Words(text) | Self::Link(text) | Self::Code(text) => text,
        }
    }

    fn html(&self) -> String {
        let text = escape(self.text());
        match self {
            Self::Words(_) => format!("<p>{text}</p>\n"),
            Self::Link(_) => format!("<p><a href=\"{text}\">{text}</a></p>\n"),
            Self::Code(_) => format!("<p><code>{text}</code></p>\n"),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccountId;

    #[test]
    fn every_mail_says_what_it_must_in_both_languages() {
        for kind in [
            LetterKind::Confirm { password_hash: None },
            LetterKind::Exists,
            LetterKind::Reset,
            LetterKind::Change { account: AccountId::new("a"), password_hash: None },
            LetterKind::Changed,
        ] {
            for language in [Language::English, Language::Chinese] {
                let letter = Letter { kind: kind.clone(), to: "a&'b@example.org".to_owned(), language, origin: None };
                let mail = text(&letter, "https://push.example.org", "t0ken");
                assert_eq!(mail.subject.is_ascii(), language == Language::English, "{}", mail.subject);
                assert!(mail.text.contains("https://push.example.org") && mail.text.contains("a&'b@example.org"));
                assert!(mail.html.contains("a&amp;&#39;b@example.org") && !mail.html.contains("a&'b"), "{}", mail.html);
                let wants_token = ![LetterKind::Exists, LetterKind::Changed].contains(&kind);
                assert_eq!((mail.text.contains("t0ken"), mail.html.contains("t0ken")), (wants_token, wants_token));
            }
        }
    }
}
