/*
 * One rule of a policy: `esp/tunnel/192.0.2.1-192.0.2.2/unique:7'.
 * No layout may enter: that is layout.c.
 * Answers to: ipsec_set_policy(3) of KAME, NetBSD, FreeBSD and ipsec-tools.
 */
#include <arpa/inet.h>
#include <string.h>

#include "reader.h"

/* The longest pair of ends: two IPv6 addresses with an IPv4 tail and a port each. */
enum { ENDS_BYTES_MAX = 127, PORT_DIGITS_MAX = 5 };

enum { PROTOCOLS = 4, MODES = 3, LEVELS = 4 };
static const char *const PROTOCOL_WORDS[PROTOCOLS] = {"esp", "ah", "ipcomp", "tcp"};
static const uint16_t PROTOCOL_NUMBERS[PROTOCOLS] = {IPPROTO_ESP, IPPROTO_AH, IPPROTO_COMP, IPPROTO_TCP};
static const char *const MODE_WORDS[MODES] = {"any", "transport", "tunnel"};
static const char *const LEVEL_WORDS[LEVELS] = {"default", "use", "require", "unique"};
static const char UNIQUE_COLON[] = "unique:";

static bool rule_begins(const struct reader *reader)
{
	return sallet_find_word(reader->token, PROTOCOL_WORDS, PROTOCOLS) < PROTOCOLS && sallet_is_word(reader->following, "/");
}

static bool at_level(const struct reader *reader)
{
	size_t length = strlen(UNIQUE_COLON);

	if (sallet_find_word(reader->token, LEVEL_WORDS, LEVELS) < LEVELS)
		return true;
	return reader->token.length >= length && !memcmp(reader->token.at, UNIQUE_COLON, length);
}

/* Without ends, two slashes stand before a level: one that follows the first stands where the ends do. */
static bool level_too_early(const struct reader *reader)
{
	struct token word = reader->token;
	const char *colon = word.length ? memchr(word.at, ':', word.length) : NULL;

	if (colon)
		word.length = (size_t)(colon - word.at);
	return sallet_find_word(word, LEVEL_WORDS, LEVELS) < LEVELS;
}

/* Reads ADDRESS or ADDRESS[PORT] that fills the text, or one of the words `me' and `any'. */
static bool read_end(char *text, struct end *end, const struct dialect *dialect)
{
	char *bracket = strchr(text, '[');
	size_t length = strlen(text);
	int64_t port = 0;

	memset(end, 0, sizeof(*end));
	if (bracket) {
		if (!dialect->ports || text[length - 1] != ']')
			return false;
		if (!sallet_read_digits(bracket + 1, (size_t)(text + length - 1 - (bracket + 1)), PORT_DIGITS_MAX, &port))
			return false;
		if (port > UINT16_MAX)
			return false;
		*bracket = '\0';
	}
	end->port = (uint16_t)port;
	if (inet_pton(AF_INET, text, end->address) == 1)
		end->bytes = 4;
	else if (inet_pton(AF_INET6, text, end->address) == 1)
		end->bytes = 16;
	return end->bytes != 0;
}

/* `me-any' are the ends of a socket's own packets outbound, `any-me' inbound: the same as none. */
static bool read_me_and_any(const struct reader *reader, const char *source, const char *destination, bool *read)
{
	bool outbound = !strcmp(source, "me") && !strcmp(destination, "any");

	*read = outbound || (!strcmp(source, "any") && !strcmp(destination, "me"));
	if (*read && outbound != (reader->direction == OUTBOUND)) {
		sallet_fail(INVALID_DIRECTION);
		return false;
	}
	return true;
}

static bool read_pair(const struct reader *reader, char *text, struct request *request)
{
	char *hyphen = strchr(text, '-');
	bool read;

	if (!hyphen || hyphen == text || !hyphen[1]) {
		sallet_fail(INVALID_ADDRESS);
		return false;
	}
	*hyphen = '\0';
	if (!read_me_and_any(reader, text, hyphen + 1, &read))
		return false;
	if (read)
		return true;
	if (!read_end(text, &request->source, reader->dialect) ||
	    !read_end(hyphen + 1, &request->destination, reader->dialect)) {
		sallet_fail(INVALID_ADDRESS);
		return false;
	}
	if (request->source.bytes != request->destination.bytes) {
		sallet_fail(FAMILY_MISMATCH);
		return false;
	}
	return true;
}

