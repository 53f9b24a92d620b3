//! Régua in one process, its demo, and the operator's command line.

mod bundle;
mod check;
pub mod cli;
mod commands;
pub mod demo;
mod embedded;
mod lock;
mod operator;
mod opt_out_file;
mod opt_outs;
mod output;
pub mod simulate;
mod status;
mod status_page;
mod up;
