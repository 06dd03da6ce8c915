//! What a connection may cost: so many are open at a time, half of them at most from one address, one more is told so at
//! once, and one on which no answer could be sent for long is closed, whether its client sends a head or a body too slowly,
//! reads too slowly, or does nothing. When the server ends, none of that goes on for long.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::closing::Closing;
use super::messages::{self, Language, Notice};
use super::{bare, malformed};

/// How long a connection may go without a byte of an answer. Longer than proxies usually keep one for later.
pub const SILENCE: Duration = Duration::from_secs(75);
/// How long a request may take to come in whole, and its answer to go out, once the server ends.
const HURRY: Duration = Duration::from_secs(3);
/// Connections that are being told that there are too many; more than these are only closed.
const MOST_REFUSED: usize = 64;
/// How long telling may take.
const REFUSAL: Duration = Duration::from_secs(1);
/// Pause after the system gave no connection, as when files have run out: trying on at once would take a processor.
const PAUSE: Duration = Duration::from_millis(50);
/// How often that is told.
const WARNINGS: Duration = Duration::from_secs(10);

/// Accepts connections, up to a number.
pub struct Connections<A, C> {
    inner: A,
    places: Places<C>,
    refusals: Arc<Semaphore>,
    patience: Patience,
    /// When it was last told that none could be accepted.
    warned: Option<Instant>,
}

/// How long a connection is waited for.
#[derive(Clone)]
struct Patience {
    silence: Duration,
    hurry: Duration,
    closing: Arc<Closing>,
}

impl<A: Acceptor, C: Fn(IpAddr) -> Option<u64>> Connections<A, C> {
    /// At most so many at a time, and half of them from peers for which `counted` gives the same number.
    pub fn new(inner: A, most: usize, counted: C, closing: Arc<Closing>) -> Self {
        let places = Places {
            all: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            share: most.div_ceil(2),
            taken: Arc::default(),
            counted,
        };
        let patience = Patience { silence: SILENCE, hurry: HURRY, closing };
        Self { inner, places, refusals: Arc::new(Semaphore::new(MOST_REFUSED)), patience, warned: None }
    }
}

/// How many connections each address has, by its number.
type Taken = Arc<Mutex<HashMap<u64, usize>>>;

/// The places for connections.
struct Places<C> {
    all: Arc<Semaphore>,
    /// Most of one address: who opens all that they can leaves room for the others.
    share: usize,
    taken: Taken,
    counted: C,
}

impl<C: Fn(IpAddr) -> Option<u64>> Places<C> {
    fn take(&self, peer: Option<IpAddr>) -> Option<Place> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        let Some(number) = peer.and_then(&self.counted) else { return Some(Place { _permit: permit, share: None }) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(number).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, share: Some((self.taken.clone(), number)) })
    }
}

/// The place of one connection, until it is closed.
struct Place {
    _permit: OwnedSemaphorePermit,
    share: Option<(Taken, u64)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((taken, number)) = &self.share else { return };
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(number) {
            *count -= 1;
            if *count == 0 {
                taken.remove(number);
            }
        }
    }
}

impl<A: Acceptor, C: Fn(IpAddr) -> Option<u64> + Send> Acceptor for Connections<A, C> {
    type Io = Watched<A::Io>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        loop {
            let (io, local, remote, scheme) = match self.inner.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if self.warned.is_none_or(|at| at.elapsed() >= WARNINGS) {
                        self.warned = Some(Instant::now());
                        tracing::warn!(%error, "no connection could be accepted; more of the same are not told");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let peer = remote.as_socket_addr().map(|peer| peer.ip().to_canonical());
            if let Some(place) = self.places.take(peer) {
                return Ok((Watched::new(io, self.patience.clone(), place), local, remote, scheme));
            }
            if let Ok(turn) = self.refusals.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    // Whoever hangs up first knows already.
                    let _ = tokio::time::timeout(REFUSAL, refuse(io)).await;
                    drop(turn);
                });
            }
        }
    }
}

/// Says that there are too many connections, and waits for the other side to hang up: closing over what it has sent would
/// take the answer from it.
async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let message = messages::notice(Language::English, Notice::Busy);
    io.write_all(&bare::failure("503 Service Unavailable", "busy", message, "retry-after: 1\r\n")).await?;
    io.shutdown().await?;
    let mut rest = [0; 1024];
    while io.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A connection with its place among those that may be open, and an alarm.
pub struct Watched<Io> {
    io: Io,
    patience: Patience,
    answered: Instant,
    /// When it saw that the server ends.
    closing_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    /// What goes out in place of what was to be written, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
    _place: Place,
}

impl<Io> Watched<Io> {
    fn new(io: Io, patience: Patience, place: Place) -> Self {
        let (answered, alarm) = (Instant::now(), Box::pin(tokio::time::sleep(patience.silence)));
        Self { io, patience, answered, closing_since: None, alarm, instead: None, _place: place }
    }

