//! The decision core: stages, schedules, phones, money, limits, transitions and what follows from them.
//!
//! It does no I/O, reads no clock and draws no randomness: instants, dates and jitter are arguments.

pub mod admission;
pub mod audit;
pub mod calendar;
pub mod configuration;
pub mod consent;
pub mod decide;
pub mod events;
pub mod failure;
pub mod filling;
pub mod folding;
pub mod forecast;
pub mod frequency;
pub mod gate;
pub mod ids;
pub mod look_up;
pub mod media;
pub mod message;
pub mod mirror;
pub mod money;
pub mod payment;
pub mod payment_codes;
pub mod phone;
pub mod pilot;
pub mod place;
pub mod policy;
pub mod provider;
pub mod receipt;
pub mod render;
pub mod sample;
pub mod schedule;
pub mod sending_times;
pub mod settlement;
pub mod stage;
pub mod stop;
pub mod switches;
pub mod tax_id;
pub mod template;
pub mod variables;
pub mod window;
