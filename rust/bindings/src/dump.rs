//! A dump of the SAD: one moment of it, written as PF_KEY messages, as many at a time as are asked for.
//! No number of PF_KEY may enter: every number comes from a dialect's table in Python, in a `DumpShape`.
//! Answers to: RFC 2367 sections 2.3 (layouts) and 3.1.10; `sallet.pfkey.codec` says the same, byte for byte.

use std::collections::HashMap;
use std::net::IpAddr;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sallet_core::crypto::AlgorithmKey;
use sallet_core::sa::{Limits, Moment};
use sallet_core::terms::Protocol;

use crate::snapshot::SaView;

const HEADER_BYTES: usize = 16;
const WORD_BYTES: usize = 8;
const VERSION: u8 = 2;

/// What one extension tells.
#[derive(Clone, Copy)]
enum Part {
    Sa,
    Sa2,
    Replay,
    Hard,
    Soft,
    Current,
    Source,
    Destination,
    Anywhere,
    AuthenticationKey,
    EncryptionKey,
    NatType,
    NatSourcePort,
    NatDestinationPort,
    NatOriginalSource,
    NatOriginalDestination,
    NatFragment,
}

impl Part {
    fn of(word: &str) -> PyResult<Self> {
        Ok(match word {
            "sa" => Self::Sa,
            "sa2" => Self::Sa2,
            "replay" => Self::Replay,
            "hard" => Self::Hard,
            "soft" => Self::Soft,
            "current" => Self::Current,
            "source" => Self::Source,
            "destination" => Self::Destination,
            "anywhere" => Self::Anywhere,
            "authentication-key" => Self::AuthenticationKey,
            "encryption-key" => Self::EncryptionKey,
            "nat-type" => Self::NatType,
            "nat-source-port" => Self::NatSourcePort,
            "nat-destination-port" => Self::NatDestinationPort,
            "nat-original-source" => Self::NatOriginalSource,
            "nat-original-destination" => Self::NatOriginalDestination,
            "nat-fragment" => Self::NatFragment,
            _ => return Err(PyValueError::new_err(format!("no part of a dump: {word}"))),
        })
    }
}

/// Numbers of algorithms by registry name, each with the flag that belongs to it.
type Numbers = HashMap<String, (u8, u32)>;

/// How a dialect writes an SA in a dump: the numbers and the order of everything that it tells.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct DumpShape {
    parts: Vec<(u16, Part)>,
    satypes: HashMap<String, u8>,
    states: HashMap<String, u8>,
    modes: HashMap<String, u8>,
    authentication: Numbers,
    encryption: Numbers,
    compression: Numbers,
    flags: HashMap<String, u32>,
    fields: HashMap<String, u32>,
}

#[pymethods]
impl DumpShape {
    /// `parts`: extension numbers with what each tells. `flags`: "kept" and the flags by name. `fields`:
    /// single numbers and switches by name; every name has to be there.
    #[new]
    #[pyo3(signature = (*, parts, satypes, states, modes, authentication, encryption, compression, flags, fields))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a Python constructor"
    )]
    fn new(
        parts: Vec<(u16, String)>,
        satypes: HashMap<String, u8>,
        states: HashMap<String, u8>,
        modes: HashMap<String, u8>,
        authentication: Numbers,
        encryption: Numbers,
        compression: Numbers,
        flags: HashMap<String, u32>,
        fields: HashMap<String, u32>,
    ) -> PyResult<Self> {
        for (table, names) in [(&flags, FLAGS), (&fields, FIELDS)] {
            if let Some(name) = names.iter().find(|name| !table.contains_key(**name)) {
                return Err(PyValueError::new_err(format!("a shape without {name}")));
            }
        }
        let parts = parts
            .into_iter()
            .map(|(number, word)| Ok((number, Part::of(&word)?)))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            parts,
            satypes,
            states,
            modes,
            authentication,
            encryption,
            compression,
            flags,
            fields,
        })
    }
}

const FLAGS: &[&str] = &["kept", "cycle", "esn", "old", "raw-cpi", "keepalive"];
const FIELDS: &[&str] = &[
    "message",
    "reserved",
    "replay-unit",
    "replay-max",
    "inet-family",
    "inet6-family",
    "sockaddr-has-length",
    "any-protocol",
    "nat-type",
    "nat-ports-in-addresses",
    "zero-limits-shown",
    "sequence-in-state",
];

impl DumpShape {
    fn field(&self, name: &str) -> u32 {
        self.fields.get(name).copied().unwrap_or(0)
    }

    fn octet(&self, name: &str) -> u8 {
        u8::try_from(self.field(name)).unwrap_or(u8::MAX)
    }

    fn is(&self, name: &str) -> bool {
        self.field(name) != 0
    }

