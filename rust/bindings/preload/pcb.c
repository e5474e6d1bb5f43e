/*
 * Asks the daemon about sockets that have a policy, and sees to it that none sends before its rule stands.
 * No decision about a policy may enter: the daemon takes them.
 * Answers to: pcb_protocol.h; unix(7) for SCM_RIGHTS; ip(7) for IP_BIND_ADDRESS_NO_PORT.
 *
 * Nothing is locked and nothing allocated: each request has a connection of its own, so that threads, forks and
 * signal handlers do not meet. Whether a socket has a policy is a bit of its mark, which the kernel carries.
 */
#include "pcb.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

#define REPLY_SECS 10
#define WATCH_DESCRIPTOR_MIN 500
#define REMEMBERED 65536

/* The connection whose end tells that the daemon has gone; -1 before the first use. A race leaves one more. */
static int watch = -1;
/* A connection that this process has kept for the time after chroot() or setuid(); -1 if there is none. */
static int way_back = -1;
/* Counts the connections that `watch` was. */
static uint32_t generation;
/* By descriptor: the id of the socket that was confirmed last, 0 if none was, and what `generation` was then. */
static uint64_t confirmed[REMEMBERED];
static uint32_t confirmed_in[REMEMBERED];

static bool send_request(int daemon, struct pcb_request *request, const void *policy, const int *descriptors,
			 int count)
{
	union {
		char bytes[CMSG_SPACE(PCB_DESCRIPTORS_MAX * sizeof(int))];
		struct cmsghdr aligned;
	} control = {.bytes = {0}};
	struct iovec parts[] = {
		{request, sizeof(*request)},
		{(void *)(uintptr_t)policy, request->policy_bytes},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = policy ? 2 : 1};
	ssize_t sent;

	if (count) {
		struct cmsghdr *rights;
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		rights = &control.aligned;
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		memcpy(CMSG_DATA(rights), descriptors, (size_t)count * sizeof(int));
	}
	do
		sent = next(sendmsg)(daemon, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent > 0;
}

static bool receive_reply(int daemon, struct pcb_reply *reply, void *answer, size_t *answer_bytes)
{
	struct iovec parts[] = {{reply, sizeof(*reply)}, {answer, answer ? *answer_bytes : 0}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t received;

	do
		received = recvmsg(daemon, &message, 0);
	while (received < 0 && errno == EINTR);
	if (received < (ssize_t)sizeof(*reply) || reply->version != PCB_VERSION)
		return false;
	if (answer_bytes)
		*answer_bytes = reply->policy_bytes;
	return true;
}

/* Gives a descriptor a number that programs do not count on. */
static int moved_up(int low)
{
	int high = fcntl(low, F_DUPFD_CLOEXEC, WATCH_DESCRIPTOR_MIN);

	if (high < 0)
		return low;
	close(low);
	return high;
}

void pcb_stay_reachable(void)
{
	int before = errno, none = -1, opened;

	if (__atomic_load_n(&way_back, __ATOMIC_ACQUIRE) < 0) {
		opened = daemon_connect(PCB_SOCKET, SOCK_CLOEXEC);
		if (opened >= 0) {
			opened = moved_up(opened);
			if (!__atomic_compare_exchange_n(&way_back, &none, opened, false, __ATOMIC_ACQ_REL,
							 __ATOMIC_ACQUIRE))
				close(opened);
		}
	}
	errno = before;
}

/*
 * Connects to the daemon: by its name, or, where that is out of reach, by one of a pair of sockets that is sent
 * along the way back. A pair shows who made it, so what this process may is what it may now.
 */
static int reach_daemon(void)
{
	struct pcb_request request = {.version = PCB_VERSION, .kind = PCB_CONNECT, .dialect = (uint16_t)dialect()};
	int daemon = daemon_connect(PCB_SOCKET, SOCK_CLOEXEC);
	int along = __atomic_load_n(&way_back, __ATOMIC_ACQUIRE), pair[2];

	if (daemon >= 0 || along < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return daemon;
	daemon = pair[0];
	if (!send_request(along, &request, NULL, &pair[1], 1)) {
		close(daemon);
		daemon = -1;
	}
	close(pair[1]);
	return daemon;
}

int pcb_ask(struct pcb_request *request, const void *policy, const int *descriptors, int count, void *answer,
	    size_t *answer_bytes)
{
	const struct timeval patience = {.tv_sec = REPLY_SECS};
	struct pcb_reply reply = {.version = 0};
	int daemon = reach_daemon();
	int outcome = EHOSTUNREACH;

	if (daemon < 0)
		return EHOSTUNREACH;
	request->version = PCB_VERSION;
	request->dialect = (uint16_t)dialect();
	next(setsockopt)(daemon, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send_request(daemon, request, policy, descriptors, count) &&
	    receive_reply(daemon, &reply, answer, answer_bytes))
		outcome = (int)reply.error;
	close(daemon);
	return outcome;
}

uint32_t pcb_mark(int descriptor)
{
	int before = errno;
	uint32_t mark = 0;
	socklen_t length = sizeof(mark);

	if (next(getsockopt)(descriptor, SOL_SOCKET, SO_MARK, &mark, &length) < 0)
		mark = 0;
	errno = before;
	return mark & PCB_MARK_BITS;
}

bool pcb_has_policy(int descriptor)
{
	return pcb_mark(descriptor) & PCB_MARK_POLICY;
}

/* Opens the connection that ends with the daemon. */
static int open_watch(void)
{
	struct pcb_request request = {.version = PCB_VERSION, .kind = PCB_WATCH, .dialect = (uint16_t)dialect()};
	int low = reach_daemon();

	if (low < 0)
		return -1;
	if (send_request(low, &request, NULL, NULL, 0))
		return moved_up(low);
	close(low);
	return -1;
}

static bool alive(int descriptor)
{
	char byte;
	ssize_t peeked = recv(descriptor, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);

	return peeked < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool daemon_lives(void)
{
	int before = errno, current = __atomic_load_n(&watch, __ATOMIC_ACQUIRE);
	bool lives = current >= 0 && alive(current);

	errno = before;
	return lives;
}

/* Begins to watch the daemon; what an earlier one had confirmed counts no more. */
static bool watched(void)
{
	int current = __atomic_load_n(&watch, __ATOMIC_ACQUIRE), fresh;

	if (current >= 0 && alive(current))
		return true;
	fresh = open_watch();
	if (fresh < 0)
		return false;
	if (__atomic_compare_exchange_n(&watch, &current, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		__atomic_add_fetch(&generation, 1, __ATOMIC_ACQ_REL);
	else
		close(fresh);
	/* The number of an ended watch may be the program's by now: it is left alone. */
	return true;
}

void pcb_remote(struct pcb_request *request, const struct sockaddr *remote, socklen_t length)
{
	if (remote && remote->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *inet = (const struct sockaddr_in *)(const void *)remote;
		request->remote_family = 4;
		request->remote_port = ntohs(inet->sin_port);
		memcpy(request->remote_address, &inet->sin_addr, sizeof(inet->sin_addr));
	} else if (remote && remote->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *inet6 = (const struct sockaddr_in6 *)(const void *)remote;
		request->remote_family = 6;
		request->remote_port = ntohs(inet6->sin6_port);
		memcpy(request->remote_address, &inet6->sin6_addr, sizeof(inet6->sin6_addr));
	}
}

static uint64_t cookie(int descriptor)
{
	uint64_t id = 0;
	socklen_t length = sizeof(id);

	return next(getsockopt)(descriptor, SOL_SOCKET, SO_COOKIE, &id, &length) < 0 ? 0 : id;
}

int pcb_tell_bound(int descriptor, const struct sockaddr *remote, socklen_t length)
{
	struct pcb_request request = {.kind = PCB_BOUND};
	int reason;

	if (!watched())
		return refused(EHOSTUNREACH);
	pcb_remote(&request, remote, length);
	reason = pcb_ask(&request, NULL, &descriptor, 1, NULL, NULL);
	if (reason)
		return refused(reason);
	if (descriptor < REMEMBERED) {
		confirmed_in[descriptor] = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
		confirmed[descriptor] = cookie(descriptor);
	}
	return 0;
}

/* The port stands at the same place in both families. */
static bool has_port(const struct sockaddr_storage *own)
{
	return ((const struct sockaddr_in *)own)->sin_port != 0;
}

/* Gives a socket a port of the kernel's choice, if it has none. */
static int take_port(int descriptor)
{
	struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
	socklen_t length = sizeof(own);
	const int off = 0;

	if (getsockname(descriptor, (struct sockaddr *)&own, &length) < 0)
		return -1;
	if (has_port(&own))
		return 0;
	next(setsockopt)(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &off, sizeof(off));
	if (next(bind)(descriptor, (struct sockaddr *)&own, length) == 0)
		return 0;
	/* Another thread may have been faster. */
	if (errno == EINVAL && getsockname(descriptor, (struct sockaddr *)&own, &length) == 0 && has_port(&own))
		return 0;
	return -1;
}

int pcb_confirm(int descriptor, const struct sockaddr *remote, socklen_t length)
{
	if (take_port(descriptor) < 0)
		return -1;
	return pcb_tell_bound(descriptor, remote, length);
}

bool pcb_was_confirmed(int descriptor)
{
	return descriptor >= 0 && descriptor < REMEMBERED && confirmed[descriptor];
}

bool pcb_stands(int descriptor)
{
	return pcb_was_confirmed(descriptor) &&
	       confirmed_in[descriptor] == __atomic_load_n(&generation, __ATOMIC_ACQUIRE) && daemon_lives();
}

int pcb_confirm_once(int descriptor)
{
	if (pcb_stands(descriptor) && confirmed[descriptor] == cookie(descriptor))
		return 0;
	return pcb_confirm(descriptor, NULL, 0);
}