/* Reads SOURCE-DESTINATION where it stands: everything up to the next slash that is neither level nor rule. */
static bool read_ends(struct reader *reader, struct request *request)
{
	char text[ENDS_BYTES_MAX + 1];
	size_t length = 0;

	if (level_too_early(reader))
		return sallet_fail_here(reader, INVALID_PROTOCOL);
	while (reader->token.length && !sallet_is_word(reader->token, "/") && !rule_begins(reader) && !at_level(reader)) {
		if (reader->token.length > ENDS_BYTES_MAX - length)
			return sallet_fail_here(reader, INVALID_ADDRESS);
		memcpy(text + length, reader->token.at, reader->token.length);
		length += reader->token.length;
		sallet_step(reader);
	}
	text[length] = '\0';
	return !length || read_pair(reader, text, request);
}

/* Reads the N of unique:N, which may stand behind a blank. */
static bool read_reqid(struct reader *reader, struct token number, struct request *request)
{
	int64_t reqid = 0;

	if (!number.length && sallet_read_digits(reader->token.at, reader->token.length, DIGITS_MAX, &reqid)) {
		number = reader->token;
		sallet_step(reader);
	}
	if (request->level != UNIQUE || !sallet_read_digits(number.at, number.length, DIGITS_MAX, &reqid) || reqid < 1 ||
	    reqid > REQID_MAX) {
		sallet_fail(INVALID_LEVEL);
		return false;
	}
	request->reqid = (uint32_t)reqid;
	return true;
}

static bool read_level(struct reader *reader, struct request *request)
{
	struct token word = reader->token, number = {word.at, 0};
	const char *colon;
	unsigned level;

	if (!word.length || rule_begins(reader))
		return true;
	colon = memchr(word.at, ':', word.length);
	if (colon) {
		number.at = colon + 1;
		number.length = word.length - (size_t)(colon + 1 - word.at);
		word.length = (size_t)(colon - word.at);
	}
	level = sallet_find_word(word, LEVEL_WORDS, LEVELS);
	if (level == LEVELS)
		return sallet_fail_here(reader, INVALID_LEVEL);
	request->level = (uint8_t)level;
	sallet_step(reader);
	return !colon || read_reqid(reader, number, request);
}

static bool read_protocol(struct reader *reader, struct request *request)
{
	unsigned protocol = sallet_find_word(reader->token, PROTOCOL_WORDS, PROTOCOLS);

	if (protocol == PROTOCOLS || (PROTOCOL_NUMBERS[protocol] == IPPROTO_TCP && !reader->dialect->tcp))
		return sallet_fail_here(reader, INVALID_PROTOCOL);
	request->protocol = PROTOCOL_NUMBERS[protocol];
	sallet_step(reader);
	return true;
}

static bool read_mode(struct reader *reader, struct request *request)
{
	unsigned mode = sallet_find_word(reader->token, MODE_WORDS, MODES);

	if (mode == MODES || (mode == ANY_MODE && !reader->dialect->any_mode))
		return sallet_fail_here(reader, INVALID_MODE);
	request->mode = (uint8_t)mode;
	sallet_step(reader);
	return true;
}

bool sallet_read_request(struct reader *reader, struct request *request)
{
	memset(request, 0, sizeof(*request));
	if (!read_protocol(reader, request))
		return false;
	if (!sallet_take_word(reader, "/"))
		return sallet_fail_here(reader, SYNTAX);
	if (!read_mode(reader, request))
		return false;
	if (sallet_take_word(reader, "/") && !read_ends(reader, request))
		return false;
	/* A slash stands here only behind the ends. */
	if (sallet_take_word(reader, "/") && !read_level(reader, request))
		return false;
	if (request->mode == TUNNEL && !request->source.bytes)
		return sallet_fail_here(reader, INVALID_ADDRESS);
	return true;
}