    /// Writes one SA as one message.
    fn message(&self, moment: &Moment, sequence: u32, pid: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(320);
        let satype = *self.satypes.get(moment.params().id.protocol.name()).unwrap_or(&0);
        out.extend_from_slice(&[VERSION, self.octet("message"), 0, satype, 0, 0]);
        out.extend_from_slice(&(self.field("reserved") as u16).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&pid.to_ne_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        for (number, part) in &self.parts {
            let start = out.len();
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&number.to_ne_bytes());
            if self.part(*part, moment, &mut out) {
                out.resize(out.len().next_multiple_of(WORD_BYTES), 0);
                let words = (out.len() - start) / WORD_BYTES;
                put_half(&mut out, start, words);
            } else {
                out.truncate(start);
            }
        }
        let words = out.len() / WORD_BYTES;
        put_half(&mut out, 4, words);
        out
    }

    /// Writes what follows an extension's header; false where there is nothing to tell.
    fn part(&self, part: Part, moment: &Moment, out: &mut Vec<u8>) -> bool {
        let params = moment.params();
        match part {
            Part::Sa => self.sa(moment, out),
            Part::Sa2 => self.sa2(moment, out),
            Part::Replay => {
                let limit = 255 * u64::from(self.field("replay-unit"));
                out.extend_from_slice(&params.replay_window.to_ne_bytes());
                return u64::from(params.replay_window) > limit;
            }
            Part::Hard => return self.limits(&params.hard, out),
            Part::Soft => return self.limits(&params.soft, out),
            Part::Current => {
                let tally = moment.tally();
                let used = tally.first_used.map_or(0, |wall| wall.0);
                lifetime(tally.packets, [tally.bytes, moment.created().0, used], out);
            }
            Part::Source | Part::Destination => self.end(matches!(part, Part::Destination), moment, out),
            Part::Anywhere => return self.anywhere(moment, out),
            Part::AuthenticationKey => {
                return key(params.authentication.as_ref(), &self.authentication, out);
            }
            Part::EncryptionKey => return key(params.encryption.as_ref(), &self.encryption, out),
            Part::NatType => {
                out.push(self.octet("nat-type"));
                return params.encap.is_some();
            }
            Part::NatSourcePort | Part::NatDestinationPort => {
                let Some(encap) = params.encap else { return false };
                let port = if matches!(part, Part::NatSourcePort) {
                    encap.source_port
                } else {
                    encap.destination_port
                };
                out.extend_from_slice(&port.to_be_bytes());
            }
            Part::NatOriginalSource | Part::NatOriginalDestination => {
                return self.original(matches!(part, Part::NatOriginalDestination), moment, out);
            }
            Part::NatFragment => {
                out.extend_from_slice(&params.options.fragment_bytes.to_ne_bytes());
                return params.options.fragment_bytes != 0;
            }
        }
        true
    }

    /// Writes the address that a NAT changed; false where it changed none.
    fn original(&self, destination: bool, moment: &Moment, out: &mut Vec<u8>) -> bool {
        let params = moment.params();
        let Some((first, second)) = params.options.original else {
            return false;
        };
        let (before, after) = if destination {
            (second, params.id.destination)
        } else {
            (first, params.source)
        };
        let bits = if before.is_ipv4() { 32 } else { 128 };
        self.address(self.octet("any-protocol"), bits, before, 0, out);
        before != after
    }

    fn sa(&self, moment: &Moment, out: &mut Vec<u8>) {
        let params = moment.params();
        let compresses = params.id.protocol == Protocol::IpComp;
        let table = if compresses {
            &self.compression
        } else {
            &self.encryption
        };
        let named = |key: Option<&AlgorithmKey>, table: &Numbers| {
            key.and_then(|key| table.get(&key.name))
                .copied()
                .unwrap_or((0, 0))
        };
        let (cipher, _) = named(params.encryption.as_ref(), table);
        let (_, variant) = named(params.encryption.as_ref(), &self.encryption);
        let (mac, _) = named(params.authentication.as_ref(), &self.authentication);
        let has = [
            ("cycle", params.cycle_sequence),
            ("esn", params.esn),
            ("old", params.old),
            ("raw-cpi", params.raw_cpi && compresses),
            ("keepalive", params.options.keepalive),
        ];
        let kept = self.flag("kept");
        let flags = has
            .iter()
            .filter(|(_, set)| *set)
            .fold(params.flags & kept, |flags, (name, _)| {
                flags | (self.flag(name) & kept)
            });
        let units = params.replay_window.div_ceil(self.field("replay-unit").max(1));
        let window = u8::try_from(units.min(self.field("replay-max"))).unwrap_or(u8::MAX);
        out.extend_from_slice(&params.id.spi.0.to_be_bytes());
        let state = *self.states.get(moment.tally().state.name()).unwrap_or(&0);
        out.extend_from_slice(&[window, state, mac, cipher]);
        out.extend_from_slice(&(flags | variant).to_ne_bytes());
    }

    fn flag(&self, name: &str) -> u32 {
        self.flags.get(name).copied().unwrap_or(0)
    }

