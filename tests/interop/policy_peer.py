"""Servers whose sockets have policies of their own, and some without; clients that try what keeps them.

Runs as a program under `sallet run` in a namespace; no assertion of a test and no set-up may enter.
Answers to: `ipsec(4)`, per-socket policies; ipsec_set_policy(3).
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sallet.ipsec import ipsec_set_policy

PROTECTED, CLEAR = 7000, 7100
"""TCP and UDP ports."""
SECRET, OPEN = b"a word that nobody shall read", b"a word for everybody"
SENDTO = {"x86_64": 44, "aarch64": 206}
"""The number of a system call."""
ANSWER_SECS = 5.0
OPTION = {socket.AF_INET: (socket.IPPROTO_IP, 16), socket.AF_INET6: (socket.IPPROTO_IPV6, 34)}


def set_policy(one: socket.socket, text: str) -> None:
    """Set one policy in the dialect `linux`."""
    one.setsockopt(*OPTION[socket.AddressFamily(one.family)], ipsec_set_policy(text))


def protect(one: socket.socket) -> socket.socket:
    """Insist on ESP both ways."""
    one.settimeout(ANSWER_SECS)
    for direction in ("out", "in"):
        set_policy(one, f"{direction} ipsec esp/transport//require")
    return one


def tcp(address: str) -> socket.socket:
    """Make a TCP socket for that family."""
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)


def udp(address: str = "") -> socket.socket:
    """Make a UDP socket for that family."""
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


# Servers


def echo(listener: socket.socket) -> None:
    """Give back what every connection says first."""
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=answer, args=(accepted,), daemon=True).start()


def answer(accepted: socket.socket) -> None:
    """Give back until the other end stops."""
    with accepted:
        while said := accepted.recv(4096):
            accepted.sendall(said)


def echo_datagrams(server: socket.socket) -> None:
    """Give every datagram back."""
    while True:
        said, sender = server.recvfrom(4096)
        server.sendto(said, sender)


def serve(*addresses: str) -> None:
    """Serve all of it until the end."""
    for address in addresses:
        for port in (PROTECTED, CLEAR):
            listener, server = tcp(address), udp(address)
            if port == PROTECTED:
                protect(listener).settimeout(None)
                protect(server).settimeout(None)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(256)
            server.bind((address, port))
            threading.Thread(target=echo, args=(listener,), daemon=True).start()
            threading.Thread(target=echo_datagrams, args=(server,), daemon=True).start()
    print("serving", flush=True)
    time.sleep(3600)


# Clients


def said_back(one: socket.socket) -> bool:
    """Say something over a connection and say whether it came back."""
    one.sendall(SECRET)
    return one.recv(100) == SECRET


def two_flows(address: str) -> None:
    """Set a policy on one socket and none on another."""
    with protect(tcp(address)) as one, tcp(address) as other:
        one.connect((address, PROTECTED))
        other.connect((address, CLEAR))
        other.sendall(OPEN)
        print(said_back(one), other.recv(100) == OPEN)


def connects(address: str, count: str, threads: str) -> None:
    """Connect so many times, in so many threads."""

    def once(_number: int) -> bool:
        with protect(tcp(address)) as one:
            one.connect((address, PROTECTED))
            return said_back(one)

    start = time.monotonic()
    with ThreadPoolExecutor(int(threads)) as pool:
        kept = sum(pool.map(once, range(int(count))))
    print(kept, f"{(time.monotonic() - start) / int(count) * 1000:.1f} ms each")


def datagrams(one_peer: str, other_peer: str, count: str) -> None:
    """Send to two peers from unconnected sockets, each new."""
    kept = 0
    for _ in range(int(count)):
        with protect(udp()) as one:
            for peer in (one_peer, other_peer):
                one.sendto(SECRET, (peer, PROTECTED))
            kept += {one.recvfrom(100)[1][0] for _ in range(2)} == {one_peer, other_peer}
    print(kept)


def dual_stack(address: str) -> None:
    """Reach an IPv4 address from an IPv6 socket, over TCP and UDP."""
    for one in (tcp("::"), udp("::")):
        with protect(one):
            one.connect((f"::ffff:{address}", PROTECTED))
            print(said_back(one))


def through_duplicates(address: str) -> None:
    """Use a socket by another number, in a child, after exec, and in a process that is handed it."""
    one = protect(udp())
    copy = os.dup(one.fileno())
    one.close()
    second = socket.socket(fileno=copy)
    second.settimeout(ANSWER_SECS)
    second.sendto(SECRET, (address, PROTECTED))
    print("dup", second.recv(100) == SECRET)

    # What a program closes that it did not open is opened again.
    second.connect((address, PROTECTED))
    os.closerange(400, 1024)
    second.send(SECRET)
    print("closed", second.recv(100) == SECRET)

    one = protect(tcp(address))
    if os.fork() == 0:
        one.connect((address, PROTECTED))
        os._exit(not said_back(one))
    print("fork", os.wait()[1] == 0)

    one = protect(tcp(address))
    os.set_inheritable(one.fileno(), True)
    words = [sys.executable, __file__, "use", str(one.fileno()), address]
    print("exec", subprocess.run(words, close_fds=False, check=False, timeout=60).returncode == 0)

    one, (ours, theirs) = protect(tcp(address)), socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    words = [sys.executable, __file__, "take", str(theirs.fileno()), address]
    taker = subprocess.Popen(words, close_fds=False)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno()]))])
    one.close()
    print("handed", taker.wait(60) == 0)


def use(descriptor: str, address: str) -> None:
    """Use a socket that came with exec."""
    with socket.socket(fileno=int(descriptor)) as one:
        one.settimeout(ANSWER_SECS)
        one.connect((address, PROTECTED))
        sys.exit(not said_back(one))


def take(descriptor: str, address: str) -> None:
    """Use a socket that came over another."""
    with socket.socket(fileno=int(descriptor)) as way:
        _, (taken, *_), _, _ = socket.recv_fds(way, 1, 1)
    use(str(taken), address)


def outcome(action: Callable[[], object]) -> str:
    """Name the error of a call, or its result."""
    try:
        return str(action())
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


def without_daemon(address: str) -> None:
    """Say what calls answer before and after the daemon has gone; a line on standard input tells when."""
    connected, unbound = protect(tcp(address)), protect(tcp(address))
    confirmed, unconfirmed = protect(udp()), protect(udp())
    connected.connect((address, PROTECTED))
    confirmed.sendto(SECRET, (address, PROTECTED))
    print(said_back(connected), confirmed.recv(100) == SECRET, flush=True)
    while sys.stdin.readline():
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: connected.send(SECRET),
            "write": lambda: os.write(connected.fileno(), SECRET),
            "sendmsg": lambda: connected.sendmsg([SECRET]),
            "sendto": lambda: confirmed.sendto(SECRET, (address, PROTECTED)),
            "first sendto": lambda: unconfirmed.sendto(SECRET, (address, PROTECTED)),
            "connect": lambda: unbound.connect((address, PROTECTED)),
            "listen": lambda: unbound.listen(),
            "setsockopt": lambda: protect(tcp(address)).type,
        }
        print({name: outcome(call) for name, call in calls.items()}, flush=True)


def unanswered(address: str) -> None:
    """Send, when a line comes, what nobody acknowledges; the kernel sends it again and again."""
    connected = protect(tcp(address))
    connected.connect((address, PROTECTED))
    print(said_back(connected), flush=True)
    sys.stdin.readline()
    print(connected.send(SECRET), flush=True)
    sys.stdin.read()


def hold() -> None:
    """Hold a socket with policies until standard input ends."""
    with protect(udp()) as one:
        one.bind(("", 0))
        print(one.getsockname()[1], flush=True)
        sys.stdin.read()


def behind_our_back(address: str) -> None:
    """Send by system calls that no library sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    one = protect(udp())
    name = bytes((2, 0)) + PROTECTED.to_bytes(2, "big") + socket.inet_aton(address) + bytes(8)
    sent = libc.syscall(SENDTO[platform.machine()], one.fileno(), SECRET, len(SECRET), 0, name, len(name))
    print(sent, errno.errorcode.get(ctypes.get_errno()))


def privilege(user: str) -> None:
    """Set each kind of policy as another user."""
    one = socket.socket()
    os.setgroups([])
    os.setresuid(int(user), int(user), int(user))
    for kind in ("ipsec esp/transport//require", "bypass", "entrust"):
        print(kind.split()[0], outcome(lambda kind=kind: set_policy(one, f"out {kind}")))  # type: ignore[misc]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
