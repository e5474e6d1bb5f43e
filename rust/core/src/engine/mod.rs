//! The sans-IO machine: the only room that sees both databases.
