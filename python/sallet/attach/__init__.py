"""Host machinery around the datapath: links, routes, rules and the packet filter that guards them."""
