//! A raw HTTP/1.1 client: what it sends and what came back, byte for byte.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes longer, unless a fault says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &'_ str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|text| line(text)).and_then(|text| text.split_once(':')).map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").context("the simulators speak plain HTTP")?;
        Ok(Self { stream: TcpStream::connect(address).await? })
    }

    /// Sends a request and reads its answer to the end.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<Answer> {
        self.send(method, path, headers, body).await?;
        timeout(ANSWER_WITHIN, self.answer()).await.context("no answer in time")?
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: simulator\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        self.stream.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
        Ok(())
    }

    /// Reads one answer: with `Content-Length` or chunked.
    pub async fn answer(&mut self) -> anyhow::Result<Answer> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1).context("a status line")?.parse()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = self.exactly(length.parse()?).await?;
            return Ok(answer);
        }
        loop {
            let size = String::from_utf8(self.until(b"\r\n").await?)?;
            let size = usize::from_str_radix(size.trim(), 16)?;
            answer.body.extend(self.exactly(size).await?);
            self.until(b"\r\n").await?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }

    /// Reads as far as the end of an answer's head.
    pub async fn head(&mut self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.until(b"\r\n\r\n").await?)?)
    }

    /// Reads until the connection ends, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut bytes = Vec::new();
        let ended = self.stream.read_to_end(&mut bytes).await;
        (bytes, ended.map(|_| ()))
    }

    pub async fn one_byte(&mut self) -> std::io::Result<u8> {
        self.stream.read_u8().await
    }

    async fn exactly(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn until(&mut self, end: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            if bytes.len() > 64 * 1024 {
                bail!("a head without end");
            }
            bytes.push(self.stream.read_u8().await?);
        }
        Ok(bytes)
    }
}

/// One request on a connection of its own.
pub async fn ask(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<Answer> {
    Connection::open(url).await?.ask(method, path, headers, body).await
}
