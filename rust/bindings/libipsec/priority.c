/*
 * The priority of a policy: `prio high -10', `-7'.
 * No rule may enter.
 * Answers to: ipsec_set_policy(3) of ipsec-tools.
 */
#include <string.h>

#include "reader.h"

enum { BASES = 3 };
static const char *const BASE_WORDS[BASES] = {"low", "def", "high"};
static const int64_t PRIORITY_STEP = 0x40000000, PRIORITY_MIDDLE = 0x80000000;

/* Reads `+ 1` or `+1` behind low, def or high where it stands. */
static bool read_offset(struct reader *reader, int64_t *offset)
{
	bool minus = sallet_is_word(reader->token, "-");

	*offset = 0;
	if (minus || sallet_is_word(reader->token, "+")) {
		sallet_step(reader);
		if (!sallet_read_digits(reader->token.at, reader->token.length, DIGITS_MAX, offset))
			return sallet_fail_here(reader, SYNTAX);
		if (minus)
			*offset = -*offset;
		sallet_step(reader);
	} else if (sallet_has_sign(reader->token.at, reader->token.length) &&
		   sallet_read_signed(reader->token.at, reader->token.length, offset)) {
		sallet_step(reader);
	}
	return true;
}

/* Reads `high-10`, all in one word. */
static bool read_glued(struct token token, unsigned *base, int64_t *offset)
{
	for (*base = 0; *base < BASES; ++*base) {
		size_t length = strlen(BASE_WORDS[*base]);
		if (token.length > length && !memcmp(token.at, BASE_WORDS[*base], length) &&
		    sallet_has_sign(token.at + length, token.length - length))
			return sallet_read_signed(token.at + length, token.length - length, offset);
	}
	return false;
}

static bool read_wanted(struct reader *reader, int64_t *wanted)
{
	unsigned base;

	if (read_glued(reader->token, &base, wanted)) {
		sallet_step(reader);
	} else if ((base = sallet_find_word(reader->token, BASE_WORDS, BASES)) < BASES) {
		sallet_step(reader);
		if (!read_offset(reader, wanted))
			return false;
	} else {
		if (!sallet_read_signed(reader->token.at, reader->token.length, wanted))
			return sallet_fail_here(reader, SYNTAX);
		sallet_step(reader);
		return true;
	}
	*wanted += ((int64_t)base - 1) * PRIORITY_STEP;
	return true;
}

/* Reads `prio ...` or a bare `-N` where one stands. */
bool sallet_read_priority(struct reader *reader, uint32_t *priority)
{
	bool word = sallet_is_word(reader->token, "prio") || sallet_is_word(reader->token, "priority");
	int64_t wanted;

	*priority = reader->dialect->priority ? (uint32_t)PRIORITY_MIDDLE : 0;
	if (!word && (!reader->token.length || reader->token.at[0] != '-' ||
		      !sallet_read_signed(reader->token.at, reader->token.length, &wanted)))
		return true;
	if (!reader->dialect->priority)
		return sallet_fail_here(reader, reader->dialect->priority_words ? NO_PRIORITY : SYNTAX);
	if (word)
		sallet_step(reader);
	if (!read_wanted(reader, &wanted))
		return false;
	wanted = PRIORITY_MIDDLE - wanted;
	if (wanted <= 0 || wanted > UINT32_MAX)
		return sallet_fail_here(reader, BAD_PRIORITY);
	*priority = (uint32_t)wanted;
	return true;
}
