"""The two descriptions of the records agree: the C header's numbers and bytes, and Python's.

No socket enters. Answers to: rust/bindings/preload/pcb_protocol.h, sallet.pcb.protocol.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from sallet.pcb import protocol
from sallet.pcb.protocol import Kind, Malformed, Reply, Request

HEADER = Path(__file__).resolve().parents[3] / "rust/bindings/preload/pcb_protocol.h"
DEFINED = dict(re.findall(r"^#define PCB_(\w+) (\S+)", HEADER.read_text(), re.MULTILINE))


def test_every_number_of_the_header_is_the_same_in_python() -> None:
    kinds = {kind.name: str(kind.value) for kind in Kind}
    dialects = {f"DIALECT_{name.upper()}": str(number) for number, name in protocol.DIALECTS.items()}
    others = {
        "SOCKET": f'"{protocol.SOCKET}"',
        "VERSION": str(protocol.VERSION),
        "POLICY_BYTES_MAX": str(protocol.POLICY_BYTES_MAX),
        "DESCRIPTORS_MAX": str(protocol.DESCRIPTORS_MAX),
        "MARK_BITS": f"{protocol.MARK_BITS:#x}",
        "MARK_POLICY": f"{protocol.MARK_POLICY:#x}",
        "MARK_ENCAP": f"{protocol.MARK_ENCAP:#x}",
    }
    assert kinds | dialects | others == DEFINED


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_compiler_lays_the_records_out_as_python_does(tmp_path: Path) -> None:
    source = tmp_path / "record.c"
    source.write_text(
        f'#include <stdio.h>\n#include "{HEADER}"\n'
        "int main(void) {\n"
        " struct pcb_request request = {1, 3, 4, 41, 5, 0, 6, 443, {0x20, 1, 0xd, 0xb8, [15] = 1}};\n"
        " struct pcb_reply reply = {1, 2, 113, 7, 0};\n"
        " fwrite(&request, sizeof(request), 1, stdout);\n"
        " fwrite(&reply, sizeof(reply), 1, stdout);\n"
        "}\n"
    )
    program = tmp_path / "record"
    subprocess.run(["cc", "-o", program, source], check=True, timeout=60)
    written = subprocess.run([program], capture_output=True, check=True, timeout=10).stdout
    request = Request(Kind.BOUND, "freebsd", 41, 5, (ip_address("2001:db8::1"), 443))
    assert written == request.encode() + Reply(Kind.POLICY_GET, 113, 7).encode()


@pytest.mark.parametrize(
    "request_",
    [
        Request(Kind.POLICY_SET, "linux", policy=bytes(range(16))),
        Request(Kind.BOUND, "kame", remote=(ip_address("192.0.2.1"), 1)),
        Request(Kind.WATCH, "netbsd"),
    ],
)
def test_a_request_is_read_as_it_was_written(request_: Request) -> None:
    assert Request.decode(request_.encode()) == request_


@pytest.mark.parametrize(
    ("at", "value"), [(0, 2), (2, 0), (2, 99), (4, 0), (4, 9), (12, 1), (16, 5)], ids=str
)
def test_what_is_no_request_is_refused(at: int, value: int) -> None:
    data = bytearray(Request(Kind.WATCH, "linux").encode())
    data[at] = value
    with pytest.raises(Malformed):
        Request.decode(bytes(data))
    with pytest.raises(Malformed):
        Request.decode(bytes(data[:-1]))


def test_a_reply_is_read_as_it_was_written() -> None:
    reply = Reply(Kind.POLICY_GET, 0, 1, b"policy")
    assert Reply.decode(reply.encode()) == reply
    with pytest.raises(Malformed):
        Reply.decode(reply.encode()[:-1])
