/*
 * Makes socket(PF_KEY, ...) of an unmodified program a connection to the daemon.
 * No message may be read or changed here: the daemon speaks the program's own dialect.
 * Answers to: RFC 2367 section 1.3 (the PF_KEY socket), design decision "programs that know nothing of us".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define DAEMON_SOCKET "SALLET_PFKEY_SOCKET"

typedef int (*socket_call)(int, int, int);

static socket_call next_socket(void)
{
	static socket_call next;
	if (!next)
		next = (socket_call)dlsym(RTLD_NEXT, "socket");
	return next;
}

/* SOCK_CLOEXEC and SOCK_NONBLOCK are the program's wish and go along. */
static int connected(const char *path, int flags)
{
	struct sockaddr_un daemon = {.sun_family = AF_UNIX};
	int descriptor, reason;

	if (strlen(path) >= sizeof(daemon.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(daemon.sun_path, path);
	descriptor = next_socket()(AF_UNIX, SOCK_SEQPACKET | flags, 0);
	if (descriptor < 0)
		return -1;
	if (connect(descriptor, (struct sockaddr *)&daemon, sizeof(daemon)) == 0)
		return descriptor;
	reason = errno;
	close(descriptor);
	errno = reason == EACCES ? EACCES : EPROTONOSUPPORT;
	return -1;
}

EXPORTED int socket(int domain, int type, int protocol)
{
	const char *path = getenv(DAEMON_SOCKET);
	if (domain != PF_KEY || !path)
		return next_socket()(domain, type, protocol);
	return connected(path, type & (SOCK_CLOEXEC | SOCK_NONBLOCK));
}
