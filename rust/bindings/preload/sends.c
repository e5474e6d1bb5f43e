/*
 * The calls that send: none goes on before the rule of its socket stands, nor after the daemon has gone.
 * No packet may be looked at.
 * Answers to: send(2), sendmmsg(2), write(2); design "host mode", Fail closed.
 *
 * A socket without a port cannot send without naming a destination, so only those calls ask the daemon. The
 * others look whether this process has confirmed the socket, which costs programs without policies nothing.
 */
#include "preload.h"
#include "pcb.h"
#include "pfkey.h"

#include <errno.h>

/* Says whether a call on a socket that has its ends may go on. */
static bool may_send(int descriptor)
{
	if (!pcb_was_confirmed(descriptor) || !pcb_has_policy(descriptor) || pcb_stands(descriptor))
		return true;
	/* Or a program that closes what it does not know has closed our connection. */
	return pcb_confirm(descriptor, NULL, 0) == 0;
}

/* Says whether a call that may name a destination may go on. */
static bool may_send_to(int descriptor, const void *destination, socklen_t length)
{
	if (!destination || !length)
		return may_send(descriptor);
	return !pcb_has_policy(descriptor) || pcb_confirm_once(descriptor) == 0;
}

static ssize_t replied(int descriptor, const void *data, size_t size, ssize_t sent)
{
	const struct iovec whole = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};

	return pfkey_sent(descriptor, &whole, 1, sent);
}

EXPORTED ssize_t sendto(int descriptor, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG address,
			socklen_t length)
{
	if (!may_send_to(descriptor, address.__sockaddr__, length))
		return -1;
	return replied(descriptor, data, size, next(sendto)(descriptor, data, size, flags, address, length));
}

EXPORTED ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
	if (message && !may_send_to(descriptor, message->msg_name, message->msg_namelen))
		return -1;
	return pfkey_sent(descriptor, message ? message->msg_iov : NULL, message ? (int)message->msg_iovlen : 0,
			  next(sendmsg)(descriptor, message, flags));
}

EXPORTED int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags)
{
	for (unsigned int each = 0; messages && each < count; each++) {
		const struct msghdr *message = &messages[each].msg_hdr;
		if (!may_send_to(descriptor, message->msg_name, message->msg_namelen))
			return -1;
	}
	return next(sendmmsg)(descriptor, messages, count, flags);
}

EXPORTED ssize_t send(int descriptor, const void *data, size_t size, int flags)
{
	if (!may_send(descriptor))
		return -1;
	return replied(descriptor, data, size, next(send)(descriptor, data, size, flags));
}

EXPORTED ssize_t write(int descriptor, const void *data, size_t size)
{
	if (!may_send(descriptor))
		return -1;
	return replied(descriptor, data, size, next(write)(descriptor, data, size));
}

EXPORTED ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
	if (!may_send(descriptor))
		return -1;
	return pfkey_sent(descriptor, parts, count, next(writev)(descriptor, parts, count));
}
