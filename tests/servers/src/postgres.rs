//! A private PostgreSQL cluster.

mod standby;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::folder::Folder;
use crate::ports::free_port;
use crate::programs::{self, Missing};
use crate::wait;
use standby::Standby;

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often a start is tried when another process took the port first.
const START_TRIES: u32 = 5;
/// PostgreSQL cuts longer names off.
const NAME_BYTES_MAX: usize = 63;

/// One private PostgreSQL server on 127.0.0.1 with a superuser and a database called `regua`. Dropping it ends the server and removes its data.
///
/// It flushes to disk as PostgreSQL does by default, so that crash tests mean something, and takes 200 connections.
pub struct Postgres {
    folder: Folder,
    programs: Programs,
    owner: Option<Owner>,
    flags: Vec<String>,
    port: u16,
    url: String,
    server: Option<Child>,
    standby: Option<Standby>,
}

impl Postgres {
    /// Makes a cluster, starts its server and waits until it takes connections.
    ///
    /// # Errors
    /// `NotFound` when a program is [missing](Self::missing); else what kept the server from starting, with the end of its log.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments for `postgres`: `&["-c", "fsync=off"]`.
    pub fn start_with(flags: &[&str]) -> io::Result<Self> {
        let mut server = Self::make(flags)?;
        let mut tries = 1;
        while let Err(error) = server.start_again() {
            if error.kind() != io::ErrorKind::AddrInUse || tries == START_TRIES {
                return Err(error);
            }
            tries += 1;
            server.choose_port()?;
        }
        server.create_database("regua")?;
        Ok(server)
    }

    /// The programs a server needs that are not installed.
    pub fn missing() -> Vec<Missing> {
        Programs::find().err().unwrap_or_default()
    }

