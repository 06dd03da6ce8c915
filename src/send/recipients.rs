//! A mail with several recipients of which a relay refuses some: the others get it all the same, and at once, for one
//! mistyped address or full mailbox must not keep an alert from everybody.

use lettre::address::Envelope;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::MailParameter;

use super::mail::MailFault;
use super::relays::Phase;

/// Asks whom the relay takes a mail for that it has refused, and sends it to those. `None` if the refusal was no matter of
/// some recipients: all are taken, or all refused alike. One that is only deferred must not go with one that is refused.
///
/// # Errors
/// If the relay refuses the mail itself, or the connection ends.
pub(super) async fn send_to_those_taken(
    connection: &mut AsyncSmtpConnection,
    to: &Envelope,
    mail: &[u8],
) -> Result<Option<MailFault>, MailFault> {
    let fault = |error| MailFault::Smtp(Phase::Transfer, error);
    // The relay knows it: without, the mail would not have been offered before.
    let is_ascii = to.from().into_iter().chain(to.to()).all(|address| AsRef::<str>::as_ref(address).is_ascii());
    let utf8 = (!is_ascii).then_some(MailParameter::SmtpUtfEight);
    connection.command(Mail::new(to.from().cloned(), utf8.into_iter().collect())).await.map_err(fault)?;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for address in to.to() {
        match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
            Ok(_) => taken.push(address.clone()),
            Err(error) if error.status().is_some() => refused.push((address.clone(), error)),
            Err(error) => return Err(fault(error)),
        }
    }
    let deferred = refused.iter().filter(|(_, error)| error.is_transient()).count();
    if refused.is_empty() || taken.is_empty() && (deferred == 0 || deferred == refused.len()) {
        return Ok(None);
    }
    connection.command(Rset).await.map_err(fault)?;
    // To nobody there is no envelope.
    if let Ok(those) = Envelope::new(to.from().cloned(), taken.clone()) {
        connection.send(&those, mail).await.map_err(fault)?;
    }
    Ok(Some(MailFault::Partly { refused, taken }))
}
