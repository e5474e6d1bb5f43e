/*
 * PF_KEY v2 as the BSD systems have it, without the numbers and fields in which they differ.
 * Included by net/pfkeyv2.h of a dialect only; no value of one system may enter.
 * Answers to: RFC 2367; net/pfkeyv2.h of KAME, NetBSD 7.1 and FreeBSD 12.
 */
#ifndef SALLET_SHARED_PFKEYV2_H
#define SALLET_SHARED_PFKEYV2_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
#define SALLET_ASSERT(holds, words) static_assert(holds, words)
#else
#define SALLET_ASSERT(holds, words) _Static_assert(holds, words)
#endif
#define SALLET_SIZE(name, bytes) SALLET_ASSERT(sizeof(struct name) == (bytes), #name " has another size")

#define PF_KEY_V2 2
#define PFKEYV2_REVISION 199806L

/* Messages */
#define SADB_RESERVED 0
#define SADB_GETSPI 1
#define SADB_UPDATE 2
#define SADB_ADD 3
#define SADB_DELETE 4
#define SADB_GET 5
#define SADB_ACQUIRE 6
#define SADB_REGISTER 7
#define SADB_EXPIRE 8
#define SADB_FLUSH 9
#define SADB_DUMP 10
#define SADB_X_PROMISC 11
#define SADB_X_PCHANGE 12
#define SADB_X_SPDUPDATE 13
#define SADB_X_SPDADD 14
#define SADB_X_SPDDELETE 15
#define SADB_X_SPDGET 16
#define SADB_X_SPDACQUIRE 17
#define SADB_X_SPDDUMP 18
#define SADB_X_SPDFLUSH 19
#define SADB_X_SPDSETIDX 20
#define SADB_X_SPDEXPIRE 21
#define SADB_X_SPDDELETE2 22

/* Extensions; above 19 each system counts for itself */
#define SADB_EXT_RESERVED 0
#define SADB_EXT_SA 1
#define SADB_EXT_LIFETIME_CURRENT 2
#define SADB_EXT_LIFETIME_HARD 3
#define SADB_EXT_LIFETIME_SOFT 4
#define SADB_EXT_ADDRESS_SRC 5
#define SADB_EXT_ADDRESS_DST 6
#define SADB_EXT_ADDRESS_PROXY 7
#define SADB_EXT_KEY_AUTH 8
#define SADB_EXT_KEY_ENCRYPT 9
#define SADB_EXT_IDENTITY_SRC 10
#define SADB_EXT_IDENTITY_DST 11
#define SADB_EXT_SENSITIVITY 12
#define SADB_EXT_PROPOSAL 13
#define SADB_EXT_SUPPORTED_AUTH 14
#define SADB_EXT_SUPPORTED_ENCRYPT 15
#define SADB_EXT_SPIRANGE 16
#define SADB_X_EXT_KMPRIVATE 17
#define SADB_X_EXT_POLICY 18
#define SADB_X_EXT_SA2 19

/* Kinds of associations */
#define SADB_SATYPE_UNSPEC 0
#define SADB_SATYPE_AH 2
#define SADB_SATYPE_ESP 3
#define SADB_SATYPE_RSVP 5
#define SADB_SATYPE_OSPFV2 6
#define SADB_SATYPE_RIPV2 7
#define SADB_SATYPE_MIP 8
#define SADB_X_SATYPE_IPCOMP 9
#define SADB_X_SATYPE_TCPSIGNATURE 11

/* Where an association stands in its life */
#define SADB_SASTATE_LARVAL 0
#define SADB_SASTATE_MATURE 1
#define SADB_SASTATE_DYING 2
#define SADB_SASTATE_DEAD 3
#define SADB_SASTATE_MAX 3

/* Flags of an association */
#define SADB_SAFLAGS_PFS 0x1
#define SADB_X_EXT_NONE 0x0
#define SADB_X_EXT_OLD 0x1
#define SADB_X_EXT_IV4B 0x10
#define SADB_X_EXT_DERIV 0x20
#define SADB_X_EXT_CYCSEQ 0x40
#define SADB_X_EXT_RAWCPI 0x80
#define SADB_X_EXT_PSEQ 0x000
#define SADB_X_EXT_PRAND 0x100
#define SADB_X_EXT_PZERO 0x200
#define SADB_X_EXT_PMASK 0x300

/* Identities */
#define SADB_IDENTTYPE_RESERVED 0
#define SADB_IDENTTYPE_PREFIX 1
#define SADB_IDENTTYPE_FQDN 2
#define SADB_IDENTTYPE_USERFQDN 3

