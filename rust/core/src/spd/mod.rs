//! The SPD: ordered policies, first match wins.
