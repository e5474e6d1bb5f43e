/*
 * A policy in bytes as the text that it is read from.
 * No layout may enter: that is layout.c.
 * Answers to: ipsec_dump_policy(3).
 */
#include <stdlib.h>
#include <string.h>

#include "policy.h"

/* Behind the third list, where there is one, stand those of a socket's own policies. */
static const char *const DIRECTIONS[] = {"any", "in", "out", "fwd", "in(socket)", "out(socket)"};
enum { DIRECTIONS_WITHOUT_SOCKETS = 4 };
static const char *const ACTIONS[] = {"discard", "none", "ipsec", "entrust", "bypass"};
static const char *const MODES[] = {"any", "transport", "tunnel"};
static const char *const LEVELS[] = {"default", "use", "require", "unique"};

#define WORDS(table) table, sizeof(table) / sizeof(table[0])

static void show_word(struct bytes *into, unsigned number, const char *const *words, size_t count)
{
	if (number < count)
		sallet_append_text(into, "%s", words[number]);
	else
		sallet_append_text(into, "%u", number);
}

static void show_protocol(struct bytes *into, unsigned protocol)
{
	switch (protocol) {
	case IPPROTO_ESP:
		sallet_append_text(into, "esp");
		break;
	case IPPROTO_AH:
		sallet_append_text(into, "ah");
		break;
	case IPPROTO_COMP:
		sallet_append_text(into, "ipcomp");
		break;
	case IPPROTO_TCP:
		sallet_append_text(into, "tcp");
		break;
	default:
		sallet_append_text(into, "%u", protocol);
	}
}

/* By its distance from the nearest of high, def and low. */
static void show_priority(struct bytes *into, uint32_t priority)
{
	const int64_t middle = 0x80000000, step = 0x40000000;
	const char *word = "low";
	int64_t offset, base = middle + step;

	if (priority < middle / 4 * 3) {
		word = "high";
		base = middle - step;
	} else if (priority < middle / 4 * 5) {
		word = "def";
		base = middle;
	}
	offset = base - (int64_t)priority;
	sallet_append_text(into, " prio %s", word);
	if (offset)
		sallet_append_text(into, " %c %lld", offset > 0 ? '+' : '-', (long long)(offset > 0 ? offset : -offset));
}

enum { GROUPS = 8 };

/* The first of the longest runs of zero groups, if it is longer than one (RFC 5952 section 4.2). */
static void find_zeros(const unsigned *groups, unsigned *at, unsigned *length)
{
	unsigned run = 0;

	*at = GROUPS;
	*length = 1;
	for (unsigned group = 0; group < GROUPS; group++) {
		run = groups[group] ? 0 : run + 1;
		if (run > *length) {
			*length = run;
			*at = group + 1 - run;
		}
	}
}

/* inet_ntop(3) writes the ends of ::1.0.0.2 as IPv4; here every address is written in groups. */
static void show_inet6(struct bytes *into, const uint8_t *address)
{
	unsigned groups[GROUPS], zeros, zeros_length;

	for (unsigned group = 0; group < GROUPS; group++)
		groups[group] = (unsigned)address[2 * group] << 8 | address[2 * group + 1];
	find_zeros(groups, &zeros, &zeros_length);
	for (unsigned group = 0; group < GROUPS; group++) {
		if (group == zeros) {
			sallet_append_text(into, "::");
			group += zeros_length - 1;
		} else {
			bool first = group == 0 || (zeros < GROUPS && group == zeros + zeros_length);
			sallet_append_text(into, first ? "%x" : ":%x", groups[group]);
		}
	}
}

static void show_end(struct bytes *into, const struct end *end, bool every_port)
{
	const uint8_t *four = end->address;

	if (end->bytes == 4)
		sallet_append_text(into, "%u.%u.%u.%u", four[0], four[1], four[2], four[3]);
	else
		show_inet6(into, end->address);
	if (end->port || every_port)
		sallet_append_text(into, "[%u]", end->port);
}

/* Where nobody tells who chose an id, the system chose those that a person could not. */
static bool is_made(const struct request *request, const uint8_t *policy, unsigned nth, const struct dialect *dialect)
{
	if (dialect->marks_made_reqids)
		return nth < 8 && policy[7] >> nth & 1;
	return request->reqid > MANUAL_REQID_MAX;
}

static void show_request(struct bytes *into, const struct request *request, bool made, bool every_port)
{
	show_protocol(into, request->protocol);
	sallet_append_text(into, "/");
	show_word(into, request->mode, WORDS(MODES));
	sallet_append_text(into, "/");
	if (request->source.bytes) {
		show_end(into, &request->source, every_port);
		sallet_append_text(into, "-");
		show_end(into, &request->destination, every_port);
	}
	sallet_append_text(into, "/");
	if (request->reqid)
		sallet_append_text(into, "unique%c%lu", made ? '#' : ':', (unsigned long)request->reqid);
	else
		show_word(into, request->level, WORDS(LEVELS));
}

static bool show_requests(struct bytes *into, const uint8_t *policy, size_t length, const char *delimiter,
			  bool every_port, const struct dialect *dialect)
{
	size_t at = POLICY_BYTES, head = dialect->wide_requests ? WIDE_REQUEST_BYTES : NARROW_REQUEST_BYTES, size;
	struct request request;
	unsigned nth = 0;

	while (at < length) {
		if (length - at < head)
			return false;
		size = sallet_half(policy + at);
		if (size < head || size > length - at)
			return false;
		if (!sallet_parse_request(policy + at, size, &request, dialect))
			return false;
		sallet_append(into, delimiter, strlen(delimiter));
		show_request(into, &request, is_made(&request, policy, nth, dialect), every_port);
		nth++;
		at += size;
	}
	return true;
}

static void show_head(struct bytes *into, const uint8_t *policy, const struct dialect *dialect)
{
	size_t every = sizeof(DIRECTIONS) / sizeof(DIRECTIONS[0]);
	uint32_t priority = sallet_word(policy + 12);

	show_word(into, policy[6], DIRECTIONS, dialect->forward ? every : DIRECTIONS_WITHOUT_SOCKETS);
	if (dialect->priority && priority)
		show_priority(into, priority);
	sallet_append_text(into, " ");
	show_word(into, sallet_half(policy + 4), WORDS(ACTIONS));
}

char *sallet_show_policy(const void *policy, const char *delimiter, bool every_port, const struct dialect *dialect)
{
	const uint8_t *bytes = policy;
	struct bytes text = {0};
	size_t length;

	if (!bytes) {
		sallet_fail(INVALID_ARGUMENT);
		return NULL;
	}
	length = (size_t)sallet_half(bytes) * WORD_BYTES;
	if (length < POLICY_BYTES || sallet_half(bytes + 2) != POLICY_EXTENSION) {
		sallet_fail(INVALID_POLICY);
		return NULL;
	}
	show_head(&text, bytes, dialect);
	if (!show_requests(&text, bytes, length, delimiter ? delimiter : " ", every_port, dialect)) {
		free(text.data);
		sallet_fail(INVALID_POLICY);
		return NULL;
	}
	sallet_append(&text, "", 1);
	if (text.failed) {
		free(text.data);
		sallet_fail(NO_BUFFERS);
		return NULL;
	}
	sallet_fail(SUCCESS);
	return text.data;
}
