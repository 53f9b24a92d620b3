//! The webservice client against a real HTTP server.

mod errors;
mod lists;
mod raw_erp;
