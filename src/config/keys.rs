//! The names of the keys, their variables, and which known name is nearest to a mistyped one.

/// Every key, with a dot between section and name.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("listen", Kind::Text),
    ("data_dir", Kind::Text),
    ("database_url", Kind::Text),
    ("trusted_proxies", Kind::Texts),
    ("public_url", Kind::Text),
    ("secret_key", Kind::Text),
    ("admin_email", Kind::Text),
    ("admin_password", Kind::Text),
    ("registration", Kind::Text),
    ("delivery.allow", Kind::Texts),
    ("delivery.concurrency", Kind::Number),
    ("delivery.per_host", Kind::Number),
    ("delivery.attempt_timeout_s", Kind::Number),
    ("delivery.connect_timeout_s", Kind::Number),
    ("delivery.take_over_s", Kind::Number),
    ("delivery.retry_waits_s", Kind::Numbers),
    ("delivery.keep_finished_days", Kind::Number),
    ("database.synchronous", Kind::Text),
    ("database.max_connections", Kind::Number),
    ("log.format", Kind::Text),
    ("log.level", Kind::Text),
    ("mail.url", Kind::Text),
    ("mail.from", Kind::Text),
    ("recaptcha.secret", Kind::Text),
    ("recaptcha.verify_url", Kind::Text),
    ("recaptcha.min_score", Kind::Decimal),
    ("recaptcha.action", Kind::Text),
    ("limits.body_kib", Kind::Number),
    ("limits.per_address_per_minute", Kind::Number),
    ("limits.count_loopback", Kind::Flag),
    ("limits.per_account_per_minute", Kind::Number),
    ("limits.per_pusher_per_minute", Kind::Number),
    ("limits.daily_quota", Kind::Number),
    ("limits.connections", Kind::Number),
    ("audit.keep_days", Kind::Number),
];

/// Keys whose value is repeated in no message.
pub(super) const SECRETS: &[&str] = &["secret_key", "admin_password", "database_url", "mail.url", "recaptcha.secret"];

/// The variable that names the file.
pub const CONFIG_VARIABLE: &str = "FANFARE_CONFIG";

/// Variables that begin like ours and are no keys: the file's path, and what the client reads.
pub const OTHER_VARIABLES: &[&str] = &[CONFIG_VARIABLE, "FANFARE_SERVER", "FANFARE_TOKEN"];

/// How the text of a variable is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// `true` or `false`.
    Flag,
    /// A number that need not be whole.
    Decimal,
    /// Separated by commas.
    Texts,
    /// Separated by commas.
    Numbers,
}

/// The variable that stands for a key: `delivery.allow` is `FANFARE_DELIVERY_ALLOW`.
pub fn variable_of(key: &str) -> String {
    format!("FANFARE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The known name that a mistyped one most resembles.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|name| distance(wrong, name))
}

/// How many characters must be put in, taken out or changed to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, have) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, want) in to.iter().enumerate() {
            let change = diagonal + usize::from(have != *want);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (from, to, expected) in
            [("", "", 0), ("kitten", "sitting", 3), ("listen", "listen", 0), ("", "abc", 3), ("lisen", "listen", 1)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn variables_follow_the_keys() {
        assert_eq!(variable_of("delivery.attempt_timeout_s"), "FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S");
    }
}
