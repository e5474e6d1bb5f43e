/*
 * PF_KEY v2 in the dialect of NetBSD 7.1: its own numbers, and what stands where others have more.
 * Answers to: net/pfkeyv2.h of NetBSD 7.1.
 */
#ifndef SALLET_NETBSD_PFKEYV2_H
#define SALLET_NETBSD_PFKEYV2_H

#define SADB_X_NAT_T_NEW_MAPPING 23
#define SADB_MAX 23

#define SADB_X_EXT_NAT_T_TYPE 20
#define SADB_X_EXT_NAT_T_SPORT 21
#define SADB_X_EXT_NAT_T_DPORT 22
#define SADB_X_EXT_NAT_T_OA 23
#define SADB_X_EXT_NAT_T_OAI 23
#define SADB_X_EXT_NAT_T_OAR 24
#define SADB_X_EXT_NAT_T_FRAG 25
#define SADB_EXT_MAX 25

#define SADB_X_AALG_AES128GMAC 11
#define SADB_X_AALG_AES192GMAC 12
#define SADB_X_AALG_AES256GMAC 13
#define SADB_X_EALG_AESGCM8 18
#define SADB_X_EALG_AESGCM12 19
#define SADB_X_EALG_AESGCM16 20
#define SADB_X_EALG_CAMELLIACBC 22
#define SADB_X_EALG_AESGMAC 23
#define SADB_X_EALG_SKIPJACK 250

#define SALLET_AF_INET6 24
#define SALLET_POLICY_OCTET sadb_x_policy_reserved
#define SALLET_POLICY_WORD sadb_x_policy_reserved2

#include "../../shared/pfkeyv2.h"

#endif
