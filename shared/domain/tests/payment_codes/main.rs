//! Payment codes, by published examples and by everything that may go wrong on their way.

mod digitable_line;
mod pix;
