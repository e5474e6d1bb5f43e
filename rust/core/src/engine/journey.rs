//! `Step`: one stage of a packet's way through the engine, for people to read.
//! No key and no byte of a packet may enter: identities, sizes and decisions only.
//! Answers to: ARCHITECTURE.md C and D, whose numbered stages these are.

use crate::error::DropReason;
use crate::terms::{Direction, PolicyId, SaId, Sequence};
use crate::transform::Plain;
use std::net::IpAddr;

/// One stage. A packet's first step is `Arrived`, or `Released` if it waited; its last `Transmitted`, `Delivered`,
/// `Dropped`, `Held` or `Waiting`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packet came in.
    Arrived {
        /// `Outbound` or `Inbound`: which way it goes.
        direction: Direction,
        /// Its length.
        bytes: usize,
    },
    /// An SPD entry matched.
    PolicyMatched {
        /// The entry.
        id: PolicyId,
        /// The list it stands in.
        direction: Direction,
        /// `bypass`, `discard` or `protect`.
        action: &'static str,
    },
    /// No SPD entry matched; the default policy or the built-in bypass decides.
    NoPolicy {
        /// The list that was searched.
        direction: Direction,
        /// `bypass` or `discard`.
        action: &'static str,
    },
    /// An SA will serve one template.
    SaChosen {
        /// The SA.
        id: SaId,
    },
    /// A template of level `use` found no SA and is skipped.
    TemplateSkipped,
    /// An SA sealed the packet.
    Sealed {
        /// The SA.
        id: SaId,
        /// The sequence number it took.
        sequence: Sequence,
        /// The packet's length before.
        before_bytes: usize,
        /// The packet's length afterwards, without an outer header.
        after_bytes: usize,
    },
    /// IPComp left the packet as it was.
    LeftPlain {
        /// The SA.
        id: SaId,
        /// Why.
        why: Plain,
    },
    /// An outer header (and UDP, if encapsulated) was put in front.
    OuterPushed {
        /// Outer source.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
        /// The packet's length afterwards.
        bytes: usize,
    },
    /// An SA opened the packet.
    Opened {
        /// The SA.
        id: SaId,
        /// The packet's sequence number.
        sequence: Sequence,
        /// The packet's length before.
        before_bytes: usize,
        /// The packet's length afterwards, outer header included.
        after_bytes: usize,
    },
    /// The outer header was taken off.
    OuterPopped {
        /// Outer source.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
        /// The packet's length afterwards.
        bytes: usize,
    },
    /// The packet is an ICMP error, and its SAs are those of the packet that it quotes.
    QuotationMatched {
        /// The entry for what comes back in the quoted packet's flow.
        policy: PolicyId,
    },
    /// The SAs that the packet came through are those that policy asks for.
    CheckPassed {
        /// The SPD entry, if one matched.
        policy: Option<PolicyId>,
    },
    /// The packet is a fragment and waits for the others.
    Held {
        /// Its length.
        bytes: usize,
    },
    /// The packet waits for an SA that key managers were asked for.
    Waiting {
        /// Its length.
        bytes: usize,
    },
    /// The packet waited, and is judged once more.
    Released {
        /// Its length.
        bytes: usize,
    },
    /// The packet was the last missing fragment of this one.
    Reassembled {
        /// Length of the whole.
        bytes: usize,
    },
    /// The packet leaves in pieces.
    Cut {
        /// The longest piece may have this length.
        mtu: usize,
    },
    /// The packet goes to the wire.
    Transmitted {
        /// Its length.
        bytes: usize,
    },
    /// The packet goes to this host.
    Delivered {
        /// Its length.
        bytes: usize,
    },
    /// The packet goes no further.
    Dropped {
        /// Why.
        reason: DropReason,
    },
}

impl Step {
    /// Says the step in one line of English.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Arrived { direction, bytes } => format!("arrived ({}): {bytes} bytes", direction.name()),
            Self::PolicyMatched {
                id,
                direction,
                action,
            } => {
                format!("SPD entry {} ({}) matched: {action}", id.0, direction.name())
            }
            Self::NoPolicy { direction, action } => {
                format!("no SPD entry ({}) matched: {action} by default", direction.name())
            }
            Self::SaChosen { id } => format!("SA chosen: {}", name(id)),
            Self::TemplateSkipped => "no SA, and the level is use: goes without".to_owned(),
            Self::Sealed {
                id,
                sequence,
                before_bytes,
                after_bytes,
            } => {
                format!(
                    "sealed by {}, sequence {}: {before_bytes} bytes became {after_bytes}",
                    name(id),
                    sequence.0
                )
            }
            Self::LeftPlain { id, why } => {
                format!("left as it was by {}: {}", name(id), why.words())
            }
            Self::OuterPushed {
                source,
                destination,
                bytes,
            } => {
                format!("outer header {source} to {destination} pushed: {bytes} bytes")
            }
            Self::Opened {
                id,
                sequence,
                before_bytes,
                after_bytes,
            } => {
                format!(
                    "opened by {}, sequence {}: {before_bytes} bytes became {after_bytes}",
                    name(id),
                    sequence.0
                )
            }
            Self::OuterPopped {
                source,
                destination,
                bytes,
            } => {
                format!("outer header {source} to {destination} popped: {bytes} bytes")
            }
            Self::QuotationMatched { policy } => {
                format!("an ICMP error: what it quotes is of SPD entry {}", policy.0)
            }
            Self::CheckPassed { policy: Some(id) } => {
                format!("inbound check passed against SPD entry {}", id.0)
            }
            Self::CheckPassed { policy: None } => {
                "inbound check passed: no SPD entry asks for protection".to_owned()
            }
            Self::Held { bytes } => format!("a fragment of {bytes} bytes waits for the others"),
            Self::Waiting { bytes } => format!("a packet of {bytes} bytes waits for its SA"),
            Self::Released { bytes } => format!("released ({bytes} bytes): an SA has come"),
            Self::Reassembled { bytes } => format!("the datagram is whole again: {bytes} bytes"),
            Self::Cut { mtu } => format!("cut into fragments of at most {mtu} bytes"),
            Self::Transmitted { bytes } => format!("on the wire: {bytes} bytes"),
            Self::Delivered { bytes } => format!("delivered: {bytes} bytes"),
            Self::Dropped { reason } => {
                format!("dropped: {} ({})", reason.name(), reason.explanation().trim())
            }
        }
    }
}

fn name(id: &SaId) -> String {
    format!("{} {} for {}", id.protocol.name(), id.spi, id.destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{Protocol, Spi};

    #[test]
    fn steps_read_as_sentences() {
        let id = SaId {
            spi: Spi(0x1000),
            protocol: Protocol::Esp,
            destination: "192.0.2.1".parse().unwrap(),
        };
        let sealed = Step::Sealed {
            id,
            sequence: Sequence(7),
            before_bytes: 84,
            after_bytes: 120,
        };
        assert_eq!(
            sealed.describe(),
            "sealed by esp 0x00001000 for 192.0.2.1, sequence 7: 84 bytes became 120"
        );
        let dropped = Step::Dropped {
            reason: DropReason::InNoSa,
        };
        assert!(dropped.describe().starts_with("dropped: InNoSa (Inbound: no SA"));
    }
}
