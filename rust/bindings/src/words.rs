//! The words that cross the boundary as `str`: protocol, mode, direction, level, action.
//! No PF_KEY number may enter: those are Python's tables.
//! Answers to: `setkey(8)`, `ipsec_set_policy(3)` (the words), ARCHITECTURE.md G.

use crate::error::bad_word;
use pyo3::PyResult;
use sallet_core::terms::{Direction, Level, Mode, Protocol};

pub(crate) fn protocol(word: &str) -> PyResult<Protocol> {
    [Protocol::Esp, Protocol::Ah, Protocol::IpComp]
        .into_iter()
        .find(|value| value.name() == word)
        .ok_or_else(|| bad_word("protocol", word, "esp, ah, ipcomp"))
}

pub(crate) fn optional_protocol(word: Option<&str>) -> PyResult<Option<Protocol>> {
    word.map(protocol).transpose()
}

pub(crate) fn mode(word: &str) -> PyResult<Mode> {
    [Mode::Any, Mode::Transport, Mode::Tunnel]
        .into_iter()
        .find(|value| value.name() == word)
        .ok_or_else(|| bad_word("mode", word, "any, transport, tunnel"))
}

pub(crate) fn direction(word: &str) -> PyResult<Direction> {
    [Direction::Inbound, Direction::Outbound, Direction::Forward]
        .into_iter()
        .find(|value| value.name() == word)
        .ok_or_else(|| bad_word("direction", word, "in, out, fwd"))
}

pub(crate) fn level(word: &str) -> PyResult<Level> {
    [Level::Default, Level::Use, Level::Require, Level::Unique]
        .into_iter()
        .find(|value| value.name() == word)
        .ok_or_else(|| bad_word("level", word, "default, use, require, unique"))
}
