//! An SA that moves to other ends keeps its keys, its numbers and its window.
//! No message format may enter.
//! Answers to: RFC 4106 section 3.1 (a nonce never comes twice), RFC 4303 section 3.4.3.

use super::*;
use crate::error::Error;

#[test]
fn numbers_go_on_where_they_were() {
    let engine = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    engine.sad_add(params.clone(), START).unwrap();
    let before = engine.sad.read().lookup(&params.id).unwrap();
    let (first, first_iv) = before.next_sequence().unwrap();
    let moved = engine.sad_move(&params.id, ip(B), ip(A), None, START).unwrap();
    assert_eq!((moved.params.source, moved.params.id.destination), (ip(B), ip(A)));
    assert_eq!(engine.sad_lookup(&params.id), None);
    let after = engine.sad.read().lookup(&moved.params.id).unwrap();
    let (next, next_iv) = after.next_sequence().unwrap();
    assert!(next > first && next_iv > first_iv);
    // Whoever still holds the old one sends no number twice, either: it serves no longer.
    assert!(before.next_sequence().is_err());
}

#[test]
fn it_moves_only_where_it_can_be() {
    let engine = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    let absent = engine.sad_move(&params.id, ip(A), ip(B), None, START);
    assert_eq!(absent, Err(Error::NotFound));
    engine.sad_add(params.clone(), START).unwrap();
    engine.sad_add(sa(0x1000, B, A, Mode::Transport), START).unwrap();
    let taken = engine.sad_move(&params.id, ip(B), ip(A), None, START);
    assert_eq!(taken, Err(Error::Exists));
    let mixed = engine.sad_move(&params.id, ip(A), "2001:db8::1".parse().unwrap(), None, START);
    assert_eq!(mixed, Err(Error::InvalidSelector));
    assert!(engine.sad_lookup(&params.id).is_some());
}
