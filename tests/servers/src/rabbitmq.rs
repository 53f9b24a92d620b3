//! A private RabbitMQ node with its own port mapper (epmd), cookie and data.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::folder::Folder;
use crate::ports::free_port;
use crate::programs::{self, Missing};
use crate::wait;

/// A boot takes 7 s on an idle pair of cores; the tests' machines are not idle.
const BOOT_LIMIT: Duration = Duration::from_mins(2);
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// How often a start is tried when another process took one of its ports first.
const START_TRIES: u32 = 5;
/// `rabbitmqctl` listens on the first free port of so many.
const CTL_PORTS: u16 = 100;

/// One private RabbitMQ node on 127.0.0.1, without plugins. Dropping it ends the node and removes its data.
pub struct RabbitMq {
    folder: Folder,
    programs: Programs,
    node_name: String,
    ports: Ports,
    amqp_url: String,
    epmd: Option<Child>,
    node: Option<Child>,
}

struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

impl RabbitMq {
    /// Starts a node and waits until it answers on its AMQP port.
    ///
    /// # Errors
    /// `NotFound` when a program is [missing](Self::missing); else what kept the node from booting, with the end of its log.
    pub fn start() -> io::Result<Self> {
        let mut tries = 1;
        loop {
            match Self::start_once() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < START_TRIES => tries += 1,
                started => return started,
            }
        }
    }

    /// The programs a node needs that are not installed.
    pub fn missing() -> Vec<Missing> {
        Programs::find().err().unwrap_or_default()
    }

    /// Where clients connect: user `guest`, virtual host `/`. The same for the node's whole life, restarts included.
    pub fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    /// Runs `rabbitmqctl` with these arguments and returns what it printed.
    pub fn ctl(&self, args: &[&str]) -> io::Result<String> {
        let first = free_port()?;
        let mut command = self.command(&self.programs.ctl);
        command
            .env("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_CTL_DIST_PORT_MIN", first.to_string())
            .env("RABBITMQ_CTL_DIST_PORT_MAX", (first + CTL_PORTS).to_string());
        programs::run(command.args(args))
    }

    /// Stops the broker inside the running node: its port closes, its connections end.
    pub fn stop_app(&self) -> io::Result<()> {
        self.ctl(&["stop_app"]).map(drop)
    }

    /// Undoes [`stop_app`](Self::stop_app) and waits until the broker answers.
    pub fn start_app(&self) -> io::Result<()> {
        self.ctl(&["start_app"])?;
        wait::until("the broker's answer after start_app", STEP_LIMIT, || Ok(self.answers().then_some(())))
    }

    /// Kills the node (`KILL`: no warning, no flush). Its data stay.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut node) = self.node.take() {
            node.kill()?;
            node.wait()?;
        }
        Ok(())
    }

    /// Starts the node again on the same data and ports, after killing it if it still runs.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.boot()
    }

    fn start_once() -> io::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let programs = Programs::find().map_err(|missing| {
            io::Error::new(io::ErrorKind::NotFound, format!("RabbitMQ is not installed, missing: {missing:?}"))
        })?;
        let ports = Ports { amqp: free_port()?, distribution: free_port()?, epmd: free_port()? };
        let mut server = Self {
            folder: Folder::new("regua-rabbitmq-", "KILL")?,
            programs,
            node_name: format!("regua-test-{}-{}@localhost", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed)),
            amqp_url: format!("amqp://guest:guest@127.0.0.1:{}/%2f", ports.amqp),
            ports,
            epmd: None,
            node: None,
        };
        fs::write(server.file("enabled_plugins"), "[].\n")?;
        fs::write(server.file("rabbitmq.conf"), "log.console = false\n")?;
        fs::write(server.file("rabbitmq-env.conf"), "")?;
        server.start_epmd()?;
        server.boot()?;
        Ok(server)
    }

    /// epmd stays in the foreground, as our child: one that a node starts by itself would outlive the node.
    fn start_epmd(&mut self) -> io::Result<()> {
        let port = self.ports.epmd;
        let mut command = self.command(&self.programs.epmd);
        command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]).stderr(Stdio::null());
        let epmd = self.epmd.insert(command.spawn()?);
        wait::until("epmd's port", STEP_LIMIT, || {
            if let Some(status) = epmd.try_wait()? {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("epmd on port {port}: {status}")));
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(()))
        })
    }

    fn boot(&mut self) -> io::Result<()> {
        let printed = File::create(self.file("printed"))?;
        let mut command = self.command(&self.programs.server);
        command.stdout(printed.try_clone()?).stderr(printed);
        self.node = Some(command.spawn()?);
        let booted = wait::until("RabbitMQ's answer", BOOT_LIMIT, || {
            if self.answers() {
                return Ok(Some(()));
            }
            match self.node.as_mut().map(Child::try_wait).transpose()?.flatten() {
                Some(status) => Err(io::Error::other(format!("RabbitMQ ended while booting: {status}"))),
                None => Ok(None),
            }
        });
        booted.map_err(|error| {
            let log = [self.file("printed"), self.file("log").join(format!("{}.log", self.node_name))]
                .map(|file| programs::tail(&file));
            let in_use = log.iter().any(|text| text.contains("eaddrinuse") || text.contains("in use"));
            let kind = if in_use { io::ErrorKind::AddrInUse } else { error.kind() };
            io::Error::new(kind, format!("{error}\n{}", log.join("\n")))
        })
    }

    /// Whether *this* node takes AMQP connections: its greeting (AMQP 0-9-1, connection.start) carries the cluster's name, by default the node's.
    fn answers(&self) -> bool {
        let id = self.node_name.split('@').next().unwrap_or_default();
        greeting(self.ports.amqp)
            .is_ok_and(|bytes| bytes.windows(id.len() + 1).any(|window| window == format!("{id}@").as_bytes()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command in the node's environment. The Debian scripts in `/usr/sbin` switch the user and the data folder, so they are not what is called.
    fn command(&self, program: &Path) -> Command {
        let mut command = programs::command(program, self.folder.path());
        command
            .env("HOME", self.folder.path()) // the Erlang cookie's place
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Else every `erl` starts an epmd that leaves our folder and, when ours has just been ended, stays.
            .env("ERL_FLAGS", "-start_epmd false")
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("RABBITMQ_NODENAME", &self.node_name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.file("data"))
            .env("RABBITMQ_LOG_BASE", self.file("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.file("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", self.file("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", self.file("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.file("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", self.file("rabbitmq-env.conf"))
            // `+Bd`: an interrupt from the terminal ends the node, it opens no shell.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+Bd -kernel inet_dist_use_interface {127,0,0,1}")
            // The start script becomes the node instead of watching it, so our child's id is the node's.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        command
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.folder.clear();
        for child in [&mut self.node, &mut self.epmd].into_iter().flatten() {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("a process of {} could not be ended: {error}", self.node_name);
            }
        }
    }
}

/// The first bytes a broker says to a client.
fn greeting(port: u16) -> io::Result<Vec<u8>> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut header = [0; 7]; // frame type, channel, payload size
    stream.read_exact(&mut header)?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = Vec::new();
    stream.take(u64::from(size)).read_to_end(&mut payload)?;
    Ok(payload)
}

struct Programs {
    server: PathBuf,
    ctl: PathBuf,
    epmd: PathBuf,
}

impl Programs {
    /// Debian's and the generic archive's places come before `PATH`, where Debian has its user-switching scripts.
    fn find() -> Result<Self, Vec<Missing>> {
        let path = programs::path_folders();
        let folders: Vec<PathBuf> =
            ["/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin"].into_iter().map(PathBuf::from).chain(path.iter().cloned()).collect();
        Self::find_in(&folders, &path)
    }

    fn find_in(rabbitmq: &[PathBuf], erlang: &[PathBuf]) -> Result<Self, Vec<Missing>> {
        let found = [
            ("rabbitmq-server", "rabbitmq-server", rabbitmq),
            ("rabbitmqctl", "rabbitmq-server", rabbitmq),
            ("epmd", "erlang-base", erlang),
            ("erl", "erlang-base", erlang),
        ]
        .map(|(program, package, folders)| programs::find(program, folders).ok_or(Missing { program, package }));
        match found {
            [Ok(server), Ok(ctl), Ok(epmd), Ok(_)] => Ok(Self { server, ctl, epmd }),
            some_missing => Err(some_missing.into_iter().filter_map(Result::err).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_boots_stops_is_killed_comes_back_with_its_data_and_goes_without_a_trace() {
        let mut server = RabbitMq::start().unwrap();
        let (folder, port) = (server.folder.path().to_owned(), server.ports.amqp);
        assert!(server.ctl(&["ping"]).unwrap().contains("succeeded"));
        assert_eq!(server.ctl(&["-q", "list_vhosts", "--no-table-headers"]).unwrap().trim(), "/");
        server.ctl(&["add_vhost", "kept"]).unwrap();

        server.stop_app().unwrap();
        assert!(greeting(port).is_err());
        server.start_app().unwrap();
        assert!(server.answers());

        server.kill().unwrap();
        assert!(greeting(port).is_err());
        assert!(server.ctl(&["ping"]).is_err());
        server.restart().unwrap();
        assert!(server.ctl(&["-q", "list_vhosts", "--no-table-headers"]).unwrap().contains("kept"));

        let ids: Vec<u32> = [&server.node, &server.epmd].into_iter().flatten().map(Child::id).collect();
        assert_eq!(ids.len(), 2);
        drop(server);
        assert!(greeting(port).is_err());
        assert!(!folder.exists());
        for id in ids {
            assert!(!Path::new(&format!("/proc/{id}")).exists(), "process {id} is left");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let nowhere = [PathBuf::from("/nonexistent")];
        let missing = Programs::find_in(&nowhere, &nowhere).err().unwrap();
        let packages: Vec<_> = missing.iter().map(|missing| (missing.program, missing.package)).collect();
        assert_eq!(
            packages,
            [
                ("rabbitmq-server", "rabbitmq-server"),
                ("rabbitmqctl", "rabbitmq-server"),
                ("epmd", "erlang-base"),
                ("erl", "erlang-base")
            ]
        );
    }
}
