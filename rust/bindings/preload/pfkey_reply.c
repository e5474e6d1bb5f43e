/*
 * Lets a call that sends a PF_KEY request return when its reply is there, as it does with a kernel.
 * No message may be read away or changed: they are looked at where they wait.
 * Answers to: RFC 2367 section 1.3; AF_KEY of Linux, which answers within send(2); socket(7) for SO_PEEK_OFF.
 *
 * Programs count on it: OpenIKED gives a reply one millisecond, and the daemon may have to change routes first.
 */
#include "preload.h"
#include "pfkey.h"

#include <poll.h>
#include <string.h>
#include <time.h>

#define VERSION 2
#define ACQUIRE 6 /* which is answered to others, if at all */
#define REPLY_SECS 10
#define PAUSE_NSECS 200000

struct header {
	uint8_t version, type, error, satype;
	uint16_t words, reserved;
	uint32_t sequence, pid;
};

/* Copies the first octets of what was sent. */
static bool read_header(struct header *header, const struct iovec *parts, int count)
{
	size_t have = 0;

	for (int each = 0; each < count && have < sizeof(*header); each++) {
		size_t take = parts[each].iov_len;
		if (take > sizeof(*header) - have)
			take = sizeof(*header) - have;
		memcpy((char *)header + have, parts[each].iov_base, take);
		have += take;
	}
	return have == sizeof(*header);
}

static bool answers(const struct header *waiting, const struct header *request)
{
	return waiting->type == request->type && waiting->sequence == request->sequence &&
	       waiting->pid == request->pid;
}

enum sight { ABSENT, THERE, NEVER };

/* Looks through the messages that wait, from octet `*offset` on, which grows. */
static enum sight look(int descriptor, const struct header *request, int *offset)
{
	for (;;) {
		struct header waiting = {.version = 0};
		ssize_t size;

		if (next(setsockopt)(descriptor, SOL_SOCKET, SO_PEEK_OFF, offset, sizeof(*offset)) < 0)
			return NEVER;
		size = next(recv)(descriptor, &waiting, sizeof(waiting), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
		if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
			return NEVER;
		if (size < 0)
			return ABSENT;
		/* A bare header of the same version is how the daemon says that send() itself failed. */
		if (answers(&waiting, request))
			return THERE;
		*offset += (int)size;
	}
}

static bool late(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start->tv_sec >= REPLY_SECS;
}

static void wait_for(int descriptor, const struct header *request)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NSECS};
	const int whole = -1;
	struct timespec start;
	int offset = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (look(descriptor, request, &offset) == ABSENT && !late(&start)) {
		struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
		/* With others waiting already, poll() would return at once. */
		if (offset)
			nanosleep(&pause, NULL);
		else
			poll(&waiting, 1, 1000);
	}
	next(setsockopt)(descriptor, SOL_SOCKET, SO_PEEK_OFF, &whole, sizeof(whole));
}

ssize_t pfkey_sent(int descriptor, const struct iovec *parts, int count, ssize_t sent)
{
	struct header header;
	int before = errno;

	/* What cannot be a request costs no system call. */
	if (sent < (ssize_t)sizeof(header) || sent % 8 || !read_header(&header, parts, count))
		return sent;
	if (header.version == VERSION && header.words * 8 == sent && header.type != ACQUIRE && pfkey_is(descriptor))
		wait_for(descriptor, &header);
	errno = before;
	return sent;
}
