//! The simulators over real HTTP, one test per row of the contracts, with a client that knows nothing but HTTP/1.1.

mod binaries;
mod client;
mod faults;
mod ixc;
mod ixc_days;
mod opa;
mod opa_conversations;
mod opa_payment;
mod opa_send;
mod opa_webhook;
