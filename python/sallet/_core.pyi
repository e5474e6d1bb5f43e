"""
The engine of sallet: SPD, SAD, replay windows and ESP, without a kernel.
"""

import builtins
from _typeshed import SupportsGetItem
from ipaddress import IPv4Address, IPv6Address
from typing import Any, SupportsFloat, SupportsIndex, final
from typing_extensions import Buffer

@final
class AcquireEvent:
    """
    A packet needs an SA that does not exist: key managers are asked for one (RFC 2367 §3.1.6).
    """
    @property
    def destination(self, /) -> IPv4Address | IPv6Address:
        """
        Destination of the SA that is missing.
        """
    @property
    def id(self, /) -> int:
        """
        Number of this request, as `sadb_msg_seq`.
        """
    @property
    def packet(self, /) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address, int]:
        """
        (source, destination, next layer protocol) of the packet that needs it.
        """
    @property
    def policy(self, /) -> int:
        """
        The SPD entry that asks.
        """
    @property
    def source(self, /) -> IPv4Address | IPv6Address:
        """
        Source of the SA that is missing.
        """
    @property
    def template(self, /) -> Template:
        """
        The template without an SA.
        """

@final
class Algorithm:
    """
    One algorithm the engine provides.
    """
    def __repr__(self, /) -> str: ...
    @property
    def backend(self, /) -> str:
        """
        The library that does the work.
        """
    @property
    def block_bytes(self, /) -> int:
        """
        Block size, in bytes.
        """
    @property
    def byte_limit(self, /) -> int | None:
        """
        After so many bytes an SA ends, whatever was asked for; None means never.
        """
    @property
    def defined_in(self, /) -> str:
        """
        Where it is defined.
        """
    @property
    def icv_bytes(self, /) -> int:
        """
        Length of the ICV in each packet, in bytes.
        """
    @property
    def iv_bytes(self, /) -> int:
        """
        Length of the IV in each packet, in bytes.
        """
    @property
    def key_bits(self, /) -> list[int]:
        """
        The key lengths that will do, in bits, salt included.
        """
    @property
    def kind(self, /) -> str:
        """
        "aead", "cipher", "auth" or "compression".
        """
    @property
    def legacy(self, /) -> bool:
        """
        Whether it should not be used for anything new.
        """
    @property
    def manual_keys(self, /) -> bool:
        """
        Whether a person's key will do; else `SaParams(fresh_keys=True)` must promise another.
        """
    @property
    def name(self, /) -> str:
        """
        The registry name, as `SaParams` takes it.
        """
    @property
    def salt_bits(self, /) -> int:
        """
        How many of those bits are salt.
        """

@final
class Datapath:
    """
    The thread between a TUN device and raw or UDP sockets, and an engine.

    `tun_name` is the device to create, `tun_mtu` its MTU in bytes, `bypass_mark` the SO_MARK of everything
    the thread sends, `raw` whether it receives protocols 50, 51 and 108, `udp_port` the port of ESP in UDP
    (RFC 3948) or None. The engine must live by the system clock. Nothing is opened before `start()`.
    """
    def __new__(cls, /, engine: Engine, *, tun_name: str = "sallet0", tun_mtu: SupportsIndex = 1400, bypass_mark: SupportsIndex = 23057, raw: bool = True, udp_port: SupportsIndex | None = None) -> Datapath: ...
    def close_endpoint(self, /, address: IPv4Address | IPv6Address, port: SupportsIndex) -> None:
        """
        Gives the address up again. Raises OSError if the thread has ended by itself.
        """
    def counters(self, /) -> "dict[str, int]":
        """
        The counters of the devices, by name; empty while it does not run.
        """
    @property
    def device_name(self, /) -> str | None:
        """
        The name of the device, or None while it does not run.
        """
    @property
    def failure(self, /) -> str | None:
        """
        Why the thread ended by itself, or None.
        """
    @property
    def is_running(self, /) -> bool:
        """
        Whether the thread runs.
        """
    def open_endpoint(self, /, address: IPv4Address | IPv6Address, port: SupportsIndex, only_v6: bool) -> None:
        """
        Takes ESP in UDP at the address of a key manager's UDP socket; IKE stays with that socket.

        The socket has to share its port (SO_REUSEPORT) and to be of the same user. `only_v6` is its
        IPV6_V6ONLY. Does nothing while the thread does not run. Raises OSError (what is missing stands in its
        text).
        """
    def start(self, /) -> None:
        """
        Opens the devices and starts the thread. Raises OSError (what is missing stands in its text).
        """
    def stop(self, /) -> None:
        """
        Ends the thread and removes the device; does nothing if it does not run.
        """
    def wake(self, /) -> None:
        """
        Lets the thread look at its timers now: a request may have brought one nearer.
        """

