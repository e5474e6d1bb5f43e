/*
 * PF_KEY v2 in the dialect of KAME and QNX: its own numbers, and what stands where others have more.
 * Answers to: net/pfkeyv2.h of KAME.
 */
#ifndef SALLET_KAME_PFKEYV2_H
#define SALLET_KAME_PFKEYV2_H

#define SADB_X_MIGRATE 24
#define SADB_MAX 24

#define SADB_X_EXT_TAG 25
#define SADB_X_EXT_SA3 26
#define SADB_X_EXT_PACKET 27
#define SADB_EXT_MAX 27

#define SADB_X_EALG_TWOFISHCBC 253

#define SALLET_AF_INET6 24
#define SALLET_POLICY_OCTET sadb_x_policy_reserved
#define SALLET_POLICY_WORD sadb_x_policy_reserved2

#include "../../shared/pfkeyv2.h"

#endif
