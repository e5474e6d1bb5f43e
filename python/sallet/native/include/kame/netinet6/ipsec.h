/*
 * Another name of netipsec/ipsec.h: manuals of KAME and QNX and its relatives use both.
 */
#include "../netipsec/ipsec.h"
