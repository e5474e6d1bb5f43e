//! Algorithms: the only room that names a cryptography crate.
