/*
 * The records between the preload library and the daemon on RUN_DIR/pcb.sock (SOCK_SEQPACKET).
 * No call may enter; python/sallet/pcb/protocol.py says the same, and a test holds the two together.
 * Answers to: ARCHITECTURE.md, "Programs that know nothing of us".
 *
 * A program sends one request over a connection and gets one reply. The sockets that a request is about travel
 * with it (SCM_RIGHTS): their addresses, their id (SO_COOKIE) and their options are what the kernel says, not
 * what the program says. Numbers are in the machine's own order. Policy bytes follow the fixed part.
 */
#ifndef SALLET_PCB_PROTOCOL_H
#define SALLET_PCB_PROTOCOL_H

#include <stdint.h>

#define PCB_SOCKET "pcb.sock"
#define PCB_VERSION 1
#define PCB_POLICY_BYTES_MAX 4096
#define PCB_DESCRIPTORS_MAX 2

/* Bits of a socket's mark (SO_MARK). They travel with the socket through fork, dup, exec, SCM_RIGHTS, accept. */
#define PCB_MARK_BITS 0x3c000000
#define PCB_MARK_POLICY 0x10000000
#define PCB_MARK_ENCAP 0x20000000

/* What a request asks. */
#define PCB_POLICY_SET 1 /* policy bytes in `dialect`, for the direction that they name; [socket] */
#define PCB_POLICY_GET 2 /* `value` is the direction; the reply carries what was set; [socket] */
#define PCB_BOUND 3      /* the socket has its port; `remote` is where connect() is about to go; [socket] */
#define PCB_INHERIT 4    /* [accepted socket, listening socket] */
#define PCB_ENCAP 5      /* `value` is what UDP_ENCAP was set to; [socket] */
#define PCB_WATCH 6      /* no reply but the end of the connection, when the daemon goes; [] */
#define PCB_CONNECT 7    /* no reply: the socket is the far end of a new connection; [one of a pair] */

/* The numbers and layouts above RFC 2367 that a program was compiled with. */
#define PCB_DIALECT_LINUX 1
#define PCB_DIALECT_KAME 2
#define PCB_DIALECT_NETBSD 3
#define PCB_DIALECT_FREEBSD 4

struct pcb_request {
	uint16_t version;
	uint16_t kind;
	uint16_t dialect;
	uint16_t level; /* of the socket option, as the program named it */
	uint32_t value;
	uint32_t policy_bytes;
	uint16_t remote_family; /* 4, 6, or 0 for none */
	uint16_t remote_port;
	uint8_t remote_address[16]; /* four of them, if the family is 4 */
};

struct pcb_reply {
	uint16_t version;
	uint16_t kind;
	uint32_t error; /* an errno of this machine, or 0 */
	uint32_t value;
	uint32_t policy_bytes;
};

#endif