    /// The URL of the database `regua`. The same for the server's whole life, stops included.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// `InvalidInput` unless the name is 1 to 63 lower-case letters, digits and underscores, the first no digit; else the server's.
    pub fn create_database(&self, name: &str) -> io::Result<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || !name.chars().all(plain)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a plain database name: {name:?}")));
        }
        self.query(&format!("CREATE DATABASE {name}"))?;
        Ok(self.url_of(name))
    }

    /// Dumps the database `regua`, as a backup does while it is in use; the file goes with the server.
    pub fn dump(&self) -> io::Result<()> {
        programs::run(self.command(&self.programs.pg_dump).args(["--format=custom", "--file=regua.dump", "-d", self.url()]))
            .map(drop)
    }

    /// Drops the database `regua`, whoever uses it, and puts the last [dump](Self::dump) back into a new one of that name.
    pub fn put_back(&self) -> io::Result<()> {
        self.query("DROP DATABASE regua WITH (FORCE)")?;
        self.create_database("regua")?;
        programs::run(self.command(&self.programs.pg_restore).args(["--exit-on-error", "-d", self.url(), "regua.dump"])).map(drop)
    }

    /// Stops the server as an administrator does: connections are cut, everything is flushed. Its data stay.
    pub fn stop(&mut self) -> io::Result<()> {
        // PostgreSQL's "fast shutdown".
        self.shut_down("INT")
    }

    /// Ends the server as a crash does ("immediate shutdown"): nothing is flushed but what was committed, and the next start recovers.
    pub fn crash(&mut self) -> io::Result<()> {
        self.shut_down("QUIT")
    }

    fn shut_down(&mut self, signal: &str) -> io::Result<()> {
        let Some(server) = &mut self.server else { return Ok(()) };
        shut_down(server, signal)?;
        self.server = None;
        Ok(())
    }

    /// Starts a stopped server on the same data and port, and waits until it takes connections. Does nothing if it runs.
    pub fn start_again(&mut self) -> io::Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let log = self.folder.path().join("log");
        let mut server = self.serve(&self.data(), self.port, &log)?;
        let started = wait::until("PostgreSQL's start", START_LIMIT, || match server.try_wait()? {
            Some(status) => Err(io::Error::other(format!("PostgreSQL ended while starting: {status}"))),
            None => Ok(self.is_ready(server.id()).then_some(())),
        });
        self.server = Some(server);
        started.map_err(|error| {
            let text = programs::tail(&log);
            let kind = if text.contains("Address already in use") { io::ErrorKind::AddrInUse } else { error.kind() };
            self.end();
            io::Error::new(kind, format!("{error}\n{text}"))
        })
    }

    /// Starts a server on these data, and doesn't wait for it.
    fn serve(&self, data: &Path, port: u16, log: &Path) -> io::Result<Child> {
        let printed = File::create(log)?;
        let mut command = self.command(&self.programs.postgres);
        command
            .arg("-D")
            .arg(data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            // Shared memory as files of the folder: a killed server leaves none behind.
            .args(["-c", "max_connections=200", "-c", "dynamic_shared_memory_type=mmap"])
            .args(&self.flags)
            .stdout(printed.try_clone()?)
            .stderr(printed);
        command.spawn()
    }

    fn make(flags: &[&str]) -> io::Result<Self> {
        let programs = Programs::find().map_err(|missing| {
            io::Error::new(io::ErrorKind::NotFound, format!("PostgreSQL is not installed, missing: {missing:?}"))
        })?;
        let folder = Folder::new("regua-postgres-", "QUIT")?;
        let owner = Owner::needed(folder.path())?;
        if let Some(owner) = &owner {
            chown(folder.path(), Some(owner.user), Some(owner.group))?;
        }
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut server = Self { folder, programs, owner, flags, port: 0, url: String::new(), server: None, standby: None };
        server.choose_port()?;
        let mut initdb = server.command(&server.programs.initdb);
        initdb.arg("-D").arg(server.data());
        programs::run(initdb.args(["--username=regua", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]))?;
        Ok(server)
    }

    fn choose_port(&mut self) -> io::Result<()> {
        self.port = free_port()?;
        self.url = self.url_of("regua");
        Ok(())
    }

    fn url_of(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// What `postmaster.pid` says: its first line is the server's process, its eighth the status.
    fn is_ready(&self, id: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else { return false };
        let mut lines = text.lines();
        lines.next() == Some(id.to_string().as_str()) && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    fn query(&self, sql: &str) -> io::Result<String> {
        self.query_at(self.port, sql)
    }

    fn query_at(&self, port: u16, sql: &str) -> io::Result<String> {
        let database = url(port, "postgres");
        programs::run(self.command(&self.programs.psql).args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", &database, "-c", sql]))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = programs::command(program, self.folder.path());
        if let Some(owner) = &self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }

    fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server);
        }
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://regua@127.0.0.1:{port}/{database}")
}

fn shut_down(server: &mut Child, signal: &str) -> io::Result<()> {
    // std can only send KILL.
    let kill = ["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &server.id().to_string()];
    programs::run(Command::new("/bin/sh").args(kill))?;
    wait::until_exit("PostgreSQL's end", STOP_LIMIT, server).map(drop)
}

fn end(server: &mut Child) {
    if let Err(error) = server.kill().and_then(|()| server.wait()) {
        eprintln!("PostgreSQL's process {} could not be ended: {error}", server.id());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.folder.clear();
        self.end_standby();
        self.end();
    }
}

/// The user to run as, for PostgreSQL refuses root.
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// `None` unless we are root (as a folder that we made tells); then `postgres`, or `nobody` where that user doesn't exist.
    fn needed(ours: &Path) -> io::Result<Option<Self>> {
        if fs::metadata(ours)?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let owner = ["postgres", "nobody"].iter().find_map(|name| Self::named(name, &users));
        owner
            .map(Some)
            .ok_or_else(|| io::Error::other("PostgreSQL refuses root, and there is no user postgres or nobody to run it as"))
    }

    fn named(name: &str, users: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [user_name, _, user, group, ..] = fields[..] else { return None };
            (user_name == name).then(|| Some(Self { user: user.parse().ok()?, group: group.parse().ok()? })).flatten()
        })
    }
}

struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
    psql: PathBuf,
    pg_basebackup: PathBuf,
    pg_dump: PathBuf,
    pg_restore: PathBuf,
}

