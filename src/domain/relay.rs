//! The address of a mail relay.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::delivery::{MailSecurity, Relay};

/// Reads a relay's address: `smtps://` is TLS from the first byte (port 465), `smtp://` with `?tls=required` is
/// STARTTLS (587), `smtp://` alone is plain text (25). Name and password are percent-encoded.
///
/// # Errors
///
/// A text that says what is wrong, without repeating the address.
pub fn parse_relay_url(url: &str) -> Result<Relay, String> {
    let url = Url::parse(url.trim()).map_err(|_| "is not an address such as smtp://user:pass@host:587?tls=required")?;
    let mut required = false;
    for (key, value) in url.query_pairs() {
        match (&*key, &*value) {
            ("tls", "required") => required = true,
            ("tls", _) => return Err("`tls` can only be `required`".to_owned()),
            _ => return Err("knows no option but `tls`".to_owned()),
        }
    }
    let (security, port) = match (url.scheme(), required) {
        ("smtps", _) => (MailSecurity::Tls, 465),
        ("smtp", true) => (MailSecurity::StartTls, 587),
        ("smtp", false) => (MailSecurity::None, 25),
        _ => return Err("begins with neither smtp:// nor smtps://".to_owned()),
    };
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err("has something after the host that is not an option".to_owned());
    }
    let host = match Host::parse(url.host_str().unwrap_or_default()) {
        Ok(Host::Ipv6(ip)) => ip.to_string(),
        Ok(host) => host.to_string(),
        Err(_) => return Err("names no valid host".to_owned()),
    };
    let port = url.port().unwrap_or(port);
    Ok(Relay { host, port, security, credentials: credentials(&url)?, own: true })
}

fn credentials(url: &Url) -> Result<Option<(String, String)>, String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    let not_text = |_| "has a name or password that is not text".to_owned();
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err("needs both a name and a password, or neither".to_owned()),
        (name, Some(password)) => Ok(Some((decoded(name).map_err(not_text)?, decoded(password).map_err(not_text)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(url: &str) -> Relay {
        parse_relay_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_relay_address_says_host_port_security_and_login() {
        use MailSecurity::{None as Plain, StartTls, Tls};
        let cases = [
            ("smtp://mail.example.org", "mail.example.org", 25, Plain),
            ("smtp://mail.example.org/", "mail.example.org", 25, Plain),
            ("smtp://Mail.Example.org:2525", "mail.example.org", 2525, Plain),
            ("smtp://mail.example.org?tls=required", "mail.example.org", 587, StartTls),
            (" smtp://mail.example.org:25?tls=required ", "mail.example.org", 25, StartTls),
            ("smtps://mail.example.org", "mail.example.org", 465, Tls),
            ("smtps://mail.example.org:4650?tls=required", "mail.example.org", 4650, Tls),
            ("smtp://10.0.0.1", "10.0.0.1", 25, Plain),
            ("smtp://[::1]:26", "::1", 26, Plain),
        ];
        for (url, host, port, security) in cases {
            assert_eq!(
                relay(url),
                Relay { host: host.to_owned(), port, security, credentials: None, own: true },
                "{url}"
            );
        }
        let login = relay("smtp://ann%40example.org:p%3As%2Fs%25@host:587?tls=required").credentials;
        assert_eq!(login, Some(("ann@example.org".to_owned(), "p:s/s%".to_owned())));
    }

    #[test]
    fn a_wrong_relay_address_is_refused_without_repeating_it() {
        let wrong = [
            "",
            "hunter2",
            "http://ann:hunter2@host",
            "smtp://",
            "smtp:host",
            "smtp://ann@host",
            "smtp://:hunter2@host",
            "smtp://host/hunter2",
            "smtp://host?tls=hunter2",
            "smtp://host?hunter2=1",
            "smtp://host#hunter2",
            "smtp://ann:%ff@host",
            "smtp://ann:hunter2@ho%20st",
            "smtp://host:99999",
            "smtp://ann:hunter2@host:port",
        ];
        for url in wrong {
            let error = parse_relay_url(url).expect_err(url);
            assert!(!error.contains("hunter2") && !error.contains("ann"), "{url}: {error}");
        }
    }
}
