//! The far end of the deliveries: answers 200 `{}` to everything on keep-alive connections and notes when each numbered
//! push first arrived, and whether it came again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::clock::micros;
use crate::generator::number_in;
use crate::http::frame;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// Highest number that is noted.
const MOST: usize = 1 << 20;

/// What arrived, by number.
pub struct Arrivals {
    /// Microseconds since 1970; 0 if it has not arrived.
    first: Vec<AtomicU64>,
    distinct: AtomicU64,
    again: AtomicU64,
    last: AtomicU64,
    /// How many somebody waits for.
    wanted: AtomicU64,
    enough: Notify,
}

impl Arrivals {
    /// When a push first arrived, in microseconds since 1970.
    pub fn of(&self, number: u64) -> Option<u64> {
        let at = self.first.get(usize::try_from(number).ok()?)?.load(Ordering::Acquire);
        (at > 0).then_some(at)
    }

    /// How many different pushes arrived.
    pub fn distinct(&self) -> u64 {
        self.distinct.load(Ordering::SeqCst)
    }

    /// How many arrivals were repetitions.
    pub fn again(&self) -> u64 {
        self.again.load(Ordering::Acquire)
    }

    /// When the latest of the first arrivals was, in microseconds since 1970.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Waits until so many different pushes have arrived; gives up after a time, which the count then shows.
    pub async fn wait_for(&self, count: u64, at_most: Duration) {
        // Woken once, at the end: to be woken by each would cost the machine more than receiving does.
        self.wanted.store(count, Ordering::SeqCst);
        let all = async {
            while self.distinct() < count {
                self.enough.notified().await;
            }
        };
        // Whoever waits looks at the count afterwards.
        let _ = tokio::time::timeout(at_most, all).await;
    }

    fn note(&self, number: u64) {
        let now = micros();
        let Some(first) = usize::try_from(number).ok().and_then(|at| self.first.get(at)) else { return };
        if first.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.last.store(now, Ordering::Release);
            let distinct = self.distinct.fetch_add(1, Ordering::SeqCst) + 1;
            if distinct >= self.wanted.load(Ordering::SeqCst) {
                self.enough.notify_one();
            }
        } else {
            self.again.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A receiver on a thread of its own.
pub struct Receiver {
    pub address: SocketAddr,
    pub arrivals: Arc<Arrivals>,
    stop: Arc<Notify>,
}

impl Receiver {
    /// Starts on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let arrivals = Arc::new(Arrivals {
            first: std::iter::repeat_with(|| AtomicU64::new(0)).take(MOST).collect(),
            distinct: AtomicU64::new(0),
            again: AtomicU64::new(0),
            last: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            enough: Notify::new(),
        });
        let stop = Arc::new(Notify::new());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("the receiver has no port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn({
            let (arrivals, stop) = (arrivals.clone(), stop.clone());
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = receive(listener, arrivals) => {}
                        () = stop.notified() => {}
                    }
                });
            }
        });
        Ok(Self { address, arrivals, stop })
    }

    /// The address as an endpoint of the `webhook` Service.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

async fn receive(listener: std::net::TcpListener, arrivals: Arc<Arrivals>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, arrivals.clone()));
    }
}

/// Answers the requests of one connection until it ends.
async fn serve(mut stream: TcpStream, arrivals: Arc<Arrivals>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    // A connection that breaks is the other side's to notice.
    let _ = stream.set_nodelay(true);
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += read;
        while let Some((head, body)) = frame(&buffer[..filled]).filter(|(head, body)| head + body <= filled) {
            if let Some(number) = number_in(&buffer[head..head + body]) {
                arrivals.note(number);
            }
            buffer.copy_within(head + body..filled, 0);
            filled -= head + body;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
