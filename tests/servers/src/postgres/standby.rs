//! A synchronous standby that follows a private server, and takes its place.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Child;

use super::{Postgres, START_LIMIT, end, free_port, programs, shut_down, wait};

/// How the server knows it.
const NAME: &str = "standby";

/// A server that has whatever was committed.
pub(super) struct Standby {
    port: u16,
    server: Child,
}

impl Postgres {
    /// Has a standby follow: from its return on nothing is committed that the standby hasn't flushed, too.
    ///
    /// # Errors
    /// What kept it from following, with the end of its log; a second one is refused.
    pub fn add_standby(&mut self) -> io::Result<()> {
        if self.standby.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a standby follows already"));
        }
        let source = format!("host=127.0.0.1 port={} user=regua dbname=postgres application_name={NAME}", self.port);
        let mut copy = self.command(&self.programs.pg_basebackup);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", &source, "-D"]).arg(self.standbys_data());
        programs::run(&mut copy)?;
        let port = free_port()?;
        let log = self.folder.path().join("standby.log");
        let mut server = self.serve(&self.standbys_data(), port, &log)?;
        let followed = self.commit_with_it(&mut server);
        self.standby = Some(Standby { port, server });
        followed.map_err(|error| io::Error::new(error.kind(), format!("{error}\n{}", programs::tail(&log))))
    }

    fn commit_with_it(&self, server: &mut Child) -> io::Result<()> {
        self.query(&format!("ALTER SYSTEM SET synchronous_standby_names = '{NAME}'"))?;
        self.query("SELECT pg_reload_conf()")?;
        wait::until("the standby's following", START_LIMIT, || {
            if let Some(status) = server.try_wait()? {
                return Err(io::Error::other(format!("the standby ended while starting: {status}")));
            }
            let synchronous = self.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")?;
            Ok((!synchronous.is_empty()).then_some(()))
        })?;
        // The checkpointer is who makes commits wait, and it reads its settings before it serves this.
        self.query("CHECKPOINT").map(drop)
    }

    /// Ends the server if it still runs, as a crash does, promotes the standby and has it serve at the server's port. The server's data are gone.
    ///
    /// # Errors
    /// `NotFound` where none follows; else what kept it from taking the place, with the end of its log.
    pub fn promote_standby(&mut self) -> io::Result<()> {
        let Some(Standby { port, .. }) = self.standby else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no standby follows"));
        };
        self.crash()?;
        if self.query_at(port, "SELECT pg_promote()")? != "t\n" {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the standby was not promoted within PostgreSQL's minute"));
        }
        if let Some(standby) = &mut self.standby {
            shut_down(&mut standby.server, "INT")?;
        }
        self.standby = None;
        fs::remove_dir_all(self.data())?;
        fs::rename(self.standbys_data(), self.data())?;
        self.start_again()
    }

    /// Ends the standby, as the server ends.
    pub(super) fn end_standby(&mut self) {
        if let Some(mut standby) = self.standby.take() {
            end(&mut standby.server);
        }
    }

    fn standbys_data(&self) -> PathBuf {
        self.folder.path().join("standby")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_has_what_was_committed_and_takes_the_place_at_the_same_url() {
        let mut server = Postgres::start().unwrap();
        assert_eq!(server.promote_standby().unwrap_err().kind(), io::ErrorKind::NotFound);
        server.query("CREATE TABLE kept (n BIGINT)").unwrap();
        server.add_standby().unwrap();
        assert_eq!(server.add_standby().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let (url, timeline) = (server.url().to_owned(), "SELECT timeline_id FROM pg_control_checkpoint()");
        assert_eq!(server.query(timeline).unwrap(), "1\n");
        server.query("INSERT INTO kept VALUES (7)").unwrap();

        server.crash().unwrap();
        server.promote_standby().unwrap();

        assert_eq!(server.url(), url);
        assert_eq!(server.query("SELECT n FROM kept").unwrap(), "7\n");
        assert_eq!(server.query(timeline).unwrap(), "2\n", "it was promoted, not restarted");
        server.query("INSERT INTO kept VALUES (8)").unwrap();
        server.add_standby().unwrap();
    }
}
