//! A raw HTTP server that answers lists as the ERP does (contracts §2.1), with the faults that the tests ask for.

use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use regua_ixc::webservice::{IxcClient, IxcConfig};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: Value,
}

impl Request {
    /// The resource at the end of the path.
    pub fn resource(&self) -> &str {
        self.line.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).expect("a path")
    }
}

/// What the server does with a request.
#[derive(Clone)]
pub enum Reply {
    /// An answer of this status, with its length.
    Http(u16, &'static str, Vec<u8>),
    /// Bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, with the connection open.
    Hang,
}

impl Reply {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, "", body.into().into_bytes())
    }
}

/// A running server; it ends when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts on a free port.
    pub async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, heard) = (Arc::new(answer), log.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, heard) = (answer.clone(), heard.clone());
                connections.spawn(async move { serve(socket, &*answer, &heard).await });
            }
        });
        Self { address, log, task }
    }

    /// Always the same answer.
    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    /// A client of this server.
    pub fn client(&self) -> IxcClient {
        self.client_with(|_| {})
    }

    /// A client of this server with other settings.
    pub fn client_with(&self, change: impl FnOnce(&mut IxcConfig)) -> IxcClient {
        install_tls();
        let mut config = IxcConfig::new(format!("http://{}", self.address), SecretString::from("12:s3cret"));
        config.allow_private = true;
        config.connect_timeout = Duration::from_secs(5);
        config.request_timeout = Duration::from_secs(10);
        change(&mut config);
        IxcClient::new(&config).expect("a valid configuration")
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().expect("no test panicked with the log").clone()
    }
}

/// reqwest is built without a TLS provider of its own.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one"));
}

async fn serve(socket: TcpStream, answer: &(dyn Fn(&Request) -> Reply + Send + Sync), log: &Mutex<Vec<Request>>) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await {
        log.lock().expect("no test panicked with the log").push(request.clone());
        let bytes = match answer(&request) {
            Reply::Http(status, headers, body) => {
                let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
                bytes.extend_from_slice(&body);
                bytes
            }
            Reply::Raw(bytes) => {
                // The client may have hung up already, which is what such a test is about.
                socket.write_all(&bytes).await.ok();
                return;
            }
            Reply::Hang => std::future::pending().await,
        };
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        socket.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).expect("the client sends JSON");
    Some(Request { line: line.trim().to_owned(), headers, body })
}

/// What an installation gets wrong.
#[derive(Clone, Copy, Default)]
pub struct Flaws {
    /// Conditions on these columns are ignored.
    pub ignores: &'static [&'static str],
    /// Dates in filters are understood as `YYYY-MM-DD` only: the documented form finds nothing.
    pub iso_dates_only: bool,
    /// Rows come in descending order.
    pub descends: bool,
    /// How `total` is told.
    pub total: Total,
}

/// The forms of `total`.
#[derive(Clone, Copy, Default)]
pub enum Total {
    #[default]
    Number,
    Text,
    Absent,
    /// More than what matches.
    TooLarge,
}

/// Tables whose rows are lists of columns.
#[derive(Clone, Default)]
pub struct Erp {
    pub tables: HashMap<&'static str, Vec<Value>>,
    pub flaws: Flaws,
}

impl Erp {
    pub fn new(tables: impl IntoIterator<Item = (&'static str, Vec<Value>)>) -> Self {
        Self { tables: tables.into_iter().collect(), flaws: Flaws::default() }
    }

    pub fn with(mut self, flaws: Flaws) -> Self {
        self.flaws = flaws;
        self
    }

    pub async fn start(self) -> Server {
        Server::start(move |request| self.list(request)).await
    }

    fn list(&self, request: &Request) -> Reply {
        let table = request.resource();
        let Some(rows) = self.tables.get(table) else {
            return Reply::ok(r#"{"type":"error","message":"Recurso não está disponível!<br />"}"#);
        };
        let conditions = self.conditions(&request.body, table);
        let mut found: Vec<&Value> =
            rows.iter().filter(|row| conditions.iter().all(|condition| self.holds(row, condition))).collect();
        found.sort_by_key(|row| number(&row["id"]));
        if self.flaws.descends {
            found.reverse();
        }
        let matching = found.len();
        found.truncate(request.body["rp"].as_str().and_then(|rp| rp.parse().ok()).expect("rp is text"));
        let mut answer = json!({"page": "1", "registros": found});
        match self.flaws.total {
            Total::Number => answer["total"] = json!(matching),
            Total::Text => answer["total"] = json!(matching.to_string()),
            Total::TooLarge => answer["total"] = json!(matching + 3),
            Total::Absent => {}
        }
        Reply::ok(answer.to_string())
    }

    fn conditions(&self, body: &Value, table: &str) -> Vec<(String, String, String)> {
        let first = json!({"TB": body["qtype"], "OP": body["oper"], "P": body["query"]});
        let rest =
            body["grid_param"].as_str().map_or_else(|| json!([]), |grid| serde_json::from_str(grid).expect("JSON in a string"));
        let all = std::iter::once(&first).chain(rest.as_array().expect("a list"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        all.map(|condition| {
            let column = text(&condition["TB"]);
            let column = column.strip_prefix(&format!("{table}.")).expect("the table is mandatory").to_owned();
            (column, text(&condition["OP"]), text(&condition["P"]))
        })
        .filter(|(column, ..)| !self.flaws.ignores.contains(&column.as_str()))
        .collect()
    }

    fn holds(&self, row: &Value, (column, operator, wanted): &(String, String, String)) -> bool {
        let value = row[column].as_str().expect("columns are text");
        let wanted = if column.starts_with("data_") { self.date(wanted) } else { Some(wanted.clone()) };
        let Some(wanted) = wanted else { return false };
        match operator.as_str() {
            "=" => value == wanted,
            "!=" => value != wanted,
            ">" => number(&row[column]) > wanted.parse().expect("a number"),
            ">=" => value >= wanted.as_str(),
            "<=" => value <= wanted.as_str(),
            "IN" => wanted.split(',').any(|one| one == value),
            other => panic!("operator {other}"),
        }
    }

    /// The date as the table has it; `None` where this installation doesn't understand it.
    fn date(&self, text: &str) -> Option<String> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [day, month, year] if !self.flaws.iso_dates_only => Some(format!("{year}-{month}-{day}")),
            [_, _, _] => None,
            _ if self.flaws.iso_dates_only => Some(text.to_owned()),
            _ => None,
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).expect("a numeric id")
}

/// A title as the ERP sends it.
pub fn title(id: u64, status: &str, due_on: &str) -> Value {
    json!({"id": id.to_string(), "id_cliente": "2", "status": status, "liberado": "S", "valor": "26.00", "valor_aberto": "26.00",
        "data_vencimento": due_on, "senha": "segredo"})
}

/// A customer as the ERP sends it.
pub fn customer(id: u64, city: &str, state: &str) -> Value {
    json!({"id": id.to_string(), "razao": "Cliente Teste", "cidade": city, "uf": state, "participa_cobranca": "S",
        "participa_pre_cobranca": "", "telefone_celular": "(49) 99999-0000", "senha": "segredo", "data_nascimento": "1991-01-01"})
}
