//! As little HTTP/1.1 as a client and a receiver need that must cost next to nothing: one message after the other,
//! lengths by `content-length`. Knows neither chunks nor pipelining.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LENGTH: &[u8] = b"content-length:";
const MOST: usize = 64 * 1024;

/// Length of the head and of the body of the message that begins here, once its head is complete.
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.get(LENGTH.len()..).filter(|_| line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    });
    Some((head, length.unwrap_or(0)))
}

/// An answer, as long as it stands in the connection's buffer.
pub struct Answer<'a> {
    pub status: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// Whether the status is 200.
    pub fn is_ok(&self) -> bool {
        self.status == b"200"
    }
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096] })
    }

    /// Sends a finished request and waits for its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (head, end) = loop {
            if filled == self.buffer.len() {
                if filled >= MOST {
                    return Err(io::Error::other("an answer is longer than 64 KiB"));
                }
                self.buffer.resize(filled * 2, 0);
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            match frame(&self.buffer[..filled]) {
                Some((head, body)) if head + body <= filled => break (head, head + body),
                _ => {}
            }
        };
        // `HTTP/1.1 200 …`
        Ok(Answer { status: self.buffer.get(9..12).unwrap_or_default(), body: &self.buffer[head..end] })
    }
}

/// A finished request with a JSON body.
pub fn request(path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{token}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
