/*
 * Policy strings, whole: `out ipsec esp/transport//require'.
 * No layout may enter: that is layout.c.
 * Answers to: ipsec_set_policy(3) of KAME, NetBSD, FreeBSD and ipsec-tools.
 */
#include <stdlib.h>
#include <string.h>

#include "reader.h"

enum { ACTIONS = 5 };
static const char *const ACTION_WORDS[ACTIONS] = {"discard", "none", "ipsec", "entrust", "bypass"};

static bool read_direction(struct reader *reader)
{
	if (sallet_is_word(reader->token, "in"))
		reader->direction = INBOUND;
	else if (sallet_is_word(reader->token, "out"))
		reader->direction = OUTBOUND;
	else if (sallet_is_word(reader->token, "fwd"))
		reader->direction = reader->dialect->forward ? FORWARD : INBOUND;
	else
		return sallet_fail_here(reader, SYNTAX);
	sallet_step(reader);
	return true;
}

static bool read_requests(struct reader *reader, struct bytes *into)
{
	struct request request;

	while (reader->token.length) {
		if (!sallet_read_request(reader, &request))
			return false;
		sallet_emit_request(into, &request, reader->dialect);
	}
	return true;
}

static bool read_whole(struct reader *reader, struct bytes *into)
{
	bool bare = !reader->following.length;
	uint32_t priority;
	unsigned action;

	if (!read_direction(reader) || !sallet_read_priority(reader, &priority))
		return false;
	action = sallet_find_word(reader->token, ACTION_WORDS, ACTIONS);
	if (bare)
		action = DISCARD;
	else if (action == ACTIONS)
		return sallet_fail_here(reader, SYNTAX);
	else
		sallet_step(reader);
	sallet_emit_policy(into, action, reader->direction, priority);
	if (action == IPSEC && !read_requests(reader, into))
		return false;
	return !reader->token.length || sallet_fail_here(reader, SYNTAX);
}

/* A policy string holds one policy, so a semicolon offends before anything else does. */
static bool has_semicolon(const char *text, const char *end)
{
	struct token token = sallet_take_token(&text, end);

	while (token.length) {
		if (sallet_is_word(token, ";")) {
			sallet_fail_at(token.at, token.length);
			return true;
		}
		token = sallet_take_token(&text, end);
	}
	return false;
}

static bool set_length(struct bytes *policy)
{
	size_t words = policy->length / WORD_BYTES;
	uint16_t length = (uint16_t)words;

	if (policy->failed || words > UINT16_MAX) {
		sallet_fail(NO_BUFFERS);
		return false;
	}
	memcpy(policy->data, &length, sizeof(length));
	return true;
}

char *sallet_read_policy(const char *text, size_t length, const struct dialect *dialect)
{
	struct reader reader = {.next = text, .end = text + length, .dialect = dialect};
	struct bytes policy = {0};

	sallet_step(&reader);
	sallet_step(&reader);
	if (has_semicolon(text, text + length) || !read_whole(&reader, &policy) || !set_length(&policy)) {
		free(policy.data);
		return NULL;
	}
	sallet_fail(SUCCESS);
	return policy.data;
}