@final
class DumpShape:
    """
    How a dialect writes an SA in a dump: the numbers and the order of everything that it tells.
    """
    def __new__(cls, /, *, parts: SupportsGetItem[int, tuple[SupportsIndex, str]], satypes: dict[str, SupportsIndex], states: dict[str, SupportsIndex], modes: dict[str, SupportsIndex], authentication: dict[str, tuple[SupportsIndex, SupportsIndex]], encryption: dict[str, tuple[SupportsIndex, SupportsIndex]], compression: dict[str, tuple[SupportsIndex, SupportsIndex]], flags: dict[str, SupportsIndex], fields: dict[str, SupportsIndex]) -> DumpShape:
        """
        `parts`: extension numbers with what each tells. `flags`: "kept" and the flags by name. `fields`:
        single numbers and switches by name; every name has to be there.
        """

@final
class Engine:
    """
    The SPD, the SAD and the ESP transform of one host (RFC 4301), without a socket or a thread.

    `seed` (32 bytes) makes every choice repeatable; without it the operating system's randomness is
    taken. `clock` is "system", or "manual" for a clock that only `advance()` moves. `configuration` is
    a mapping as `config()` returns it. All methods may be called from several threads.
    """
    def __new__(cls, /, *, seed: "Buffer | None" = None, clock: "str" = "system", configuration: "dict[str, Any] | None" = None) -> Engine: ...
    def acquire_answered(self, /, id: SupportsIndex, sa: SaView) -> bool:
        """
        Notes that the acquire of that number is answered by this SA, or that somebody works on it.

        Says whether there was such an acquire, between the same two ends.
        """
    def acquire_failed(self, /, id: SupportsIndex) -> bool:
        """
        Takes back the acquire of that number (`AcquireEvent.id`), which nobody can answer: what waits is dropped.

        Says whether there was one (RFC 2367 §3.1.6).
        """
    def advance(self, /, secs: SupportsFloat | SupportsIndex) -> None:
        """
        Moves a manual clock forward and lets timers run; ValueError on a system clock.
        """
    def config(self, /) -> "dict[str, Any]":
        """
        The configuration, name by name.
        """
    def configure(self, /, name: str, value: Any) -> None:
        """
        Changes one value of the configuration, by the name `config()` shows.
        """
    def event_fd(self, /) -> int:
        """
        A file descriptor that is readable while there are events to take.
        """
    def explain(self, /, direction: str, packet: Buffer) -> Verdict:
        """
        Says what would happen to a packet in clear, and changes nothing.

        `direction` is "out", "in" or "fwd".
        """
    def handle_timeout(self, /) -> None:
        """
        Lets timers run that are due: lifetimes, larval SAs.
        """
    def icmp_error(self, /, packet: Buffer) -> bool:
        """
        Takes an ICMP error (a complete IP packet) from the open side as a hint at a path MTU.

        Says whether it was believed: it must quote a packet of a living SA (RFC 4301 §6.1.1 and §8.2).
        """
    def inbound(self, /, packet: Buffer, *, journey: bool = False) -> Outcome:
        """
        Passes one IP packet of the open side: opens it, checks it against the SPD, delivers or drops it.

        Source: RFC 4301 §5.2.
        """
    def inbound_batch(self, /, packets: SupportsGetItem[int, Buffer]) -> list[Outcome]:
        """
        Passes many packets of the open side, in order; one outcome each. The GIL is released once.
        """
    def outbound(self, /, packet: Buffer, *, journey: bool = False) -> Outcome:
        """
        Passes one IP packet of the protected side: protects it, lets it go in clear, or drops it.

        `packet` is a complete IPv4 or IPv6 packet (bytes or any buffer). With `journey=True` the outcome
        tells the stages. Source: RFC 4301 §5.1.
        """
    def outbound_batch(self, /, packets: SupportsGetItem[int, Buffer]) -> list[Outcome]:
        """
        Passes many packets of the protected side, in order; one outcome each. The GIL is released once.
        """
    def pcb_dump(self, /) -> list[PolicyView]:
        """
        Returns the policies of sockets' flows.
        """
    def pcb_put(self, /, params: PolicyParams) -> PolicyView:
        """
        Gives the flows of a socket a policy that is asked before every SPD entry. Raises EngineError.
        """
    def pcb_remove(self, /, direction: str, selector: Selector) -> PolicyView:
        """
        Removes the policy of a socket's flows. Raises EngineError (not-found).
        """
    def poll_timeout(self, /) -> float | None:
        """
        Seconds until `handle_timeout` is due, or None.
        """
    def sad_add(self, /, params: SaParams) -> SaView:
        """
        Adds a mature SA. Raises EngineError (exists, invalid-spi, unknown-algorithm, invalid-key-length, ...).
        """
    def sad_between(self, /, protocol: str, source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address) -> bool:
        """
        Says whether there is any SA from `source` to `destination`, a larval one included.
        """
    def sad_delete(self, /, spi: SupportsIndex, protocol: str, destination: str | IPv4Address | IPv6Address, source: str | IPv4Address | IPv6Address | None = None) -> SaView:
        """
        Removes one SA and returns what it was. Raises EngineError (not-found).
        """
    def sad_delete_of(self, /, connection: SupportsIndex, *, larval: bool = False) -> list[SaView]:
        """
        Removes the SAs that a connection made (only those without keys if `larval`), returns what they were.
        """
    def sad_delete_pair(self, /, protocol: str, source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address) -> list[SaView]:
        """
        Removes every SA from `source` to `destination` that is not larval, and returns what they were.
        """
    def sad_dump(self, /, protocol: str | None = None) -> list[SaView]:
        """
        Returns every SA (of one protocol), in order of insertion.
        """
    def sad_flush(self, /, protocol: str | None = None) -> int:
        """
        Removes every SA (of one protocol) and returns how many there were.
        """
    def sad_getspi(self, /, protocol: str, source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, *, mode: str = "any", reqid: SupportsIndex = 0, minimum: SupportsIndex = 0, maximum: SupportsIndex = 0, owner: SupportsIndex = 0, connection: SupportsIndex = 0, unshared: bool = False) -> int:
        """
        Reserves an SPI out of `minimum`..`maximum` by a larval SA and returns it (RFC 2367 §3.1.1).

        0 and 0 mean the configured range; with `unshared` no SA of any protocol and destination may have it.
        Raises EngineError (spi-exhausted, out-of-range).
        """
    def sad_lookup(self, /, spi: SupportsIndex, protocol: str, destination: str | IPv4Address | IPv6Address) -> SaView | None:
        """
        Returns one SA, or None.
        """
    def sad_moment(self, /, protocol: str | None = None, *, newest_first: bool = False, states: SupportsGetItem[int, str] = ...) -> SadMoment:
        """
        Keeps every SA (of one protocol) as it is now, in order of insertion or, with `newest_first`, against
        it; with `states`, those of the first state come first.
        """
    def sad_move(self, /, spi: SupportsIndex, protocol: str, destination: str | IPv4Address | IPv6Address, *, new_source: str | IPv4Address | IPv6Address, new_destination: str | IPv4Address | IPv6Address, encap: tuple[SupportsIndex, SupportsIndex] | None = None) -> SaView:
        """
        Lets an SA stand between other ends, with the keys, numbers and counters that it has; returns it.

        Raises EngineError (not-found, invalid-state, invalid-selector, exists).
        """
    def sad_rekey(self, /, params: SaParams) -> SaView:
        """
        Gives an SA new keys; it begins anew under its name. Raises EngineError (not-found, invalid-state, ...).
        """
    def sad_update(self, /, params: SaParams) -> SaView:
        """
        Completes a larval SA or changes a mature one. Raises EngineError (not-found, invalid-state, ...).
        """
    def sad_with_spi(self, /, spi: SupportsIndex) -> SaView | None:
        """
        Returns the oldest SA with this SPI, whatever its protocol and its ends, or None.
        """
    def send_dummy(self, /, spi: SupportsIndex, destination: str | IPv4Address | IPv6Address, bytes: SupportsIndex) -> None:
        """
        Makes a dummy packet with `bytes` of random payload on an outbound ESP SA (RFC 4303 §2.6).

        Its receiver swallows it; a watcher cannot tell it from others. EngineError without such an SA.
        """
    def spd_add(self, /, params: PolicyParams) -> PolicyView:
        """
        Adds an SPD entry. Raises EngineError (exists, invalid-selector).
        """
    def spd_delete(self, /, direction: str, selector: Selector) -> PolicyView:
        """
        Removes the SPD entry of that direction and selector. Raises EngineError (not-found).
        """
    def spd_delete_id(self, /, id: SupportsIndex) -> PolicyView:
        """
        Removes the SPD entry of that id. Raises EngineError (not-found).
        """
    def spd_delete_of(self, /, connection: SupportsIndex) -> list[PolicyView]:
        """
        Removes the SPD entries that a connection made, and returns what they were.
        """
    def spd_dump(self, /) -> list[PolicyView]:
        """
        Returns every SPD entry, in order of insertion.
        """
    def spd_flush(self, /) -> int:
        """
        Removes every SPD entry and returns how many there were.
        """
    def spd_lookup(self, /, id: SupportsIndex) -> PolicyView | None:
        """
        Returns the SPD entry of that id, or None.
        """
    def spd_update(self, /, params: PolicyParams) -> PolicyView:
        """
        Replaces the SPD entry of the same direction and selector, or adds it. Raises EngineError.
        """
    def stats(self, /) -> Stats:
        """
        The counters: one for each drop reason, and what passed.
        """
    def take_events(self, /) -> "list[AcquireEvent | ExpireEvent | NewMappingEvent | PolicyAcquireEvent | PolicyExpireEvent]":
        """
        Fetches and forgets the events since the last call, oldest first.
        """
    def take_transmits(self, /) -> list[bytes]:
        """
        Fetches the packets that the engine sends by itself since the last call: those that waited for an SA that
        has come, keepalives and dummies.

        They must go to the wire; a running `Datapath` sends them itself.
        """

