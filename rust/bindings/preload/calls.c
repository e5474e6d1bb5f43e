/*
 * Finds the C library's own calls, the program's settings, and the daemon's sockets.
 * No interposed call may stand here.
 * Answers to: dlsym(3); unix(7) for the length of a socket's name.
 */
#include "preload.h"
#include "pcb_protocol.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static struct calls found;
static bool resolved;

/* Two threads may do this at once: both write the same addresses. */
__attribute__((constructor(101))) static void resolve(void)
{
#define X(name) \
	{ \
		void *address = dlsym(RTLD_NEXT, #name); \
		memcpy(&found.name, &address, sizeof(address)); \
	}
	SALLET_CALLS(X)
#undef X
	__atomic_store_n(&resolved, true, __ATOMIC_RELEASE);
}

const struct calls *calls(void)
{
	if (!__atomic_load_n(&resolved, __ATOMIC_ACQUIRE))
		resolve();
	return &found;
}

int dialect(void)
{
	static const char *const names[] = {
		[PCB_DIALECT_LINUX] = "linux",
		[PCB_DIALECT_KAME] = "kame",
		[PCB_DIALECT_NETBSD] = "netbsd",
		[PCB_DIALECT_FREEBSD] = "freebsd",
	};
	static int known;
	int number = __atomic_load_n(&known, __ATOMIC_RELAXED);
	const char *wanted;

	if (number)
		return number;
	wanted = getenv("SALLET_DIALECT");
	number = PCB_DIALECT_LINUX;
	for (int each = PCB_DIALECT_LINUX; wanted && each <= PCB_DIALECT_FREEBSD; each++)
		if (strcmp(names[each], wanted) == 0)
			number = each;
	__atomic_store_n(&known, number, __ATOMIC_RELAXED);
	return number;
}

/* Writes a name that fits `sun_path` however long the directory's is; `*directory` is to be closed. */
static bool name_socket(struct sockaddr_un *daemon, const char *run_dir, const char *name, int *directory)
{
	size_t room = sizeof(daemon->sun_path);

	if ((size_t)snprintf(daemon->sun_path, room, "%s/%s", run_dir, name) < room)
		return true;
	*directory = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory < 0)
		return false;
	return (size_t)snprintf(daemon->sun_path, room, "/proc/self/fd/%d/%s", *directory, name) < room;
}

int daemon_connect(const char *name, int flags)
{
	struct sockaddr_un daemon = {.sun_family = AF_UNIX};
	const char *run_dir = getenv("SALLET_RUN_DIR");
	int descriptor = -1, directory = -1, reason = ENOENT;

	if (run_dir && name_socket(&daemon, run_dir, name, &directory)) {
		const struct sockaddr *address = (const struct sockaddr *)&daemon;
		descriptor = next(socket)(AF_UNIX, SOCK_SEQPACKET | (flags & SOCK_CLOEXEC), 0);
		reason = errno;
		if (descriptor >= 0 && next(connect)(descriptor, address, sizeof(daemon)) < 0) {
			reason = errno;
			close(descriptor);
			descriptor = -1;
		}
	}
	if (directory >= 0)
		close(directory);
	/* Only now: a connection to a busy daemon waits its turn, whatever the program wants afterwards. */
	if (descriptor >= 0 && flags & SOCK_NONBLOCK)
		fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
	return descriptor >= 0 ? descriptor : refused(reason);
}
