/*
 * What the files of this library share: the calls of the C library behind ours, and the program's settings.
 * No concern of one file may enter.
 * Answers to: ld.so(8) for LD_PRELOAD, dlsym(3) for RTLD_NEXT; `sallet run` for the environment.
 */
#ifndef SALLET_PRELOAD_H
#define SALLET_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* The C library has these for programs that were compiled with _FORTIFY_SOURCE, and declares them for those only. */
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *restrict, size_t, size_t, int, __SOCKADDR_ARG, socklen_t *restrict);
ssize_t __read_chk(int, void *, size_t, size_t);

/* The calls that are interposed: each file defines its own and reaches the next one through `next`. */
#define SALLET_CALLS(X) \
	X(socket) \
	X(bind) \
	X(connect) \
	X(listen) \
	X(accept) \
	X(accept4) \
	X(setsockopt) \
	X(getsockopt) \
	X(send) \
	X(sendto) \
	X(sendmsg) \
	X(sendmmsg) \
	X(write) \
	X(writev) \
	X(chroot) \
	X(setuid) \
	X(setreuid) \
	X(setresuid) \
	X(recv) \
	X(recvfrom) \
	X(recvmsg) \
	X(read) \
	X(__recv_chk) \
	X(__recvfrom_chk) \
	X(__read_chk)

struct calls {
#define X(name) __typeof__(&name) name;
	SALLET_CALLS(X)
#undef X
};

/* Resolved before main; a constructor of another library may come before ours and resolves them itself. */
const struct calls *calls(void);
#define next(name) (calls()->name)

/* The dialect that the program speaks, as `pcb_protocol.h` numbers them. */
int dialect(void);

/* Connects to one of the daemon's sockets by its name in the run directory: a descriptor, or -1 and errno. */
int daemon_connect(const char *name, int flags);

/* Sets errno and gives -1, so that a call can end with it. */
static inline int refused(int reason)
{
	errno = reason;
	return -1;
}

#endif