impl Programs {
    /// The newest of Debian's versions comes before `PATH`.
    fn find() -> Result<Self, Vec<Missing>> {
        let mut folders = debian_versions(Path::new("/usr/lib/postgresql"));
        folders.extend(programs::path_folders());
        Self::find_in(&folders)
    }

    fn find_in(folders: &[PathBuf]) -> Result<Self, Vec<Missing>> {
        let client = |program| (program, "postgresql-client");
        let needed = [
            ("initdb", "postgresql"),
            ("postgres", "postgresql"),
            client("psql"),
            client("pg_basebackup"),
            client("pg_dump"),
            client("pg_restore"),
        ];
        let found = needed.map(|(program, package)| programs::find(program, folders).ok_or(Missing { program, package }));
        match found {
            [Ok(initdb), Ok(postgres), Ok(psql), Ok(pg_basebackup), Ok(pg_dump), Ok(pg_restore)] => {
                Ok(Self { initdb, postgres, psql, pg_basebackup, pg_dump, pg_restore })
            }
            some_missing => Err(some_missing.into_iter().filter_map(Result::err).collect()),
        }
    }
}

/// The programs' folders below Debian's `/usr/lib/postgresql`, newest version first.
fn debian_versions(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| root.join(version.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_server_answers_stops_comes_back_with_its_data_and_goes_without_a_trace() {
        let mut server = Postgres::start_with(&["-c", "work_mem=1234kB"]).unwrap();
        let (folder, port, url) = (server.folder.path().to_owned(), server.port, server.url().to_owned());
        assert_eq!(url, format!("postgres://regua@127.0.0.1:{port}/regua"));
        assert_eq!(
            server.query("SELECT current_user, current_setting('fsync'), current_setting('work_mem')").unwrap(),
            "regua|on|1234kB\n"
        );
        assert_eq!(server.create_database("second_1").unwrap(), format!("postgres://regua@127.0.0.1:{port}/second_1"));

        server.stop().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(server.query("SELECT 1").is_err());
        server.start_again().unwrap();
        assert_eq!(server.url(), url);
        let databases = "SELECT datname FROM pg_database WHERE datname IN ('regua', 'second_1') ORDER BY 1";
        assert_eq!(server.query(databases).unwrap(), "regua\nsecond_1\n");

        server.crash().unwrap();
        assert!(server.query("SELECT 1").is_err());
        server.start_again().unwrap();
        assert_eq!(server.query(databases).unwrap(), "regua\nsecond_1\n");

        let id = server.server.as_ref().unwrap().id();
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "process {id} is left");
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        let error = Postgres::start_with(&["-c", "no_such_setting=1"]).err().unwrap();
        assert!(error.to_string().contains("no_such_setting"), "{error}");
    }

    #[test]
    fn only_plain_database_names_reach_the_server() {
        let server = Postgres::make(&[]).unwrap();
        for name in ["", "a\"b", "a;b", "UPPER", "1st", &"x".repeat(64)] {
            assert_eq!(server.create_database(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn the_newest_debian_version_comes_first_and_what_is_missing_is_named_with_its_package() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17", "common"] {
            fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let folders = debian_versions(root.path());
        assert_eq!(folders, ["17", "15", "9"].map(|version| root.path().join(version).join("bin")));

        fs::write(folders[1].join("postgres"), "").unwrap();
        let missing = Programs::find_in(&folders).err().unwrap();
        let packages: Vec<_> = missing.iter().map(|missing| (missing.program, missing.package)).collect();
        assert_eq!(
            packages,
            [
                ("initdb", "postgresql"),
                ("psql", "postgresql-client"),
                ("pg_basebackup", "postgresql-client"),
                ("pg_dump", "postgresql-client"),
                ("pg_restore", "postgresql-client"),
            ]
        );
    }

    #[test]
    fn the_owner_is_read_from_the_user_table() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert!(Owner::named("postgres", users).is_some_and(|owner| (owner.user, owner.group) == (101, 104)));
        assert!(Owner::named("nobody", users).is_none());
    }
}
