//! The IO shell: file descriptors, threads and the clock live here and nowhere else in Rust.
//! No policy decision and no cryptography may enter; `unsafe` lives only in `sys.rs`.
//! Answers to: ARCHITECTURE.md sections C and D, tun(4), raw(7), udp(7), RFC 3948.