    fn sa2(&self, moment: &Moment, out: &mut Vec<u8>) {
        let mode = *self.modes.get(moment.params().mode.name()).unwrap_or(&0);
        let sequence = if self.is("sequence-in-state") {
            moment.tally().sequence as u32
        } else {
            0
        };
        out.extend_from_slice(&[mode, 0, 0, 0]);
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&moment.params().reqid.to_ne_bytes());
    }

    fn limits(&self, limits: &Limits, out: &mut Vec<u8>) -> bool {
        lifetime(
            limits.packets,
            [limits.bytes, limits.add_secs, limits.use_secs],
            out,
        );
        self.is("zero-limits-shown") || *limits != Limits::default()
    }

    fn end(&self, destination: bool, moment: &Moment, out: &mut Vec<u8>) {
        let params = moment.params();
        let (address, port) = if destination {
            (
                params.id.destination,
                params.encap.map(|encap| encap.destination_port),
            )
        } else {
            (params.source, params.encap.map(|encap| encap.source_port))
        };
        let port = port.filter(|_| self.is("nat-ports-in-addresses")).unwrap_or(0);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        self.address(0, bits, address, port, out);
    }

    fn anywhere(&self, moment: &Moment, out: &mut Vec<u8>) -> bool {
        let source = moment.params().source;
        let any = if source.is_ipv4() {
            IpAddr::from([0; 4])
        } else {
            IpAddr::from([0; 16])
        };
        self.address(self.octet("any-protocol"), 0, any, 0, out);
        // A larval association of Linux has the addresses themselves for a selector, and shows none.
        !source.is_unspecified() && moment.tally().state.name() != "larval"
    }

    fn address(&self, protocol: u8, bits: u8, address: IpAddr, port: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(&[protocol, bits, 0, 0]);
        let (family, size) = match address {
            IpAddr::V4(_) => ("inet-family", 16_u8),
            IpAddr::V6(_) => ("inet6-family", 28),
        };
        let end = out.len() + usize::from(size);
        if self.is("sockaddr-has-length") {
            out.extend_from_slice(&[size, self.octet(family)]);
        } else {
            out.extend_from_slice(&(self.field(family) as u16).to_ne_bytes());
        }
        out.extend_from_slice(&port.to_be_bytes());
        match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => {
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&address.octets());
            }
        }
        out.resize(end, 0);
    }
}

fn put_half(out: &mut [u8], at: usize, value: usize) {
    let half = u16::try_from(value).unwrap_or(u16::MAX).to_ne_bytes();
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&half);
    }
}

fn lifetime(packets: u64, rest: [u64; 3], out: &mut Vec<u8>) {
    let packets = u32::try_from(packets).unwrap_or(u32::MAX);
    out.extend_from_slice(&packets.to_ne_bytes());
    for number in rest {
        out.extend_from_slice(&number.to_ne_bytes());
    }
}

fn key(named: Option<&AlgorithmKey>, numbers: &Numbers, out: &mut Vec<u8>) -> bool {
    let Some(named) = named.filter(|named| numbers.contains_key(&named.name)) else {
        return false;
    };
    let bits = u16::try_from(named.key.bits()).unwrap_or(u16::MAX);
    out.extend_from_slice(&bits.to_ne_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(named.key.as_bytes());
    bits != 0
}

/// Every SA as it was at one moment; what happens to one later does not show.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct SadMoment {
    moments: Vec<Moment>,
}

impl SadMoment {
    pub(crate) fn new(mut moments: Vec<Moment>, newest_first: bool, states: &[String]) -> Self {
        if newest_first {
            moments.reverse();
        }
        if !states.is_empty() {
            let rank = |moment: &Moment| {
                let name = moment.tally().state.name();
                states.iter().position(|state| state == name)
            };
            moments.sort_by_key(|moment| rank(moment).unwrap_or(states.len()));
        }
        Self { moments }
    }
}

#[pymethods]
impl SadMoment {
    fn __len__(&self) -> usize {
        self.moments.len()
    }

    /// Returns one SA. Raises IndexError.
    fn view(&self, at: usize) -> PyResult<SaView> {
        let moment = self.moments.get(at);
        let moment = moment.ok_or_else(|| PyIndexError::new_err("no such SA"))?;
        Ok(SaView { inner: moment.view() })
    }

    /// Writes SAs as messages, the first with sequence number `sequences[0]`, and so on.
    fn messages<'py>(
        &self,
        py: Python<'py>,
        shape: &DumpShape,
        first: usize,
        sequences: Vec<u32>,
        pid: u32,
    ) -> Vec<Bound<'py, PyBytes>> {
        let moments = self.moments.get(first..).unwrap_or_default();
        moments
            .iter()
            .zip(sequences)
            .map(|(moment, sequence)| PyBytes::new(py, &shape.message(moment, sequence, pid)))
            .collect()
    }
}
