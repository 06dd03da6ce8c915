//! A stretch of network that can fail: what goes through it stops without a word, as behind a firewall that forgot.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards to one address.
pub struct Proxy {
    pub address: SocketAddr,
    /// Whether it works, and how often it has been cut.
    state: Arc<watch::Sender<(bool, u32)>>,
}

impl Proxy {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new((true, 0)));
        let of_all = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, to, of_all.subscribe()));
            }
        });
        Self { address, state }
    }

    /// Nothing comes through any more, and nobody is told. What was open then stays dead for ever.
    pub fn cut(&self) {
        self.state.send_modify(|(works, cuts)| (*works, *cuts) = (false, *cuts + 1));
    }

    /// New connections come through again.
    pub fn mend(&self) {
        self.state.send_modify(|(works, _)| *works = true);
    }
}

async fn forward(mut stream: TcpStream, to: SocketAddr, mut state: watch::Receiver<(bool, u32)>) {
    let (works, begun_after) = *state.borrow();
    let Ok(mut onward) = TcpStream::connect(to).await else { return };
    let cut = async {
        let _ = state.wait_for(|(_, cuts)| *cuts > begun_after).await;
    };
    if works {
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut onward) => return,
            () = cut => {}
        }
    }
    std::future::pending::<()>().await;
}
