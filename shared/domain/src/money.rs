//! Money as whole centavos.

use serde::{Deserialize, Serialize};

/// An amount in Brazilian centavos. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Centavos(pub i64);
