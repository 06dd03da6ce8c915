//! Which certificates are trusted, for requests and mails alike, and how a failed handshake is told to people.

use std::error::Error;
use std::io;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::passing;
use crate::domain::delivery::SendFailure;

/// Makes `ring` the one provider of the process; a second call, or an earlier provider, changes nothing.
pub(super) fn install_provider() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The client side of TLS with the built-in roots, which need no certificates on the machine, and the given ones.
pub(super) fn client_config(extra_roots: &[Vec<u8>]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for (index, der) in extra_roots.iter().enumerate() {
        let added = roots.add(CertificateDer::from(der.clone()));
        added.with_context(|| format!("extra root certificate {} cannot be read", index + 1))?;
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The first error of type `E` in the chain, also inside I/O errors, which `source` steps over.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = match inside {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What to tell when TLS is why there is no connection; `None` if it is not. Worth another attempt, because
/// operators mend certificates.
pub(super) fn failure(error: &(dyn Error + 'static)) -> Option<SendFailure> {
    let error = find::<rustls::Error>(error)?;
    let message = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "The host's certificate has expired."
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "The host's certificate is not valid yet."
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "The host's certificate is for another name."
            }
            CertificateError::UnknownIssuer => "The host's certificate comes from an authority that is not trusted.",
            CertificateError::Revoked => "The host's certificate has been revoked.",
            _ => "The host's certificate is not valid.",
        },
        rustls::Error::InvalidMessage(_) => "The host does not speak TLS at this port.",
        _ => "The host and this server could not agree on a secure connection.",
    };
    Some(passing("tls_failed", message))
}
