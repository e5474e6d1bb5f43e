/*
 * Another name of netipsec/ipsec.h: manuals of FreeBSD 12 and its relatives use both.
 */
#include "../netipsec/ipsec.h"
