/*
 * Another name of netipsec/ipsec.h: manuals use both.
 */
#include "../netipsec/ipsec.h"
