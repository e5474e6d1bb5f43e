/*
 * Keeps a PF_KEY socket quiet when the daemon has gone: with a kernel there is no end of file.
 * No message may be read here that the program did not ask for.
 * Answers to: RFC 2367 section 1.3; poll(2), epoll(7): an end that programs do not expect wakes them for ever.
 *
 * The program is told once, by ENETDOWN. Afterwards nothing can be read, and sending fails with EPIPE.
 */
#include "preload.h"
#include "pfkey.h"

#include <fcntl.h>

#define FAR_END_MIN 500

/* Puts in its place a socket to which nobody will ever say anything. */
static void silence(int descriptor)
{
	int pair[2], kept, status = fcntl(descriptor, F_GETFL), flags = fcntl(descriptor, F_GETFD);

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	/* The far end stays open for that, at a number that programs do not count on. */
	kept = fcntl(pair[1], F_DUPFD_CLOEXEC, FAR_END_MIN);
	if (kept >= 0)
		close(pair[1]);
	shutdown(pair[0], SHUT_WR);
	fcntl(pair[0], F_SETFL, status);
	dup3(pair[0], descriptor, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	close(pair[0]);
}

/* Gives `received` back, the outcome of a call that had room for something. */
static ssize_t unless_ended(int descriptor, ssize_t received, bool room)
{
	if (received != 0 || !room || !pfkey_is(descriptor))
		return received;
	silence(descriptor);
	return refused(ENETDOWN);
}

EXPORTED ssize_t recv(int descriptor, void *data, size_t size, int flags)
{
	return unless_ended(descriptor, next(recv)(descriptor, data, size, flags), size);
}

EXPORTED ssize_t recvfrom(int descriptor, void *restrict data, size_t size, int flags, __SOCKADDR_ARG address,
			  socklen_t *restrict length)
{
	return unless_ended(descriptor, next(recvfrom)(descriptor, data, size, flags, address, length), size);
}

EXPORTED ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
	ssize_t received = next(recvmsg)(descriptor, message, flags);

	return unless_ended(descriptor, received, message && message->msg_iovlen);
}

EXPORTED ssize_t read(int descriptor, void *data, size_t size)
{
	return unless_ended(descriptor, next(read)(descriptor, data, size), size);
}

/* What the same calls are in programs that were compiled with _FORTIFY_SOURCE. */
EXPORTED ssize_t __recv_chk(int descriptor, void *data, size_t size, size_t room, int flags)
{
	return unless_ended(descriptor, next(__recv_chk)(descriptor, data, size, room, flags), size);
}

EXPORTED ssize_t __recvfrom_chk(int descriptor, void *restrict data, size_t size, size_t room, int flags,
				__SOCKADDR_ARG address, socklen_t *restrict length)
{
	ssize_t received = next(__recvfrom_chk)(descriptor, data, size, room, flags, address, length);

	return unless_ended(descriptor, received, size);
}

EXPORTED ssize_t __read_chk(int descriptor, void *data, size_t size, size_t room)
{
	return unless_ended(descriptor, next(__read_chk)(descriptor, data, size, room), size);
}
