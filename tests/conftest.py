"""What holds for every test: an interrupt that a test sends to a program of its own arrives there.

No fixture may enter: those stand beside the tests that use them.
Answers to: sh(1), whose background commands ignore SIGINT; what they start inherits that.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A handler is not inherited: what these tests start begins with the default again.
    signal.signal(signal.SIGINT, signal.default_int_handler)
