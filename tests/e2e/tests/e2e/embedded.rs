//! `regua up` and the command line beside it.