@final
class ExpireEvent:
    """
    An SA reached its soft or its hard lifetime (RFC 2367 §3.1.8).
    """
    @property
    def hard(self, /) -> bool:
        """
        Whether it was the hard lifetime: the SA is gone.
        """
    @property
    def sa(self, /) -> SaView:
        """
        The SA as it was.
        """

@final
class Limits:
    """
    One lifetime, soft or hard (RFC 4301 §4.4.2.1); 0 means no limit.

    `bytes` and `packets` count what the transform was handed; `add_secs` runs from the creation of the
    entry, `use_secs` from its first packet.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, *, bytes: SupportsIndex = 0, packets: SupportsIndex = 0, add_secs: SupportsIndex = 0, use_secs: SupportsIndex = 0) -> Limits: ...
    def __repr__(self, /) -> str: ...
    @property
    def add_secs(self, /) -> int:
        """
        Seconds since the entry was made.
        """
    @property
    def bytes(self, /) -> int:
        """
        Bytes handed to the transform.
        """
    @property
    def packets(self, /) -> int:
        """
        Packets handed to the transform.
        """
    @property
    def use_secs(self, /) -> int:
        """
        Seconds since the first packet.
        """

@final
class NewMappingEvent:
    """
    An authentic packet came from another address or port: a NAT has made another mapping (RFC 3948 §5).
    """
    @property
    def address(self, /) -> IPv4Address | IPv6Address:
        """
        The peer's address now.
        """
    @property
    def port(self, /) -> int:
        """
        The peer's port now.
        """
    @property
    def sa(self, /) -> SaView:
        """
        The SA as it was; its source and its port are the old ones.
        """

@final
class Outcome:
    """
    What became of one packet.

    `transmitted` are complete IP packets for the open side, `delivered` complete IP packets for the
    protected side (an ICMP answer to the sender among them), more than one of them where a packet was cut into
    fragments. `reason` names the counter when it was dropped.
    """
    def __repr__(self, /) -> str: ...
    @property
    def delivered(self, /) -> list[bytes]:
        """
        Packets for the protected side.
        """
    @property
    def dropped(self, /) -> bool:
        """
        Whether the packet went no further.
        """
    @property
    def explanation(self, /) -> str | None:
        """
        The drop reason as a sentence, or None.
        """
    @property
    def held(self, /) -> bool:
        """
        Whether the packet waits: a fragment for the others of its datagram, any packet for its SA.
        """
    @property
    def journey(self, /) -> list[str]:
        """
        The stages it went through, in order; empty unless `journey=True` was asked for.
        """
    @property
    def packet(self, /) -> bytes | None:
        """
        The one packet that came out, on whichever side; None if it was dropped or there is more than one.
        """
    @property
    def protected_by(self, /) -> int | None:
        """
        The SPI of the outermost SA that protects it, or None.
        """
    @property
    def reason(self, /) -> str | None:
        """
        The drop reason: the name of its counter, or None.
        """
    @property
    def transmitted(self, /) -> list[bytes]:
        """
        Packets for the open side.
        """

@final
class PolicyAcquireEvent:
    """
    A packet met an SPD entry that says to protect and not yet how: key managers are asked for its templates.
    """
    @property
    def policy(self, /) -> int:
        """
        The SPD entry that waits.
        """

@final
class PolicyExpireEvent:
    """
    An SPD entry reached its lifetime and is gone.
    """
    @property
    def policy(self, /) -> PolicyView:
        """
        The entry as it was.
        """

@final
class PolicyParams:
    """
    What `Engine.spd_add` and `Engine.spd_update` are given: one SPD entry (RFC 4301 §4.4.1).

    `direction` is "in", "out" or "fwd"; `action` "bypass", "discard" or "protect" (then with `templates`,
    the innermost first; none while they are `awaited`, and nothing passes). Lower `priority` is consulted
    first; equal ones in order of insertion.
    `judges_forwarded` makes an "in" entry speak for forwarded packets too (systems without "fwd").
    """
    def __new__(cls, /, direction: str, selector: Selector, action: str, templates: SupportsGetItem[int, Template] = ..., *, priority: SupportsIndex = 2147483648, judges_forwarded: bool = False, owner: SupportsIndex = 0, add_secs: SupportsIndex = 0, use_secs: SupportsIndex = 0, connection: SupportsIndex = 0, awaited: bool = False) -> PolicyParams: ...

@final
class PolicyView:
    """
    One SPD entry as it was when it was asked for.
    """
    def __repr__(self, /) -> str: ...
    @property
    def action(self, /) -> str:
        """
        "bypass", "discard" or "protect".
        """
    @property
    def add_secs(self, /) -> int:
        """
        Lifetime in seconds since creation, 0 for none.
        """
    @property
    def bytes(self, /) -> int:
        """
        Bytes of those packets.
        """
    @property
    def connection(self, /) -> int:
        """
        The connection by which it was added, 0 if there was none.
        """
    @property
    def created(self, /) -> int:
        """
        When it was added, in seconds since 1970.
        """
    @property
    def direction(self, /) -> str:
        """
        "in", "out" or "fwd".
        """
    @property
    def id(self, /) -> int:
        """
        The id, unique in this engine's life.
        """
    @property
    def judges_forwarded(self, /) -> bool:
        """
        Whether an "in" entry speaks for forwarded packets too.
        """
    @property
    def last_used(self, /) -> int | None:
        """
        When it last decided about a packet, in seconds since 1970, or None.
        """
    @property
    def owner(self, /) -> int:
        """
        What the caller said, unread (a process id).
        """
    @property
    def packets(self, /) -> int:
        """
        Packets it decided about.
        """
    @property
    def priority(self, /) -> int:
        """
        Lower ones are consulted first.
        """
    @property
    def selector(self, /) -> Selector:
        """
        What it covers.
        """
    @property
    def serial(self, /) -> int:
        """
        The order of insertion.
        """
    @property
    def templates(self, /) -> list[Template]:
        """
        What it asks for, the innermost first; empty unless the action is "protect", and while nobody has said it.
        """
    @property
    def use_secs(self, /) -> int:
        """
        Lifetime in seconds of idleness, 0 for none.
        """

@final
class SaParams:
    """
    What `Engine.sad_add` and `Engine.sad_update` are given: one SA (RFC 4301 §4.4.2).

    `spi` is in host order; `encryption` and `authentication` are (registry name, key bytes, salt
    included), see `algorithms()`; `replay_window` counts packets, 0 means no check; `encap` is
    (source port, destination port) of ESP in UDP (RFC 3948), `original` the (source, destination) before a NAT
    changed them, `keepalive` says that this end is behind one. Packets in tunnels are padded to `tfc_bytes`
    where that fits (RFC 4303 §2.7); IPv4 packets longer than `fragment_bytes` are cut before they go into a
    tunnel inside UDP. `flags` and `owner` are kept and given back.
    `fresh_keys` promises keys made for this SA alone, without which an implicit IV is refused (RFC 8750);
    `unprotected` permits NULL encryption without authentication.
    Raises ValueError for an unknown word.
    """
    def __new__(cls, /, *, spi: SupportsIndex, protocol: str, source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, mode: str = "any", reqid: SupportsIndex = 0, encryption: tuple[str, Buffer] | None = None, authentication: tuple[str, Buffer] | None = None, replay_window: SupportsIndex = 0, esn: bool = False, cycle_sequence: bool = False, soft: Limits | None = None, hard: Limits | None = None, encap: tuple[SupportsIndex, SupportsIndex] | None = None, flags: SupportsIndex = 0, owner: SupportsIndex = 0, old: bool = False, fresh_keys: bool = False, unprotected: bool = False, raw_cpi: bool = False, original: tuple[str | IPv4Address | IPv6Address, str | IPv4Address | IPv6Address] | None = None, keepalive: bool = False, tfc_bytes: SupportsIndex = 0, connection: SupportsIndex = 0, fragment_bytes: SupportsIndex = 0) -> SaParams: ...
    def __repr__(self, /) -> str: ...

@final
class SaView:
    """
    One SA as it was when it was asked for.

    Times are whole seconds since 1970; `sequence` is the last number sent (outbound) or the highest
    received (inbound). `encryption` and `authentication` hold the key: never print them.
    """
    def __repr__(self, /) -> str: ...
    @property
    def authentication(self, /) -> tuple[str, builtins.bytes] | None:
        """
        (registry name, key) of the integrity algorithm, or None.
        """
    @property
    def bytes(self, /) -> int:
        """
        Bytes handed to the transform.
        """
    @property
    def connection(self, /) -> int:
        """
        The connection by which it was added, 0 if there was none.
        """
    @property
    def created(self, /) -> int:
        """
        When it was added, in seconds since 1970.
        """
    @property
    def cycle_sequence(self, /) -> bool:
        """
        Whether the sequence number may wrap.
        """
    @property
    def destination(self, /) -> IPv4Address | IPv6Address:
        """
        The destination of the SA's packets.
        """
    @property
    def encap(self, /) -> tuple[int, int] | None:
        """
        (source port, destination port) of UDP encapsulation, or None.
        """
    @property
    def encryption(self, /) -> tuple[str, builtins.bytes] | None:
        """
        (registry name, key) of the cipher or AEAD, or None.
        """
    @property
    def esn(self, /) -> bool:
        """
        Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
        """
    @property
    def first_used(self, /) -> int | None:
        """
        When it carried its first packet, in seconds since 1970, or None.
        """
    @property
    def flags(self, /) -> int:
        """
        What the caller of `sad_add` said, unread.
        """
    @property
    def fragment_bytes(self, /) -> int:
        """
        The length to which IPv4 packets are cut before they go into UDP, 0 for none.
        """
    @property
    def hard(self, /) -> Limits:
        """
        The hard lifetime.
        """
    @property
    def keepalive(self, /) -> bool:
        """
        Whether this end keeps a NAT's mapping alive.
        """
    @property
    def lease_limit(self, /) -> int:
        """
        Numbers below this one may be sent; above it a new lease is needed.
        """
    @property
    def mode(self, /) -> str:
        """
        "any", "transport" or "tunnel".
        """
    @property
    def old(self, /) -> bool:
        """
        Whether packets have the format of RFC 1826 or RFC 1827.
        """
    @property
    def original(self, /) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address] | None:
        """
        (source, destination) before a NAT changed them, or None.
        """
    @property
    def owner(self, /) -> int:
        """
        What the caller of `sad_add` said, unread (a process id).
        """
    @property
    def packets(self, /) -> int:
        """
        Packets handed to the transform.
        """
    @property
    def path_mtu(self, /) -> int | None:
        """
        The path MTU that was told last, or None.
        """
    @property
    def protocol(self, /) -> str:
        """
        "esp", "ah" or "ipcomp".
        """
    @property
    def raw_cpi(self, /) -> bool:
        """
        Whether IPComp shows the low half of the SPI as CPI, and not DEFLATE's well-known one.
        """
    @property
    def replay_window(self, /) -> int:
        """
        The replay window, in packets; 0 means no check.
        """
    @property
    def reqid(self, /) -> int:
        """
        The id that ties this SA to templates of the same id, 0 for none.
        """
    @property
    def sequence(self, /) -> int:
        """
        Last sequence number sent, or highest received.
        """
    @property
    def serial(self, /) -> int:
        """
        The order of insertion.
        """
    @property
    def soft(self, /) -> Limits:
        """
        The soft lifetime.
        """
    @property
    def source(self, /) -> IPv4Address | IPv6Address:
        """
        The source of the SA's packets.
        """
    @property
    def spi(self, /) -> int:
        """
        The SPI, host order.
        """
    @property
    def state(self, /) -> str:
        """
        "larval", "mature", "dying" or "dead".
        """
    @property
    def tfc_bytes(self, /) -> int:
        """
        The length to which packets in tunnels are padded, 0 for none.
        """
    @property
    def window_bitmap(self, /) -> list[int] | None:
        """
        The window as words of 64 bits, bit 0 of word 0 is the highest number seen.
        """
    @property
    def window_top(self, /) -> int | None:
        """
        The highest number the window has seen, or None without a window.
        """

@final
class SadMoment:
    """
    Every SA as it was at one moment; what happens to one later does not show.
    """
    def __len__(self, /) -> int: ...
    def messages(self, /, shape: DumpShape, first: SupportsIndex, sequences: SupportsGetItem[int, SupportsIndex], pid: SupportsIndex) -> list[bytes]:
        """
        Writes SAs as messages, the first with sequence number `sequences[0]`, and so on.
        """
    def view(self, /, at: SupportsIndex) -> SaView:
        """
        Returns one SA. Raises IndexError.
        """

@final
class Selector:
    """
    What an SPD entry covers (RFC 4301 §4.4.1.1).

    `source` and `destination` are a prefix ("10.0.0.0/8", "::1") or a pair (first, last).
    `next_layer` is a protocol number or None for any; the port ranges are (first, last), for
    ICMP the message type stands in `source_ports` and the code in `destination_ports`.
    Raises EngineError (kind "invalid-selector") or ValueError.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, source: tuple[str | IPv4Address | IPv6Address, str | IPv4Address | IPv6Address] | str, destination: tuple[str | IPv4Address | IPv6Address, str | IPv4Address | IPv6Address] | str, next_layer: SupportsIndex | None = None, source_ports: tuple[SupportsIndex, SupportsIndex] = ..., destination_ports: tuple[SupportsIndex, SupportsIndex] = ...) -> Selector: ...
    def __repr__(self, /) -> str: ...
    @property
    def destination(self, /) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
        """
        First and last destination address.
        """
    @property
    def destination_ports(self, /) -> tuple[int, int]:
        """
        First and last destination port (ICMP: code).
        """
    @property
    def destination_prefix(self, /) -> tuple[IPv4Address | IPv6Address, int] | None:
        """
        The destination as (address, prefix length), or None where the range is not a prefix.
        """
    @property
    def next_layer(self, /) -> int | None:
        """
        Protocol number, None for any.
        """
    @property
    def source(self, /) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
        """
        First and last source address.
        """
    @property
    def source_ports(self, /) -> tuple[int, int]:
        """
        First and last source port (ICMP: type).
        """
    @property
    def source_prefix(self, /) -> tuple[IPv4Address | IPv6Address, int] | None:
        """
        The source as (address, prefix length), or None where the range is not a prefix.
        """

