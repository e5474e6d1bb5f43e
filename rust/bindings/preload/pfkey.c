/*
 * Makes socket(PF_KEY, ...) of an unmodified program a connection to the daemon.
 * No message may be read or changed here: the daemon speaks the program's own dialect.
 * Answers to: RFC 2367 section 1.3 (the PF_KEY socket), socket(2) of Linux and of the BSDs for the errors.
 */
#include "preload.h"
#include "pcb_protocol.h"
#include "pfkey.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define PF_KEY_V2 2

static const char *const SOCKETS[] = {
	[PCB_DIALECT_LINUX] = "pfkey.linux.sock",
	[PCB_DIALECT_KAME] = "pfkey.kame.sock",
	[PCB_DIALECT_NETBSD] = "pfkey.netbsd.sock",
	[PCB_DIALECT_FREEBSD] = "pfkey.freebsd.sock",
};

/* What the kernels say about a type and a protocol that PF_KEY has not; 0 if it has them. */
static int mistake(int type, int protocol)
{
	if (type == SOCK_RAW && protocol == PF_KEY_V2)
		return 0;
	if (dialect() == PCB_DIALECT_LINUX)
		return type == SOCK_RAW ? EPROTONOSUPPORT : ESOCKTNOSUPPORT;
	return type != SOCK_RAW && protocol == 0 ? EPROTOTYPE : EPROTONOSUPPORT;
}

static int key_socket(int type, int protocol)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	int reason = mistake(type & ~flags, protocol), descriptor;

	if (reason)
		return refused(reason);
	descriptor = daemon_connect(SOCKETS[dialect()], type & flags);
	if (descriptor >= 0)
		return descriptor;
	if (errno == EACCES || errno == EPERM)
		return refused(dialect() == PCB_DIALECT_LINUX || dialect() == PCB_DIALECT_FREEBSD ? EPERM : EACCES);
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		return -1;
	return refused(EAFNOSUPPORT); /* a kernel without PF_KEY, that is: no daemon */
}

EXPORTED int socket(int domain, int type, int protocol)
{
	return domain == PF_KEY ? key_socket(type, protocol) : next(socket)(domain, type, protocol);
}

/* The peer's name tells, and it comes along through dup, fork and exec. */
bool pfkey_is(int descriptor)
{
	struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
	socklen_t length = sizeof(peer) - 1;
	const char *base;
	int before = errno;

	if (getpeername(descriptor, (struct sockaddr *)&peer, &length) < 0 || peer.sun_family != AF_UNIX) {
		errno = before;
		return false;
	}
	base = strrchr(peer.sun_path, '/');
	for (int each = PCB_DIALECT_LINUX; base && each <= PCB_DIALECT_FREEBSD; each++)
		if (strcmp(base + 1, SOCKETS[each]) == 0)
			return true;
	return false;
}

bool pfkey_option(int level, int option, int *value)
{
	if (level != SOL_SOCKET)
		return false;
	if (option == SO_DOMAIN)
		*value = PF_KEY;
	else if (option == SO_TYPE)
		*value = SOCK_RAW;
	else if (option == SO_PROTOCOL)
		*value = PF_KEY_V2;
	else
		return false;
	return true;
}
