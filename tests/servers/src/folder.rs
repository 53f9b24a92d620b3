//! The temporary folder of processes, and the guard that empties it.
//!
//! A `Drop` doesn't run when a process is killed, aborts, or ends while the value sits in a `static`. So every folder has a guard: a small
//! shell that waits for the end of its standard input, which comes when we close it or when this process ends, in whatever way. It then ends the
//! processes whose working directory lies in the folder (and so can't meet a stranger's, even if process ids are used again) and removes the folder.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// `$1` the folder, `$2` the first signal. After 5 s (100 looks) whoever still lives gets `KILL`.
const GUARD: &str = r#"
trap '' HUP INT QUIT TERM
read -r line
signal_all() {
    found=1
    for process in /proc/[0-9]*; do
        for place in "$folder" "$folder"/*/; do
            if [ "$process/cwd" -ef "$place" ]; then
                kill "-$1" "${process#/proc/}" && found=0
                break
            fi
        done
    done
    return $found
}
folder=$1
looks=100
signal_all "$2"
while signal_all 0 && [ $looks -gt 0 ]; do
    sleep 0.05
    looks=$((looks - 1))
done
signal_all KILL
rm -rf "$folder"
"#;

/// A folder that takes its processes with it.
pub struct Folder {
    dir: TempDir,
    guard: Child,
}

impl Folder {
    /// Makes the folder and starts its guard; `signal` is what ends the server at once and tidily (`QUIT`, `KILL`, …).
    ///
    /// # Errors
    /// The folder can't be made, or there is no shell.
    pub fn new(prefix: &str, signal: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "regua-guard"])
            .arg(dir.path())
            .arg(signal)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { dir, guard })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Ends every process that works in the folder, and removes it. The caller reaps its own children afterwards.
    pub fn clear(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("the guard of {} could not be waited for: {error}", self.path().display());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_end_of_the_guards_input_ends_the_folder_and_every_process_in_it() {
        for signal in ["QUIT", "KILL"] {
            let mut folder = Folder::new("regua-folder-", signal).unwrap();
            let below = folder.path().join("data");
            fs::create_dir(&below).unwrap();
            let mut deaf = Command::new("/bin/sh");
            deaf.args(["-c", "trap '' QUIT; while :; do read -r line; done"]);
            let mut children = [
                Command::new("sleep").arg("1000").current_dir(folder.path()).spawn().unwrap(),
                Command::new("sleep").arg("1000").current_dir(&below).spawn().unwrap(),
                deaf.current_dir(&below).spawn().unwrap(),
            ];
            let mut stranger = Command::new("sleep").arg("1000").current_dir("/").spawn().unwrap();

            folder.clear();

            for child in &mut children {
                assert!(!child.wait().unwrap().success());
            }
            assert!(!folder.path().exists());
            assert!(stranger.try_wait().unwrap().is_none(), "a process elsewhere is left alone");
            stranger.kill().unwrap();
            stranger.wait().unwrap();
        }
    }
}
