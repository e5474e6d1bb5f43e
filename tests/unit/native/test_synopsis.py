"""C programs that begin as a manual's SYNOPSIS does, built with what `sallet config` prints.

Answers to: ipsec(4) of QNX (two editions), NetBSD 7.1 and FreeBSD 12; ipsec_set_policy(3).
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from netns import environment, need
from sallet import native
from sallet.cli.main import main
from sallet.ipsec import ipsec_set_policy
from unit.native.c_compiler import WARNINGS, compile_c, run_c

# As the pages have them; the page of NetBSD 7.1 shows no include lines, its relatives show either.
SYNOPSES: Final = {
    "qnx-6.5": ("kame", ("sys/types.h", "netinet/in.h", "netinet6/ipsec.h")),
    "qnx-6.3": ("kame", ("sys/types.h", "netinet/in.h", "netinet6/ipsec.h")),
    "netbsd-7.1": ("netbsd", ("sys/types.h", "netinet/in.h", "netinet6/ipsec.h")),
    "netbsd-7.1-netipsec": ("netbsd", ("sys/types.h", "netinet/in.h", "netipsec/ipsec.h")),
    "freebsd-12": ("freebsd", ("sys/types.h", "netinet/in.h", "netipsec/ipsec.h", "netipsec/ipsec6.h")),
    "linux": ("linux", ("sys/types.h", "netinet/in.h", "netipsec/ipsec.h", "net/pfkeyv2.h")),
}
BODY: Final = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	char *policy, *text;
	if (argc < 2) { /* `int socket(PF_KEY, SOCK_RAW, PF_KEY_V2)' */
		printf("%d\n", socket(PF_KEY, SOCK_RAW, PF_KEY_V2) >= 0);
		return 0;
	}
	policy = ipsec_set_policy(argv[1], strlen(argv[1]));
	if (!policy) {
		printf("! %s\n", ipsec_strerror());
		return 0;
	}
	for (int at = 0; at < ipsec_get_policylen(policy); at++)
		printf("%02x", (unsigned char)policy[at]);
	text = ipsec_dump_policy(policy, NULL);
	printf(" %s %d %d\n", text, IP_IPSEC_POLICY, IPV6_IPSEC_POLICY);
	free(text);
	free(policy);
	return 0;
}
"""
OPTIONS: Final = {"kame": (22, 28), "netbsd": (22, 28), "freebsd": (21, 28), "linux": (16, 34)}
TEXT: Final = "out ipsec esp/tunnel/2001:db8::1-2001:db8::2/unique:7"


def flags(*words: str) -> list[str]:
    """What `sallet config` prints, as a shell would cut it."""
    done = subprocess.run(
        [sys.executable, "-m", "sallet.cli.main", "config", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment(),
    )
    return shlex.split(done.stdout)


@pytest.mark.parametrize("compiler", ["c", "c++"])
@pytest.mark.parametrize("page", SYNOPSES)
def test_it_compiles_and_speaks_its_dialect(page: str, compiler: str, tmp_path: Path) -> None:
    need("gcc")
    dialect, includes = SYNOPSES[page]
    source = tmp_path / "program.c"
    source.write_text("".join(f"#include <{name}>\n" for name in includes) + BODY)
    program = tmp_path / "program"
    # As in `cc $(sallet config --cflags --libs) program.c`: the library stands before its user.
    ours = flags("--cflags", "--libs", "--dialect", dialect)
    compile_c(*WARNINGS, "-x", compiler, *ours, source, "-o", program)
    blob = ipsec_set_policy(TEXT, dialect=dialect)
    head = "out prio def ipsec" if dialect == "linux" else "out ipsec"
    shown = f"{blob.hex()} {head} esp/tunnel/2001:db8::1-2001:db8::2/unique:7 "
    assert run_c(program, TEXT).stdout == f"{shown}{' '.join(map(str, OPTIONS[dialect]))}\n"
    assert run_c(program, "in ipsec ah/tunnel").stdout == "! Invalid address specification\n"


def test_the_program_finds_our_library_and_no_other(tmp_path: Path) -> None:
    need("gcc")
    source = tmp_path / "program.c"
    source.write_text("#include <netinet6/ipsec.h>\nint main(void) { return ipsec_strerror() == 0; }\n")
    compile_c(source, *flags("--cflags", "--libs"), "-o", tmp_path / "program")
    loaded = run_c(tmp_path / "program", environment={"LD_TRACE_LOADED_OBJECTS": "1"}).stdout
    assert f"libipsec.so => {native.LIBIPSEC} " in loaded


def test_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--cflags", "--dialect", "kame"]) == 0
    assert capsys.readouterr().out == f"-I{native.INCLUDE}/kame\n"
    assert main(["config"]) == 0
    both = capsys.readouterr().out.split()
    assert (both[0], both[1]) == (f"-I{native.INCLUDE}/linux", f"-L{native.HERE}")
    assert "-lipsec" in both
    assert both[-1] == f"-Wl,-rpath,{native.HERE}"
    assert main(["config", "--libs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "sallet.config/1",
        "dialect": "linux",
        "libs": both[1:],
    }


def test_a_missing_library_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(native, "LIBIPSEC", tmp_path / "libipsec.so")
    assert main(["config"]) == 1
    assert "missing" in capsys.readouterr().err
