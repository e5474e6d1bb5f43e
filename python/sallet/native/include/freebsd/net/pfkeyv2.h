/*
 * PF_KEY v2 in the dialect of FreeBSD 12: its own numbers, and what stands where others have less.
 * Answers to: net/pfkeyv2.h of FreeBSD 12.
 */
#ifndef SALLET_FREEBSD_PFKEYV2_H
#define SALLET_FREEBSD_PFKEYV2_H

#define SADB_MAX 22

#define SADB_X_EXT_NAT_T_TYPE 20
#define SADB_X_EXT_NAT_T_SPORT 21
#define SADB_X_EXT_NAT_T_DPORT 22
#define SADB_X_EXT_NAT_T_OAI 23
#define SADB_X_EXT_NAT_T_OAR 24
#define SADB_X_EXT_NAT_T_FRAG 25
#define SADB_X_EXT_SA_REPLAY 26
#define SADB_X_EXT_NEW_ADDRESS_SRC 27
#define SADB_X_EXT_NEW_ADDRESS_DST 28
#define SADB_EXT_MAX 28

#define SADB_X_AALG_AES128GMAC 11
#define SADB_X_AALG_AES192GMAC 12
#define SADB_X_AALG_AES256GMAC 13
#define SADB_X_EALG_AESGCM8 18
#define SADB_X_EALG_AESGCM12 19
#define SADB_X_EALG_AESGCM16 20
#define SADB_X_EALG_CAMELLIACBC 22
#define SADB_X_EALG_AESGMAC 23

#define SALLET_AF_INET6 28
#define SALLET_POLICY_OCTET sadb_x_policy_scope
#define SALLET_POLICY_WORD sadb_x_policy_priority

#include "../../shared/pfkeyv2.h"

/* A window in packets, for what the octet in sadb_sa cannot say. */
struct sadb_x_sa_replay {
	uint16_t sadb_x_sa_replay_len;
	uint16_t sadb_x_sa_replay_exttype;
	uint32_t sadb_x_sa_replay_replay;
};
SALLET_SIZE(sadb_x_sa_replay, 8);

/* In a dump of a policy of an interface the priority is the interface's number. */
#define sadb_x_policy_ifindex sadb_x_policy_priority

#endif
