//! What the settings say of people who join: whether they may, how they get mails, how they are told from machines.

use crate::config::{Config, Registration as Opening};
use crate::domain::account::Registration;
use crate::domain::captcha::Wanted;
use crate::domain::delivery::Relay;
use crate::flow::invite::Captcha;
use crate::flow::mails::OwnMail;
use crate::send::guard::Allow;

/// Who may sign up.
pub(super) fn registration(config: &Config) -> Registration {
    match config.registration {
        Opening::Closed => Registration::Closed,
        Opening::Invite => Registration::Invite,
        Opening::Open => Registration::Open,
    }
}

/// The sender of the server's own mails: as set, else the name at the relay if it is an address, else one at the relay.
pub(super) fn own_mail(config: &Config, relay: &Relay) -> OwnMail {
    let login = relay.credentials.as_ref().map(|(name, _)| name.clone()).filter(|name| name.contains('@'));
    let from = config.mail.from.clone().or(login).unwrap_or_else(|| format!("fanfare@{}", relay.host));
    OwnMail { relay: relay.clone(), from }
}

/// How people are told from machines, if they are.
pub(super) fn captcha(config: &Config) -> Option<Captcha> {
    let recaptcha = &config.recaptcha;
    Some(Captcha {
        secret: recaptcha.secret.as_ref()?.expose().to_owned(),
        verify_url: recaptcha.verify_url.clone(),
        wanted: Wanted { min_score: recaptcha.min_score, action: recaptcha.action.clone() },
    })
}

/// The host that verifies proofs: the operator named it, so it may stand anywhere.
pub(super) fn own_hosts(config: &Config) -> Allow {
    let url = url::Url::parse(&config.recaptcha.verify_url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    Allow::parse(host).unwrap_or_default()
}

/// Says what will not work of signing up.
pub(super) fn tell(config: &Config) {
    if config.mail.url.is_none() {
        let missing =
            "the server sends no mails, because mail.url is not set: forgotten passwords cannot be reset by mail";
        match config.registration {
            Opening::Closed => tracing::info!("{missing}"),
            _ => tracing::warn!("{missing}, and whoever signs up must be confirmed by an administrator"),
        }
    } else if config.public_url.is_none() && config.registration != Opening::Closed {
        tracing::warn!("links in mails lead to the address that the server listens on, because public_url is not set");
    }
    if config.registration == Opening::Open && config.recaptcha.secret.is_none() {
        tracing::warn!(
            "anybody may sign up, and nobody is asked for a proof that they are a person (recaptcha.secret)"
        );
    }
}
