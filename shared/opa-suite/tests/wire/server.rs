//! A server of raw TCP, so that each fault happens on a real socket. It knows nothing of Opa! Suite.

use regua_domain::filling::Values;
use regua_opa_suite::{BaseUrl, OpaClient, OpaClientConfig, SendTemplate};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Once},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Whatever a test waits for happens within this time or never.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A request as it was written.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }

    pub fn line(&self) -> &str {
        self.head.lines().next().expect("a request line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(|line| named(line))?.split_once(':')?.1.trim())
    }
}

/// What the server saw of its clients.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub requests: Vec<Request>,
    pub connections: usize,
    /// Connections that the client closed or reset.
    pub left: usize,
    pub bytes_written: usize,
    /// Bytes that came before a client left and are no whole request.
    pub bytes_of_no_request: usize,
    /// Connections that the server found idle for so long that it was closing them.
    pub idle: usize,
}

/// What the server does after an answer.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Wait,
    Close,
    Reset,
}

type Answering = Arc<dyn Fn(&Request) -> Vec<u8> + Send + Sync>;

/// What the server does with each connection.
#[derive(Clone)]
pub enum Behaviour {
    /// Reads a request and answers with exactly these bytes.
    Answer(Answering, Then),
    /// Writes without reading anything first, then closes.
    Blurt(&'static [u8]),
    /// Waits for the first bytes of a request and resets without reading them.
    ResetUnread,
    /// Never reads and never writes.
    HangUnread,
    /// Takes every message. Whatever comes after a connection was idle for so long meets its close on the way: it is reset unread.
    ClosesIdle(Duration),
    /// Reads a request, writes the head, then the filling again and again, until the client goes away.
    Endless { head: &'static str, filling: &'static str, every: Duration },
}

impl Behaviour {
    pub fn bytes(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let bytes = bytes.into();
        Self::Answer(Arc::new(move |_| bytes.clone()), then)
    }

    pub fn by(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Answer(Arc::new(answer), Then::Wait)
    }
}

/// A whole HTTP answer.
pub fn http(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The answer to a message that was taken.
pub fn accepted() -> Vec<u8> {
    let body =
        json!({ "status": "success", "code": 200, "data": { "message": "Sent.", "messageSentId": "c1d2e3f4a5b60718293a4b5c" } });
    http(200, "Content-Type: application/json\r\n", body.to_string())
}

/// A port that refuses every connection: taken, but nobody listens, as long as the socket lives.
pub fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = socket.local_addr().expect("the port");
    (socket, address)
}

pub struct Server {
    pub address: SocketAddr,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port");
        let (told, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let told = Arc::new(told);
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                told.send_modify(|seen| seen.connections += 1);
                tokio::spawn(serve(stream, behaviour.clone(), Arc::clone(&told)));
            }
        });
        Self { address, seen, task }
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until what was seen is as expected.
    pub async fn until(&self, what: &str, expected: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.clone();
        let waited = timeout(DEADLINE, seen.wait_for(expected)).await.map(|seen| drop(seen.expect("the server runs")));
        waited.unwrap_or_else(|_| panic!("{what}; seen: {:?}", self.seen()));
    }

    pub fn config(&self) -> OpaClientConfig {
        config(&format!("http://{}", self.address))
    }

    pub fn client(&self) -> OpaClient {
        OpaClient::new(self.config()).expect("a client")
    }
}

/// A configuration whose time-outs no healthy answer needs, however busy this machine is.
pub fn config(url: &str) -> OpaClientConfig {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one"));
    let (base_url, _) = BaseUrl::parse(url, true).expect("a usable address");
    let token = "secret-token".to_owned().into();
    OpaClientConfig {
        connect_timeout: Duration::from_secs(5),
        request_timeout: DEADLINE,
        ..OpaClientConfig::new(base_url, token)
    }
}

pub fn message() -> SendTemplate {
    SendTemplate {
        phone_e164: "+5511900000000".into(),
        template_id: "b1c2d3e4f5a60718293a4b5c".into(),
        values: Values::ByPosition(vec!["Fulana".into()]),
        channel_id: "a1b2c3d4e5f60718293a4b5c".into(),
        metadata: json!({ "message": "0192" }),
        header_media: None,
        allow_in_service: false,
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour, told: Arc<watch::Sender<Seen>>) {
    match behaviour {
        Behaviour::Answer(answer, then) => loop {
            let left_after = |bytes: usize| {
                told.send_modify(|seen| {
                    seen.left += 1;
                    seen.bytes_of_no_request += bytes;
                });
            };
            let request = match read_request(&mut stream).await {
                Ok(request) => request,
                Err(bytes) => return left_after(bytes),
            };
            let bytes = answer(&request);
            told.send_modify(|seen| seen.requests.push(request));
            if stream.write_all(&bytes).await.is_err() {
                return left_after(0);
            }
            match then {
                Then::Wait => {}
                Then::Close => return,
                Then::Reset => return stream.set_zero_linger().expect("a socket option"),
            }
        },
        Behaviour::Blurt(bytes) => {
            stream.write_all(bytes).await.expect("the client reads");
            let mut ignored = Vec::new();
            // Closing with something unread would reset what was written before the client read it.
            stream.shutdown().await.expect("the client is there");
            drop(stream.read_to_end(&mut ignored).await);
        }
        Behaviour::ResetUnread => {
            stream.peek(&mut [0]).await.expect("the client writes");
            stream.set_zero_linger().expect("a socket option");
        }
        Behaviour::HangUnread => std::future::pending().await,
        Behaviour::ClosesIdle(after) => {
            while let Ok(request) = read_request(&mut stream).await {
                told.send_modify(|seen| seen.requests.push(request));
                stream.write_all(&accepted()).await.expect("the client waits for it");
                if timeout(after, stream.peek(&mut [0])).await.is_err() {
                    told.send_modify(|seen| seen.idle += 1);
                    if stream.peek(&mut [0]).await.is_ok_and(|bytes| bytes > 0) {
                        stream.set_zero_linger().expect("a socket option");
                    }
                    return;
                }
            }
            told.send_modify(|seen| seen.left += 1);
        }
        Behaviour::Endless { head, filling, every } => {
            let request = read_request(&mut stream).await.expect("a request");
            told.send_modify(|seen| seen.requests.push(request));
            let mut pace = (!every.is_zero()).then(|| tokio::time::interval(every));
            let mut bytes = head.as_bytes();
            while stream.write_all(bytes).await.is_ok() {
                told.send_modify(|seen| seen.bytes_written += bytes.len());
                bytes = filling.as_bytes();
                if let Some(pace) = &mut pace {
                    pace.tick().await;
                }
            }
            told.send_modify(|seen| seen.left += 1);
        }
    }
}

/// The next request, or how much of one came before the client went away.
async fn read_request(stream: &mut TcpStream) -> Result<Request, usize> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return Err(bytes.len());
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head of ASCII");
    let mut request = Request { head, body: bytes[head_end..].to_vec() };
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.unwrap_or(0) == 0 {
            return Err(head_end + request.body.len());
        }
    }
    Ok(request)
}
