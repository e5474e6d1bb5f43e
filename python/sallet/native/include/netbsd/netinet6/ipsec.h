/*
 * Another name of netipsec/ipsec.h: manuals of NetBSD 7.1 and its relatives use both.
 */
#include "../netipsec/ipsec.h"
