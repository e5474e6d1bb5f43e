"""From the engine's words to messages: what is told about an association, a policy or an event.

No database is asked and nothing is sent; which extensions, in which order, is the dialect's table.
Answers to RFC 2367 §3.1, <linux/pfkeyv2.h>, KAME.
"""

from sallet.pfkey.render.associations import association, new_mapping
from sallet.pfkey.render.policies import of_socket, policy
from sallet.pfkey.render.proposals import Rules, acquire, supported, translated

__all__ = ["Rules", "acquire", "association", "new_mapping", "of_socket", "policy", "supported", "translated"]
