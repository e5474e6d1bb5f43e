/*
 * What the files of this library share: a policy as values, the rows of the dialects, the error of the thread.
 * No socket, no file and no global that changes may enter: programs call from any thread.
 * Answers to: ipsec_set_policy(3) of KAME, NetBSD, FreeBSD and ipsec-tools.
 */
#ifndef SALLET_LIBIPSEC_POLICY_H
#define SALLET_LIBIPSEC_POLICY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORD_BYTES = 8, POLICY_BYTES = 16, POLICY_EXTENSION = 18 };
enum { INET_BYTES = 16, INET6_BYTES = 28, INET_FAMILY = 2 };
enum { NARROW_REQUEST_BYTES = 8, WIDE_REQUEST_BYTES = 16 };

enum direction { INBOUND = 1, OUTBOUND, FORWARD };
enum action { DISCARD, NONE, IPSEC, ENTRUST, BYPASS };
enum mode { ANY_MODE, TRANSPORT, TUNNEL };
enum level { DEFAULT, USE, REQUIRE, UNIQUE };

/* Highest request id that a person may write; above the second, the system made it. */
enum { REQID_MAX = 32767, MANUAL_REQID_MAX = 0x3fff };

/* What ipsec_strerror(3) has texts for, by the index that the old libraries gave them. */
enum failure {
	SUCCESS = 0,
	INVALID_ARGUMENT = 2,
	INVALID_POLICY = 5,
	INVALID_ADDRESS = 6,
	INVALID_PROTOCOL = 7,
	INVALID_MODE = 8,
	INVALID_LEVEL = 9,
	INVALID_DIRECTION = 17,
	NO_BUFFERS = 21,
	FAMILY_MISMATCH = 24,
	SYNTAX = 26, /* its text is the thread's own */
	BAD_PRIORITY,
	NO_PRIORITY,
	UNKNOWN_FAILURE,
};

/* In which ways the libraries of the systems differ. */
struct dialect {
	uint8_t inet6_family;
	bool length_in_address; /* 4.4BSD: a socket address begins with its length */
	bool wide_requests;     /* 16 bytes with a 32-bit id; 8 with a 16-bit one otherwise */
	bool priority;
	bool priority_words;    /* they are known where they are refused */
	bool forward;           /* `fwd` is a list of its own; it means `in' otherwise */
	bool ports;
	bool tcp;
	bool any_mode;
	bool marks_made_reqids; /* the octet behind the direction tells which requests' ids the system chose */
};

extern const struct dialect sallet_kame, sallet_netbsd, sallet_freebsd, sallet_linux;

/* One end of a tunnel: 4 or 16 bytes of address, 0 where there is none. */
struct end {
	uint8_t bytes;
	uint8_t address[16];
	uint16_t port;
};

struct request {
	uint16_t protocol;
	uint8_t mode, level;
	uint32_t reqid;
	struct end source, destination;
};

/* A growing row of bytes; `failed` once there was no memory, and nothing is added from then on. */
struct bytes {
	char *data;
	size_t length, room;
	bool failed;
};

void sallet_append(struct bytes *into, const void *from, size_t length);
void sallet_append_text(struct bytes *into, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Turns values into the layout of a dialect, and back; `emit_*` append, `parse_*` say false where the bytes lie. */
void sallet_emit_policy(struct bytes *into, unsigned action, unsigned direction, uint32_t priority);
void sallet_emit_request(struct bytes *into, const struct request *request, const struct dialect *dialect);
bool sallet_parse_request(const uint8_t *from, size_t length, struct request *request, const struct dialect *dialect);
uint16_t sallet_half(const void *from);
uint32_t sallet_word(const void *from);

/* Both free what they made when they fail, and leave the reason with the thread. */
char *sallet_read_policy(const char *text, size_t length, const struct dialect *dialect);
char *sallet_show_policy(const void *policy, const char *delimiter, bool every_port, const struct dialect *dialect);

void sallet_fail(enum failure failure);
void sallet_fail_at(const char *token, size_t length);
const char *sallet_failure_text(void);

#endif