/* Algorithms that every one of them numbers alike */
#define SADB_AALG_NONE 0
#define SADB_AALG_MD5HMAC 2
#define SADB_AALG_SHA1HMAC 3
#define SADB_X_AALG_SHA2_256 5
#define SADB_X_AALG_SHA2_384 6
#define SADB_X_AALG_SHA2_512 7
#define SADB_X_AALG_RIPEMD160HMAC 8
#define SADB_X_AALG_AES_XCBC_MAC 9
#define SADB_X_AALG_MD5 249
#define SADB_X_AALG_SHA 250
#define SADB_X_AALG_NULL 251
#define SADB_X_AALG_TCP_MD5 252

#define SADB_EALG_NONE 0
#define SADB_EALG_DESCBC 2
#define SADB_EALG_3DESCBC 3
#define SADB_X_EALG_CAST128CBC 6
#define SADB_X_EALG_BLOWFISHCBC 7
#define SADB_EALG_NULL 11
#define SADB_X_EALG_RIJNDAELCBC 12
#define SADB_X_EALG_AES 12
#define SADB_X_EALG_AESCTR 13

#define SADB_X_CALG_NONE 0
#define SADB_X_CALG_OUI 1
#define SADB_X_CALG_DEFLATE 2
#define SADB_X_CALG_LZS 3

/* Lengths count 64-bit words; numbers are in host order, SPIs, addresses and ports in network order. */
struct sadb_msg {
	uint8_t sadb_msg_version;
	uint8_t sadb_msg_type;
	uint8_t sadb_msg_errno;
	uint8_t sadb_msg_satype;
	uint16_t sadb_msg_len;
	uint16_t sadb_msg_reserved; /* references, in a dump */
	uint32_t sadb_msg_seq;
	uint32_t sadb_msg_pid;
};
SALLET_SIZE(sadb_msg, 16);

struct sadb_ext {
	uint16_t sadb_ext_len;
	uint16_t sadb_ext_type;
};
SALLET_SIZE(sadb_ext, 4);

struct sadb_sa {
	uint16_t sadb_sa_len;
	uint16_t sadb_sa_exttype;
	uint32_t sadb_sa_spi;
	uint8_t sadb_sa_replay; /* in bytes of bitmap */
	uint8_t sadb_sa_state;
	uint8_t sadb_sa_auth;
	uint8_t sadb_sa_encrypt;
	uint32_t sadb_sa_flags;
};
SALLET_SIZE(sadb_sa, 16);

struct sadb_lifetime {
	uint16_t sadb_lifetime_len;
	uint16_t sadb_lifetime_exttype;
	uint32_t sadb_lifetime_allocations;
	uint64_t sadb_lifetime_bytes;
	uint64_t sadb_lifetime_addtime;
	uint64_t sadb_lifetime_usetime;
};
SALLET_SIZE(sadb_lifetime, 32);

/* A socket address follows, padded to whole words. */
struct sadb_address {
	uint16_t sadb_address_len;
	uint16_t sadb_address_exttype;
	uint8_t sadb_address_proto;
	uint8_t sadb_address_prefixlen;
	uint16_t sadb_address_reserved;
};
SALLET_SIZE(sadb_address, 8);

/* The key follows, padded to whole words. */
struct sadb_key {
	uint16_t sadb_key_len;
	uint16_t sadb_key_exttype;
	uint16_t sadb_key_bits;
	uint16_t sadb_key_reserved;
};
SALLET_SIZE(sadb_key, 8);

/* A text follows, with a NUL, padded to whole words. */
struct sadb_ident {
	uint16_t sadb_ident_len;
	uint16_t sadb_ident_exttype;
	uint16_t sadb_ident_type;
	uint16_t sadb_ident_reserved;
	uint64_t sadb_ident_id;
};
SALLET_SIZE(sadb_ident, 16);

/* Two bitmaps follow. RFC 2367 declares 20 bytes and means 24: the last four pad. */
struct sadb_sens {
	uint16_t sadb_sens_len;
	uint16_t sadb_sens_exttype;
	uint32_t sadb_sens_dpd;
	uint8_t sadb_sens_sens_level;
	uint8_t sadb_sens_sens_len;
	uint8_t sadb_sens_integ_level;
	uint8_t sadb_sens_integ_len;
	uint32_t sadb_sens_reserved;
};
SALLET_SIZE(sadb_sens, 16);

struct sadb_prop {
	uint16_t sadb_prop_len;
	uint16_t sadb_prop_exttype;
	uint8_t sadb_prop_replay;
	uint8_t sadb_prop_reserved[3];
};
SALLET_SIZE(sadb_prop, 8);

struct sadb_comb {
	uint8_t sadb_comb_auth;
	uint8_t sadb_comb_encrypt;
	uint16_t sadb_comb_flags;
	uint16_t sadb_comb_auth_minbits;
	uint16_t sadb_comb_auth_maxbits;
	uint16_t sadb_comb_encrypt_minbits;
	uint16_t sadb_comb_encrypt_maxbits;
	uint32_t sadb_comb_reserved;
	uint32_t sadb_comb_soft_allocations;
	uint32_t sadb_comb_hard_allocations;
	uint64_t sadb_comb_soft_bytes;
	uint64_t sadb_comb_hard_bytes;
	uint64_t sadb_comb_soft_addtime;
	uint64_t sadb_comb_hard_addtime;
	uint64_t sadb_comb_soft_usetime;
	uint64_t sadb_comb_hard_usetime;
};
SALLET_SIZE(sadb_comb, 72);

