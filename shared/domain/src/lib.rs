//! The decision core: stages, schedules, phones, money, limits, transitions and what follows from them.
//!
//! It does no I/O, reads no clock and draws no randomness: instants, dates and jitter are arguments.

pub mod ids;
pub mod mirror;
pub mod money;
pub mod stage;