@final
class Stats:
    """
    The counters of an engine, as they were when they were asked for.
    """
    @property
    def drops(self, /) -> dict[str, int]:
        """
        Packets dropped, by reason; every reason is there, in the order of the counters.
        """
    @property
    def events_dropped(self, /) -> int:
        """
        Events forgotten because nobody took them.
        """
    @property
    def happened(self, /) -> dict[str, int]:
        """
        What happened beside packets, as name: how often.
        """
    @property
    def outbound_waiting(self, /) -> int:
        """
        Outbound packets that wait for an SA now.
        """
    @property
    def passed(self, /) -> dict[str, tuple[int, int]]:
        """
        What passed, as name: (packets, bytes).
        """

@final
class Template:
    """
    What an SPD entry asks of one SA; the first template of a policy is the innermost.

    `endpoints` is (source, destination) of the SA, or None for the packet's own (transport mode).
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, protocol: str, mode: str, level: str = "require", reqid: SupportsIndex = 0, endpoints: tuple[str | IPv4Address | IPv6Address, str | IPv4Address | IPv6Address] | None = None) -> Template: ...
    def __repr__(self, /) -> str: ...
    @property
    def endpoints(self, /) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address] | None:
        """
        (source, destination) of the SA, or None.
        """
    @property
    def level(self, /) -> str:
        """
        "default", "use", "require" or "unique".
        """
    @property
    def mode(self, /) -> str:
        """
        "any", "transport" or "tunnel".
        """
    @property
    def protocol(self, /) -> str:
        """
        "esp", "ah" or "ipcomp".
        """
    @property
    def reqid(self, /) -> int:
        """
        0, or the id that ties this template to SAs of the same id.
        """

@final
class Verdict:
    """
    What would become of a packet, and which SPD entry says so.
    """
    def __repr__(self, /) -> str: ...
    @property
    def action(self, /) -> str:
        """
        "bypass", "discard", "protect", "waits" (a fragment: only the whole datagram is decided about) or
        "malformed".
        """
    @property
    def policy(self, /) -> int | None:
        """
        The id of the SPD entry, or None where the default policy or a built-in rule decides.
        """
    @property
    def templates(self, /) -> list[tuple[Template, int | None]]:
        """
        The templates that apply, innermost first, each with the SPI of the SA that serves it, or None.
        """

def algorithms() -> list[Algorithm]:
    """
    Returns every algorithm the engine provides.
    """

def echo_packet(source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, *, reply: bool = False, identifier: SupportsIndex = 1, sequence: SupportsIndex = 1, payload: Buffer | None = None) -> bytes:
    """
    Makes an ICMP or ICMPv6 echo packet with correct checksums. Raises ValueError if the families differ.
    """

def explain_drop(name: str) -> str | None:
    """
    Returns the sentence that explains a drop reason, or None for an unknown name.
    """

def ip_packet(source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, next_layer: SupportsIndex, payload: Buffer) -> bytes:
    """
    Makes an IP packet around any payload. Raises ValueError if the families differ.
    """

def tcp_packet(source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, source_port: SupportsIndex, destination_port: SupportsIndex, payload: Buffer, *, sequence: SupportsIndex = 0, acknowledgement: SupportsIndex = 0, flags: SupportsIndex = 24, window: SupportsIndex = 65535) -> bytes:
    """
    Makes one TCP segment (without options) with correct checksums. Raises ValueError if the families differ.
    """

def udp_packet(source: str | IPv4Address | IPv6Address, destination: str | IPv4Address | IPv6Address, source_port: SupportsIndex, destination_port: SupportsIndex, payload: Buffer) -> bytes:
    """
    Makes a UDP packet with correct checksums. Raises ValueError if the families differ.
    """

class EngineError(OSError):
    """
    A request to the SAD or the SPD was refused; nothing was changed.

    `errno` is the plain errno; `kind` is a stable word ("exists", "not-found", "invalid-key-length", ...).
    """
    kind: str
