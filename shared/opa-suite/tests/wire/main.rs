//! The client against a server that does to it what networks and providers do.

mod connections;
mod lists;
mod outcomes;
mod server;
mod table;
