//! Steps of a chore: each is announced, timed, and ends the chore when it fails.

use std::time::{Duration, Instant};

use crate::cargo::Error;

/// The steps done so far, for the summary.
#[derive(Default)]
pub struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Does one step.
    pub fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        println!("==> {name}");
        let begun = Instant::now();
        let result = work();
        let took = begun.elapsed();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("==> {name}: {verdict} in {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        result
    }

    /// Prints what took how long.
    pub fn summary(&self) {
        for (name, took) in &self.done {
            println!("{:>8.1} s  {name}", took.as_secs_f64());
        }
        let all: Duration = self.done.iter().map(|(_, took)| took).sum();
        println!("{:>8.1} s  all", all.as_secs_f64());
    }
}
