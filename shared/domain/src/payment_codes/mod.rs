//! What a customer pays with: Pix copy-and-paste codes and boleto digitable lines, verified before they are ever sent.
//!
//! A code is refused or kept as it is, never mended. The errors name the field and what it should hold and never repeat
//! the code, which is personal data.

mod digitable_line;
mod pix;
mod pix_key;

pub use digitable_line::{DigitableLine, DigitableLineError};
pub use pix::{CODE_BYTES_MAX, PixCode, PixCodeError};
pub use pix_key::{NotAPixKey, PixKey, PixKeyKind};
