//! The SAD's tests: names, templates, CPIs, ages, SPIs, and indexes that agree whatever was done.
//! No packet and no policy may enter.
//! Answers to: RFC 4301 sections 4.1 and 4.4.2, `setkey(8)` (delete, deleteall, flush, dump).

use super::*;
use crate::crypto::AlgorithmKey;
use crate::sa::association_tests::{mature, params};
use crate::sa::lifetime::Limits;
use crate::sa::params::SaParams;
use crate::terms::Level;
use crate::time::{Instant, WallClock};
use proptest::prelude::*;

fn host(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn described(spi: u32, source: u8, destination: u8, reqid: u32) -> SaParams {
    let id = SaId {
        spi: Spi(spi),
        protocol: Protocol::Esp,
        destination: host(destination),
    };
    SaParams {
        id,
        source: host(source),
        reqid,
        ..params()
    }
}

fn association(spi: u32, source: u8, destination: u8, reqid: u32) -> Arc<Association> {
    Arc::new(mature(described(spi, source, destination, reqid)))
}

fn larval(params: SaParams) -> Arc<Association> {
    Arc::new(Association::larval(params, Instant(0), WallClock(0)).unwrap())
}

fn template(mode: Mode, reqid: u32) -> Template {
    Template {
        protocol: Protocol::Esp,
        mode,
        level: Level::Require,
        reqid,
        endpoints: None,
    }
}

fn spis(all: &[Arc<Association>]) -> Vec<u32> {
    all.iter().map(|association| association.id().spi.0).collect()
}

fn chosen(sad: &Sad, template: &Template, prefer_old: bool) -> Option<u32> {
    sad.outbound_sa(template, host(1), host(2), prefer_old)
        .map(|sa| sa.id().spi.0)
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
//# An inbound unicast packet is mapped to its SA by the SPI, with the protocol if the receiver likes.
//= https://www.rfc-editor.org/rfc/rfc2401#section-4.1
//# an SA is named by SPI, destination and protocol, so that others may have the same SPI
#[test]
fn one_spi_may_exist_once_for_each_destination_and_protocol() {
    let mut sad = Sad::new(1);
    sad.insert(association(300, 1, 2, 0)).unwrap();
    assert_eq!(
        sad.insert(association(300, 9, 2, 5)),
        Err(Error::Exists),
        "the source does not name an SA"
    );
    sad.insert(association(300, 1, 3, 0)).unwrap();
    let ah = SaId {
        protocol: Protocol::Ah,
        ..described(300, 1, 2, 0).id
    };
    sad.insert(larval(SaParams {
        id: ah,
        ..described(300, 1, 2, 0)
    }))
    .unwrap();
    assert_eq!(sad.len(), 3);
    let found = sad.inbound_sa(Spi(300), host(3), Protocol::Esp).unwrap();
    assert_eq!(found.id().destination, host(3));
    assert!(sad.inbound_sa(Spi(301), host(3), Protocol::Esp).is_none());
    assert!(sad.inbound_sa(Spi(300), host(1), Protocol::Esp).is_none());
}

#[test]
fn the_template_chooses() {
    let mut sad = Sad::new(1);
    sad.insert(association(301, 1, 2, 0)).unwrap();
    sad.insert(association(302, 1, 2, 7)).unwrap();
    let tunnel = SaParams {
        mode: Mode::Tunnel,
        ..described(303, 1, 2, 8)
    };
    sad.insert(Arc::new(mature(tunnel))).unwrap();
    sad.insert(larval(described(304, 1, 2, 9))).unwrap();
    assert_eq!(chosen(&sad, &template(Mode::Transport, 0), true), Some(301));
    assert_eq!(chosen(&sad, &template(Mode::Transport, 0), false), Some(302));
    assert_eq!(chosen(&sad, &template(Mode::Tunnel, 0), false), Some(303));
    assert_eq!(chosen(&sad, &template(Mode::Transport, 7), true), Some(302));
    assert_eq!(
        chosen(&sad, &template(Mode::Transport, 8), true),
        None,
        "a tunnel SA does not serve transport"
    );
    assert_eq!(chosen(&sad, &template(Mode::Transport, 9), true), None, "larval");
    assert_eq!(chosen(&sad, &template(Mode::Transport, 10), true), None);
    let elsewhere = Template {
        endpoints: Some((host(1), host(3))),
        ..template(Mode::Transport, 0)
    };
    assert_eq!(
        chosen(&sad, &elsewhere, true),
        None,
        "the template's own ends count"
    );
    let ah = Template {
        protocol: Protocol::Ah,
        ..template(Mode::Transport, 0)
    };
    assert_eq!(chosen(&sad, &ah, true), None);
}

fn compressing(spi: u32, source: u8, mode: Mode) -> Arc<Association> {
    let esp = described(spi, source, 2, 0);
    Arc::new(mature(SaParams {
        id: SaId {
            protocol: Protocol::IpComp,
            ..esp.id
        },
        mode,
        encryption: Some(AlgorithmKey::new("deflate", &[])),
        authentication: None,
        esn: false,
        raw_cpi: true,
        ..esp
    }))
}

//= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
//# a negotiated CPI names an SA together with the destination; a well-known one names just an algorithm
#[test]
fn a_cpi_finds_an_sa() {
    let mut sad = Sad::new(1);
    for association in [
        compressing(0x1_1000, 1, Mode::Transport),
        compressing(0x2_1000, 1, Mode::Tunnel),
        compressing(0x2000, 1, Mode::Any),
        compressing(0x3_1000, 3, Mode::Transport),
    ] {
        sad.insert(association).unwrap();
    }
    sad.insert(association(0x1000, 1, 2, 0)).unwrap();
    let found = |sad: &Sad, cpi, source, mode| {
        let sa = sad.compressed_sa(Cpi(cpi), host(source), host(2), mode);
        sa.map(|sa| sa.id().spi.0)
    };
    let (transport, tunnel) = (Mode::Transport, Mode::Tunnel);
    assert_eq!(found(&sad, 0x1000, 1, transport), Some(0x1_1000));
    assert_eq!(found(&sad, 0x1000, 1, tunnel), Some(0x2_1000));
    assert_eq!(found(&sad, 0x1000, 3, tunnel), Some(0x3_1000), "no better one");
    assert_eq!(found(&sad, 0x1000, 4, tunnel), None);
    assert_eq!(found(&sad, 0x1001, 1, transport), None);
    assert_eq!(found(&sad, 2, 1, tunnel), Some(0x2000), "the newest of the pair");
    assert_eq!(found(&sad, 3, 1, tunnel), None, "another algorithm");
    let bare = |sad: &Sad, source| sad.bare_tunnel_sa(host(source), host(2)).map(|sa| sa.id().spi.0);
    assert_eq!(
        (bare(&sad, 1), bare(&sad, 3), bare(&sad, 4)),
        (Some(0x2000), None, None)
    );
    sad.lookup(compressing(0x2000, 1, Mode::Any).id())
        .unwrap()
        .retire();
    assert_eq!(bare(&sad, 1), Some(0x2_1000));
    assert_eq!(found(&sad, 2, 1, transport), Some(0x1_1000));
    sad.remove(compressing(0x1_1000, 1, transport).id()).unwrap();
    assert_eq!(found(&sad, 0x1000, 1, transport), Some(0x2_1000));
}

/// CVE-2025-40215: state of IPComp's own that outlived its SA. Here, tables and handles alike.
#[test]
fn a_flush_leaves_nothing() {
    let mut sad = Sad::new(1);
    let all = [
        compressing(0x1000, 1, Mode::Tunnel),
        compressing(0x1001, 1, Mode::Any),
        association(300, 1, 2, 7),
    ];
    for association in &all {
        sad.insert(Arc::clone(association)).unwrap();
    }
    assert_eq!(sad.flush(Some(Protocol::IpComp)).len(), 2);
    assert!(sad.by_cpi.is_empty() && sad.by_pair.len() == 2 && sad.len() == 1);
    assert_eq!(sad.flush(None).len(), 1);
    assert!(sad.by_pair.is_empty() && sad.by_age.is_empty() && sad.by_id.is_empty());
    for association in &all {
        assert_eq!(Arc::strong_count(association), 1);
        assert!(!association.usable_inbound());
    }
    sad.insert(compressing(0x1000, 1, Mode::Tunnel)).unwrap();
    sad.flush(None);
    assert!(sad.by_cpi.is_empty());
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
//# several SAs with the same selectors and ends may exist at once, and packets of each are taken
#[test]
fn preference_among_old_new_and_dying() {
    let mut sad = Sad::new(1);
    let soft = Limits {
        packets: 1,
        ..Limits::default()
    };
    let all = [301, 302, 303].map(|spi| {
        Arc::new(mature(SaParams {
            soft,
            ..described(spi, 1, 2, 0)
        }))
    });
    for association in &all {
        sad.insert(Arc::clone(association)).unwrap();
    }
    let any = template(Mode::Any, 0);
    assert_eq!(
        (chosen(&sad, &any, true), chosen(&sad, &any, false)),
        (Some(301), Some(303))
    );
    let _soft = all[2].account(1, Instant(0));
    assert_eq!(
        (chosen(&sad, &any, true), chosen(&sad, &any, false)),
        (Some(301), Some(302))
    );
    let _soft = (all[1].account(1, Instant(0)), all[0].account(1, Instant(0)));
    assert_eq!(
        (chosen(&sad, &any, true), chosen(&sad, &any, false)),
        (Some(301), Some(303))
    );
    all[0].retire();
    assert_eq!(chosen(&sad, &any, true), Some(302));
}

#[test]
fn replacing_keeps_the_place_and_ends_the_old() {
    let mut sad = Sad::new(1);
    let first = larval(described(301, 1, 2, 0));
    sad.insert(Arc::clone(&first)).unwrap();
    sad.insert(association(302, 1, 2, 0)).unwrap();
    let old = sad.replace(association(301, 1, 2, 77)).unwrap();
    assert!(Arc::ptr_eq(&old, &first) && old.state() == State::Dead);
    assert_eq!(spis(&sad.dump(None)), [301, 302]);
    assert_eq!(chosen(&sad, &template(Mode::Any, 77), true), Some(301));
    assert_eq!(
        sad.replace(association(999, 1, 2, 0)).unwrap_err(),
        Error::NotFound
    );
}

#[test]
fn deletion_by_name_by_pair_and_whole() {
    let mut sad = Sad::new(1);
    for spi in 300..304 {
        sad.insert(association(spi, 1, 2, spi % 2)).unwrap();
    }
    sad.insert(larval(described(304, 1, 2, 0))).unwrap();
    sad.insert(association(305, 2, 1, 0)).unwrap();
    let name = described(301, 1, 2, 0).id;
    let held = sad.lookup(&name).unwrap();
    assert!(Arc::ptr_eq(&sad.remove(&name).unwrap(), &held));
    assert!(!held.usable_outbound(), "whoever holds it cannot go on sending");
    assert_eq!(sad.remove(&name).unwrap_err(), Error::NotFound);
    assert_eq!(
        spis(&sad.remove_pair(Protocol::Esp, host(1), host(2))),
        [300, 302, 303]
    );
    assert_eq!(spis(&sad.dump(None)), [304, 305], "larval ones stay");
    assert!(sad.remove_pair(Protocol::Ah, host(2), host(1)).is_empty());
    assert!(sad.flush(Some(Protocol::Ah)).is_empty());
    assert_eq!(spis(&sad.flush(Some(Protocol::Esp))), [304, 305]);
    assert!(sad.is_empty() && sad.by_pair.is_empty() && sad.by_age.is_empty());
}

#[test]
fn a_dump_is_in_order_of_insertion() {
    let mut sad = Sad::new(99);
    let order = [500, 300, 400, 350];
    for spi in order {
        sad.insert(association(spi, 1, 2, 0)).unwrap();
    }
    assert_eq!(spis(&sad.dump(None)), order);
    sad.remove(&described(300, 1, 2, 0).id).unwrap();
    sad.insert(association(300, 1, 2, 0)).unwrap();
    assert_eq!(spis(&sad.dump(Some(Protocol::Esp))), [500, 400, 350, 300]);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
//# SPIs 1 to 255 are reserved and are not handed out.
#[test]
fn spis_are_allocated_inside_the_range_and_once() {
    let mut sad = Sad::new(1);
    let mut random = 0_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let spi = sad
            .allocate_spi(Protocol::Esp, host(2), (0, 259), 16, false, &mut next)
            .unwrap();
        sad.insert(larval(described(spi.0, 1, 2, 0))).unwrap();
        seen.push(spi.0);
    }
    seen.sort_unstable();
    assert_eq!(seen, [256, 257, 258, 259]);
    let mut ask = |protocol, min, max| sad.allocate_spi(protocol, host(2), (min, max), 16, false, &mut next);
    assert_eq!(ask(Protocol::Esp, 256, 259), Err(Error::SpiExhausted));
    assert_eq!(ask(Protocol::Esp, 257, 257), Err(Error::SpiExhausted));
    assert_eq!(
        ask(Protocol::Ah, 257, 257),
        Ok(Spi(257)),
        "another protocol, another space"
    );
    assert_eq!(ask(Protocol::Esp, 1, 255), Err(Error::InvalidSpi));
    assert_eq!(ask(Protocol::Esp, 9, 8), Err(Error::OutOfRange { field: "spi" }));
    assert_eq!(ask(Protocol::IpComp, 0x10000, 0x20000), Err(Error::InvalidSpi));
    assert!(ask(Protocol::IpComp, 0xffff, u32::MAX) == Ok(Spi(0xffff)));
    assert!(ask(Protocol::Esp, 0, u32::MAX).is_ok());
}

#[test]
fn an_spi_can_be_asked_for_that_no_sa_has() {
    let mut sad = Sad::new(1);
    let esp = described(256, 1, 2, 0);
    let mut ah = described(256, 2, 3, 0);
    ah.id.protocol = Protocol::Ah;
    for params in [esp.clone(), ah.clone(), described(258, 1, 3, 0)] {
        sad.insert(larval(params)).unwrap();
    }
    let ask = |sad: &Sad, min, max, unshared| {
        sad.allocate_spi(Protocol::Ah, host(9), (min, max), 16, unshared, &mut || 0)
    };
    assert_eq!(ask(&sad, 256, 256, false), Ok(Spi(256)));
    assert_eq!(ask(&sad, 256, 256, true), Err(Error::SpiExhausted));
    assert_eq!(ask(&sad, 256, 258, true), Ok(Spi(257)));
    let named = |sad: &Sad, spi| sad.with_spi(Spi(spi)).map(|found| *found.id());
    assert_eq!(named(&sad, 256), Some(esp.id), "the oldest");
    assert_eq!((named(&sad, 255), named(&sad, 257)), (None, None));
    sad.remove(&esp.id).unwrap();
    assert_eq!(named(&sad, 256), Some(ah.id));
    sad.replace(larval(ah.clone())).unwrap();
    assert_eq!(named(&sad, 256), Some(ah.id));
    sad.flush(Some(Protocol::Ah));
    assert_eq!(ask(&sad, 256, 256, true), Ok(Spi(256)));
    sad.flush(None);
    assert_eq!(named(&sad, 258), None);
}

#[test]
fn many_on_one_pair_stay_cheap() {
    let mut sad = Sad::new(1);
    for spi in 0..50_000 {
        sad.insert(larval(described(1000 + spi, 1, 2, spi + 1))).unwrap();
    }
    assert!(
        sad.outbound_sa(&template(Mode::Any, 40_000), host(1), host(2), true)
            .is_none()
    );
    for spi in 0..50_000 {
        sad.remove(&described(1000 + spi, 1, 2, 0).id).unwrap();
    }
    assert!(sad.is_empty() && sad.by_pair.is_empty());
}

proptest! {
    /// The three indexes never disagree, whatever is inserted and taken out.
    #[test]
    fn indexes_agree(steps in proptest::collection::vec((0u8..4, 300u32..306, 1u8..3, 2u8..4, 0u32..3), 0..60)) {
        let mut sad = Sad::new(7);
        let mut model: Vec<(SaId, u8, u32)> = Vec::new();
        for (step, spi, source, destination, reqid) in steps {
            let params = described(spi, source, destination, reqid);
            let id = params.id;
            let there = model.iter().position(|(known, ..)| *known == id);
            match step {
                0 | 1 => {
                    prop_assert_eq!(sad.insert(larval(params)).is_ok(), there.is_none());
                    if there.is_none() {
                        model.push((id, source, reqid));
                    }
                }
                2 => {
                    prop_assert_eq!(sad.remove(&id).is_ok(), there.is_some());
                    there.map(|at| model.remove(at));
                }
                _ => {
                    prop_assert_eq!(sad.replace(larval(params)).is_ok(), there.is_some());
                    if let Some(at) = there {
                        model[at] = (id, source, reqid);
                    }
                }
            }
            let all: Vec<_> = sad.all().map(|sa| (*sa.id(), sa.params().reqid)).collect();
            let expected: Vec<_> = model.iter().map(|(id, _, reqid)| (*id, *reqid)).collect();
            prop_assert_eq!(all, expected);
            for (id, source, reqid) in &model {
                let serial = sad.lookup(id).unwrap().serial();
                let key = (id.protocol, host(*source), id.destination, *reqid);
                prop_assert!(sad.by_pair[&key].contains_key(&serial));
            }
            let paired: usize = model.iter().map(|(_, _, reqid)| if *reqid == 0 { 1 } else { 2 }).sum();
            let mut listed = 0;
            #[allow(clippy::disallowed_methods)] // a sum has no order
            sad.by_pair.values().for_each(|ages| listed += ages.len());
            prop_assert_eq!(paired, listed);
        }
    }
}
