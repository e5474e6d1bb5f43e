/*
 * The calls that give a socket its addresses: bind, connect, listen, accept.
 * No policy may enter: what has one is confirmed by the daemon before it goes on.
 * Answers to: bind(2), connect(2), listen(2), accept(2); `ipsec(4)`: accepted sockets inherit.
 */
#include "preload.h"
#include "pcb.h"
#include "pfkey.h"
#include "udp_encap.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>

static bool is_inet(const struct sockaddr *address, socklen_t length)
{
	return address && length >= sizeof(sa_family_t) &&
	       (address->sa_family == AF_INET || address->sa_family == AF_INET6);
}

static bool is_udp(int descriptor)
{
	int protocol = 0;
	socklen_t length = sizeof(protocol);

	return next(getsockopt)(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
	       protocol == IPPROTO_UDP;
}

/* Between the port and the rule a datagram could slip in: a filter keeps everything out meanwhile. */
static bool shut(int descriptor)
{
	struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
	struct sock_fprog program = {.len = 1, .filter = &nothing};
	socklen_t instructions = 0;

	if (!is_udp(descriptor))
		return false;
	if (next(getsockopt)(descriptor, SOL_SOCKET, SO_GET_FILTER, NULL, &instructions) < 0 || instructions)
		return false; /* the program's own filter stays */
	return next(setsockopt)(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

static void reopen(int descriptor)
{
	int none = 0, before = errno;

	next(setsockopt)(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
	errno = before;
}

EXPORTED int bind(int descriptor, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	bool closed;
	int outcome;

	if (!is_inet(address.__sockaddr__, length) && pfkey_is(descriptor))
		return refused(EINVAL);
	if (!pcb_mark(descriptor))
		return next(bind)(descriptor, address, length);
	closed = shut(descriptor);
	outcome = next(bind)(descriptor, address, length);
	if (outcome == 0 && is_udp(descriptor) && pcb_has_policy(descriptor))
		outcome = pcb_tell_bound(descriptor, NULL, 0);
	if (outcome == 0)
		outcome = udp_encap_bound(descriptor);
	if (closed)
		reopen(descriptor);
	return outcome;
}

EXPORTED int connect(int descriptor, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	if (!is_inet(address.__sockaddr__, length)) {
		if (pfkey_is(descriptor))
			return refused(EINVAL);
	} else if (pcb_has_policy(descriptor)) {
		bool closed = shut(descriptor);
		int outcome = pcb_confirm(descriptor, address.__sockaddr__, length);

		if (closed)
			reopen(descriptor);
		if (outcome < 0)
			return -1;
	}
	return next(connect)(descriptor, address, length);
}

EXPORTED int listen(int descriptor, int backlog)
{
	if (pcb_has_policy(descriptor) && pcb_confirm(descriptor, NULL, 0) < 0)
		return -1;
	return next(listen)(descriptor, backlog);
}

/* The kernel has given the new socket the listener's mark; the daemon gives it the listener's policies. */
static int inherited(int accepted, int listener)
{
	struct pcb_request request = {.kind = PCB_INHERIT};
	const int descriptors[] = {accepted, listener};
	int reason;

	if (accepted < 0 || !pcb_has_policy(accepted))
		return accepted;
	reason = pcb_ask(&request, NULL, descriptors, 2, NULL, NULL);
	if (!reason)
		return accepted;
	close(accepted);
	return refused(reason);
}

EXPORTED int accept(int descriptor, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	return inherited(next(accept)(descriptor, address, length), descriptor);
}

EXPORTED int accept4(int descriptor, __SOCKADDR_ARG address, socklen_t *restrict length, int flags)
{
	return inherited(next(accept4)(descriptor, address, length, flags), descriptor);
}