    /// What cannot go on now fails once the time is up. The alarm is set anew only when it rings, and when the server ends,
    /// at which every connection is looked at.
    fn or_silence<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            return done;
        }
        let Patience { silence, hurry, closing } = &self.patience;
        if self.closing_since.is_none() && closing.has_begun() {
            let now = Instant::now();
            self.closing_since = Some(now);
            self.alarm.as_mut().reset(now + *hurry);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let (until, answering) = match self.closing_since {
                None => (self.answered + *silence, false),
                // A request of this very connection may be among them.
                Some(since) => (since.max(self.answered) + *hurry, closing.is_answering()),
            };
            let again = match until <= now {
                true if !answering => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                true => now + *hurry,
                false => until,
            };
            self.alarm.as_mut().reset(again);
        }
        Poll::Pending
    }
}

impl<Io: AsyncWrite + Unpin> Watched<Io> {
    /// Writes what goes out in place of these bytes, if anything does; then all of them count as written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<()>>> {
        if self.instead.is_none() {
            self.instead = Some((malformed::in_words(bytes)?, 0));
        }
        while let Some((text, sent)) = &mut self.instead {
            match Pin::new(&mut self.io).poll_write(cx, &text[*sent..]) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(more)) => *sent += more,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
            if *sent == text.len() {
                self.instead = None;
            }
        }
        Some(Poll::Ready(Ok(())))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.or_silence(cx, read)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = match self.poll_instead(cx, buf) {
            Some(instead) => instead.map_ok(|()| buf.len()),
            None => Pin::new(&mut self.io).poll_write(cx, buf),
        };
        if wrote.is_ready() {
            self.answered = Instant::now();
        }
        self.or_silence(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.or_silence(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.or_silence(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        let wrote = match self.poll_instead(cx, first) {
            Some(instead) => instead.map_ok(|()| bufs.iter().map(|buf| buf.len()).sum()),
            None => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        };
        if wrote.is_ready() {
            self.answered = Instant::now();
        }
        self.or_silence(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use poem::listener::{Listener, TcpListener};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn one_address_takes_half_of_the_places_and_gives_them_back() {
        let counted = |address: IpAddr| (!address.is_loopback()).then_some(u64::from(address.is_ipv6()));
        let all = Arc::new(Semaphore::new(5));
        let places = Places { all, share: 3, taken: Taken::default(), counted };
        let [one, other, own] = ["192.0.2.1", "2001:db8::1", "127.0.0.1"].map(|text| Some(text.parse().unwrap()));
        let mut held: Vec<_> = (0..3).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none());
        held.push(places.take(other).unwrap());
        held.push(places.take(own).unwrap());
        assert!([one, other, own, None].into_iter().all(|peer| places.take(peer).is_none()), "all are taken");
        held.clear();
        assert!(places.taken.lock().unwrap().is_empty());
        assert!([one, other].into_iter().all(|peer| places.take(peer).is_some()));
        let own: Vec<_> = (0..5).map_while(|_| places.take(own)).collect();
        assert_eq!(own.len(), 5, "what is not counted has no share");
    }

    #[tokio::test]
    async fn one_too_many_is_told_so_and_a_silent_one_is_closed() {
        let inner = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let silence = Duration::from_millis(50);
        let mut acceptor = Connections::new(inner, 1, |_| None, Arc::default());
        acceptor.patience.silence = silence;
        let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
        let mut first = TcpStream::connect(address).await.unwrap();
        let (mut served, ..) = acceptor.accept().await.unwrap();
        let accepting = tokio::spawn(async move { acceptor.accept().await.map(drop) });
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut told = Vec::new();
        second.read_to_end(&mut told).await.unwrap();
        let told = String::from_utf8(told).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "busy");
        // Bytes that trickle in do not count, bytes that go out do.
        first.write_all(b"x").await.unwrap();
        let mut byte = [0; 1];
        served.read_exact(&mut byte).await.unwrap();
        served.write_all(b"y").await.unwrap();
        assert_eq!(served.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(served);
        let _third = TcpStream::connect(address).await.unwrap();
        accepting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn when_the_server_ends_half_a_request_is_not_waited_for_and_an_answer_is() {
        let inner = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let closing = Arc::new(Closing::default());
        let mut acceptor = Connections::new(inner, 1, |_| None, closing.clone());
        acceptor.patience.hurry = Duration::from_millis(20);
        let mut client = TcpStream::connect(*acceptor.local_addr()[0].as_socket_addr().unwrap()).await.unwrap();
        let (mut served, ..) = acceptor.accept().await.unwrap();
        let mut byte = [0; 1];
        let patiently = Duration::from_millis(100);
        assert!(tokio::time::timeout(patiently, served.read(&mut byte)).await.is_err(), "there is time");
        let answering = closing.answer();
        closing.begin();
        assert!(tokio::time::timeout(patiently, served.read(&mut byte)).await.is_err(), "somebody is being answered");
        drop(answering);
        assert_eq!(served.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        served.write_all(b"y").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
    }
}
