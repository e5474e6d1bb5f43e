"""A combination in the words of both sides: engine calls for ours, `ip xfrm` for the kernel's.

No packet may enter.
Answers to: `sallet.SaParams`, `sallet.PolicyParams`; ip-xfrm(8).
"""

from __future__ import annotations

import sallet
from interop.matrix.combinations import Combination, Layer
from interop.matrix.payload import ENCAP_PORT

WINDOW = 64
_KERNEL_PROTOCOLS = {"ah": "ah", "esp": "esp", "ipcomp": "comp"}
_KERNEL_WORDS = {"aead": "aead", "cipher": "enc", "auth": "auth-trunc", "compression": "comp"}


def add_to_engine(engine: sallet.Engine, combination: Combination) -> None:
    """Add SAs and policies of our side.

    Raises:
        sallet.EngineError: the engine refuses.
    """
    us, them = combination.gateways
    ours, theirs = combination.ends
    for direction, source, destination, left, right in (
        ("out", ours, theirs, us, them),
        ("in", theirs, ours, them, us),
    ):
        for layer in combination.layers():
            engine.sad_add(_params(combination, layer, left, right, outbound=direction == "out"))
        templates = [
            sallet.Template(
                layer.protocol,
                layer.mode,
                "unique",
                combination.number,
                (left, right) if layer.mode == "tunnel" else None,
            )
            for layer in combination.layers()
        ]
        selector = sallet.Selector(source, destination)
        engine.spd_add(sallet.PolicyParams(direction, selector, "protect", templates))


def _params(
    combination: Combination, layer: Layer, source: str, destination: str, *, outbound: bool
) -> sallet.SaParams:
    compresses = layer.protocol == "ipcomp"
    keys = [
        (row.name, combination.key(row, layer, outbound=outbound)) if row is not None else None
        for row in (layer.suite.encryption, layer.suite.authentication)
    ]
    return sallet.SaParams(
        spi=combination.spi,
        protocol=layer.protocol,
        source=source,
        destination=destination,
        mode=layer.mode,
        reqid=combination.number,
        encryption=keys[0],
        authentication=keys[1],
        replay_window=0 if compresses else WINDOW,
        esn=combination.esn and not compresses,
        encap=(ENCAP_PORT, ENCAP_PORT) if layer.encap else None,
        raw_cpi=compresses,
    )


def kernel_lines(combination: Combination) -> list[str]:
    """Write SAs and policies of the kernel's side for `ip -batch`."""
    us, them = combination.gateways
    ours, theirs = combination.ends
    lines = []
    for direction, source, destination, left, right in (
        ("in", ours, theirs, us, them),
        ("out", theirs, ours, them, us),
    ):
        for layer in combination.layers():
            lines.append(_state(combination, layer, left, right, outbound=direction == "in"))
        templates = " ".join(
            f"tmpl src {left} dst {right} proto {_KERNEL_PROTOCOLS[layer.protocol]} "
            f"reqid {combination.number} mode {layer.mode}"
            # What does not shrink is sent as it was (RFC 3173 §2.2).
            + (" level use" if direction == "in" and layer.protocol == "ipcomp" else "")
            for layer in combination.layers()
        )
        lines.append(f"xfrm policy add dir {direction} src {source} dst {destination} {templates}")
    return lines


def _state(combination: Combination, layer: Layer, source: str, destination: str, *, outbound: bool) -> str:
    """Write one SA; `outbound` is seen from our side."""
    protocol = _KERNEL_PROTOCOLS[layer.protocol]
    words = [
        f"xfrm state add src {source} dst {destination} proto {protocol} spi {combination.spi:#x}",
        f"reqid {combination.number} mode {layer.mode}",
    ]
    if layer.protocol != "ipcomp":
        words.append(f"replay-window {WINDOW}")
        words += ["flag esn"] if combination.esn else []
        words += [f"replay-oseq {combination.already_sent}"] if not outbound else []
    # Without it this kernel pads AH over IPv4 to eight bytes, which RFC 4302 does not ask for.
    words += ["flag align4"] if layer.protocol == "ah" and combination.frame.outer == 4 else []
    words += ["flag af-unspec"] if layer.mode == "tunnel" else []
    for row in layer.suite.rows:
        key = combination.key(row, layer, outbound=outbound).hex()
        words += [_KERNEL_WORDS[row.kind], f"'{row.kernel}'"]
        if row.kind != "compression":
            words.append(f"0x{key}" if key else "''")
        if row.icv_bits:
            words.append(str(row.icv_bits))
    if layer.encap:
        words.append(f"encap espinudp {ENCAP_PORT} {ENCAP_PORT} 0.0.0.0")
    return " ".join(words)
