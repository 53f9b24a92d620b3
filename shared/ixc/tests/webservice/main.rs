//! The webservice client against a real HTTP server.

mod errors;
mod lists;
mod own_sending;
mod raw_erp;
