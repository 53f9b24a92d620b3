//! Real HTTP servers that answer as Opa! Suite and IXC Provedor do.
//!
//! They are written from the wire contracts of the two products (each behaviour names its row, "contracts §1.2") and never from
//! Régua's clients, so that client and simulator can disagree. What the contracts don't know is marked "the simulator's choice".
//!
//! Both run in process ([`OpaSimulator`], [`IxcSimulator`]) and as programs (`opa-simulator`, `ixc-simulator`). Both obey
//! [`Fault`]s, count what they saw, and spill their log to a temporary file, so memory doesn't grow with the requests served.
//!
//! Routes of both, beside the product's own: `POST|GET|DELETE /_admin/faults`, `GET /_admin/stats`, `GET /_admin/log`.

mod body;
mod cli;
mod connection;
mod exchange;
mod faults;
pub mod ixc;
mod mix;
pub mod opa;
mod server;
mod spill;
mod tally;

pub use cli::run_until_terminated;
pub use faults::{Fault, FaultKind, InvalidFault};
pub use ixc::{IxcOptions, IxcSimulator, IxcStats};
pub use opa::{OpaOptions, OpaSimulator, OpaStats};
pub use spill::{LogReader, SPILL_BUFFER_BYTES};
