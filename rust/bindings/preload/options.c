/*
 * The socket options that other systems' programs set on their sockets: the policy options.
 * No policy may be judged here, and no option be touched that is not the dialect's own.
 * Answers to: setsockopt(2), `ipsec(4)` of the BSDs, ip(7) and ipv6(7) for what Linux means by the same numbers.
 */
#include "preload.h"
#include "pcb.h"
#include "pfkey.h"
#include "udp_encap.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define POLICY_HEADER_BYTES 16
#define POLICY_EXTENSION 18

/* IP_IPSEC_POLICY and IPV6_IPSEC_POLICY; on Linux 21, 22 and 28 are IP_MINTTL, IP_NODEFRAG, IPV6_LEAVE_ANYCAST. */
static const struct {
	int inet, inet6;
} POLICY_OPTIONS[] = {
	[PCB_DIALECT_LINUX] = {16, 34},
	[PCB_DIALECT_KAME] = {22, 28},
	[PCB_DIALECT_NETBSD] = {22, 28},
	[PCB_DIALECT_FREEBSD] = {21, 28},
};

/* A policy is whole words of eight octets: an int and the twenty octets of an anycast request are none. */
static bool names_policy(int level, int option, socklen_t length)
{
	int wanted = level == IPPROTO_IP     ? POLICY_OPTIONS[dialect()].inet
		     : level == IPPROTO_IPV6 ? POLICY_OPTIONS[dialect()].inet6
					     : -1;

	return option == wanted && length >= POLICY_HEADER_BYTES && length % 8 == 0;
}

static int set_policy(int descriptor, int level, const void *value, socklen_t length)
{
	struct pcb_request request = {
		.kind = PCB_POLICY_SET,
		.level = (uint16_t)level,
		.policy_bytes = length,
	};
	int reason;

	if (length > PCB_POLICY_BYTES_MAX)
		return refused(EINVAL);
	reason = pcb_ask(&request, value, &descriptor, 1, NULL, NULL);
	return reason ? refused(reason) : 0;
}

/* The buffer comes with the direction that is asked for, as `struct sadb_x_policy` has it. */
static int get_policy(int descriptor, int level, void *value, socklen_t *length)
{
	uint8_t answer[PCB_POLICY_BYTES_MAX];
	size_t answer_bytes = sizeof(answer);
	struct pcb_request request = {
		.kind = PCB_POLICY_GET,
		.level = (uint16_t)level,
		.value = ((const uint8_t *)value)[6],
	};
	int reason = pcb_ask(&request, NULL, &descriptor, 1, answer, &answer_bytes);

	if (reason)
		return refused(reason);
	if (answer_bytes > sizeof(answer))
		return refused(EINVAL);
	memcpy(value, answer, answer_bytes < *length ? answer_bytes : *length);
	*length = (socklen_t)(answer_bytes < *length ? answer_bytes : *length);
	return 0;
}

static bool asks_for_policy(const void *value, socklen_t length)
{
	uint16_t extension;

	if (!value || length < POLICY_HEADER_BYTES)
		return false;
	memcpy(&extension, (const uint8_t *)value + 2, sizeof(extension));
	return extension == POLICY_EXTENSION;
}

/* The bits that say what a socket is to the daemon stay, whatever else a program marks its packets with. */
static int set_mark(int descriptor, const void *value, socklen_t length)
{
	uint32_t before = 0, mark;
	socklen_t before_bytes = sizeof(before);

	memcpy(&mark, value, sizeof(mark));
	next(getsockopt)(descriptor, SOL_SOCKET, SO_MARK, &before, &before_bytes);
	mark = (mark & ~(uint32_t)PCB_MARK_BITS) | (before & PCB_MARK_BITS);
	return next(setsockopt)(descriptor, SOL_SOCKET, SO_MARK, &mark, length);
}

EXPORTED int setsockopt(int descriptor, int level, int option, const void *value, socklen_t length)
{
	if (value && names_policy(level, option, length))
		return set_policy(descriptor, level, value, length);
	if (udp_encap_is_set(descriptor, level, option, value, length))
		return udp_encap_set(descriptor, value);
	if (level == SOL_SOCKET && option == SO_MARK && value && length == sizeof(uint32_t))
		return set_mark(descriptor, value, length);
	return next(setsockopt)(descriptor, level, option, value, length);
}

static void hide_mark(int descriptor, void *value)
{
	uint32_t mark;

	if (!pcb_mark(descriptor))
		return;
	memcpy(&mark, value, sizeof(mark));
	mark &= ~(uint32_t)PCB_MARK_BITS;
	memcpy(value, &mark, sizeof(mark));
}

EXPORTED int getsockopt(int descriptor, int level, int option, void *restrict value, socklen_t *restrict length)
{
	int outcome, answer;

	if (length && names_policy(level, option, *length - *length % 8) && asks_for_policy(value, *length))
		return get_policy(descriptor, level, value, length);
	if (value && length && *length == sizeof(int) && udp_encap_is_asked(descriptor, level, option, &answer)) {
		memcpy(value, &answer, sizeof(answer));
		return 0;
	}
	outcome = next(getsockopt)(descriptor, level, option, value, length);
	if (outcome < 0 || level != SOL_SOCKET || !value || *length != sizeof(int))
		return outcome;
	if (option == SO_MARK)
		hide_mark(descriptor, value);
	else if (pfkey_option(level, option, &answer) && pfkey_is(descriptor))
		memcpy(value, &answer, sizeof(answer));
	return outcome;
}