struct sadb_supported {
	uint16_t sadb_supported_len;
	uint16_t sadb_supported_exttype;
	uint32_t sadb_supported_reserved;
};
SALLET_SIZE(sadb_supported, 8);

struct sadb_alg {
	uint8_t sadb_alg_id;
	uint8_t sadb_alg_ivlen;
	uint16_t sadb_alg_minbits;
	uint16_t sadb_alg_maxbits;
	uint16_t sadb_alg_reserved;
};
SALLET_SIZE(sadb_alg, 8);

/* Unlike an SPI, both ends are in host order. */
struct sadb_spirange {
	uint16_t sadb_spirange_len;
	uint16_t sadb_spirange_exttype;
	uint32_t sadb_spirange_min;
	uint32_t sadb_spirange_max;
	uint32_t sadb_spirange_reserved;
};
SALLET_SIZE(sadb_spirange, 16);

struct sadb_x_kmprivate {
	uint16_t sadb_x_kmprivate_len;
	uint16_t sadb_x_kmprivate_exttype;
	uint32_t sadb_x_kmprivate_reserved;
};
SALLET_SIZE(sadb_x_kmprivate, 8);

struct sadb_x_sa2 {
	uint16_t sadb_x_sa2_len;
	uint16_t sadb_x_sa2_exttype;
	uint8_t sadb_x_sa2_mode;
	uint8_t sadb_x_sa2_reserved1;
	uint16_t sadb_x_sa2_reserved2;
	uint32_t sadb_x_sa2_sequence;
	uint32_t sadb_x_sa2_reqid;
};
SALLET_SIZE(sadb_x_sa2, 16);

/* Requests follow, each as long as it says: the sum is the extension's length. */
struct sadb_x_policy {
	uint16_t sadb_x_policy_len;
	uint16_t sadb_x_policy_exttype;
	uint16_t sadb_x_policy_type;
	uint8_t sadb_x_policy_dir;
	uint8_t SALLET_POLICY_OCTET;
	uint32_t sadb_x_policy_id;
	uint32_t SALLET_POLICY_WORD;
};
SALLET_SIZE(sadb_x_policy, 16);

/* Source and destination follow back to back, or nothing; the length is in bytes. */
struct sadb_x_ipsecrequest {
	uint16_t sadb_x_ipsecrequest_len;
	uint16_t sadb_x_ipsecrequest_proto;
	uint8_t sadb_x_ipsecrequest_mode;
	uint8_t sadb_x_ipsecrequest_level;
	uint16_t sadb_x_ipsecrequest_reqid;
};
SALLET_SIZE(sadb_x_ipsecrequest, 8);

#ifdef SADB_X_EXT_NAT_T_TYPE
struct sadb_x_nat_t_type {
	uint16_t sadb_x_nat_t_type_len;
	uint16_t sadb_x_nat_t_type_exttype;
	uint8_t sadb_x_nat_t_type_type;
	uint8_t sadb_x_nat_t_type_reserved[3];
};
SALLET_SIZE(sadb_x_nat_t_type, 8);

struct sadb_x_nat_t_port {
	uint16_t sadb_x_nat_t_port_len;
	uint16_t sadb_x_nat_t_port_exttype;
	uint16_t sadb_x_nat_t_port_port;
	uint16_t sadb_x_nat_t_port_reserved;
};
SALLET_SIZE(sadb_x_nat_t_port, 8);

struct sadb_x_nat_t_frag {
	uint16_t sadb_x_nat_t_frag_len;
	uint16_t sadb_x_nat_t_frag_exttype;
	uint16_t sadb_x_nat_t_frag_fraglen;
	uint16_t sadb_x_nat_t_frag_reserved;
};
SALLET_SIZE(sadb_x_nat_t_frag, 8);
#endif

/*
 * The socket addresses inside messages and policies. This system's own are laid out otherwise, so a program that
 * writes such a message here uses these, with SALLET_AF_INET6 of its dialect.
 */
struct sallet_sockaddr_in {
	uint8_t sin_len;
	uint8_t sin_family;
	uint16_t sin_port;
	uint8_t sin_addr[4];
	uint8_t sin_zero[8];
};
SALLET_SIZE(sallet_sockaddr_in, 16);

struct sallet_sockaddr_in6 {
	uint8_t sin6_len;
	uint8_t sin6_family;
	uint16_t sin6_port;
	uint32_t sin6_flowinfo;
	uint8_t sin6_addr[16];
	uint32_t sin6_scope_id;
};
SALLET_SIZE(sallet_sockaddr_in6, 28);

#endif
