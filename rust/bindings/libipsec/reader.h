/*
 * The walk over the tokens of a policy string, and what its readers share.
 * No layout may enter.
 * Answers to: ipsec_set_policy(3) of KAME, NetBSD, FreeBSD and ipsec-tools.
 */
#ifndef SALLET_LIBIPSEC_READER_H
#define SALLET_LIBIPSEC_READER_H

#include "policy.h"

enum { DIGITS_MAX = 10 };

struct token {
	const char *at;
	size_t length; /* 0 at the end of the text */
};

/* A walk over the text: the token under the eye and the one behind it. */
struct reader {
	const char *next, *end;
	struct token token, following;
	const struct dialect *dialect;
	unsigned direction;
};

struct token sallet_take_token(const char **next, const char *end);
void sallet_step(struct reader *reader);
bool sallet_is_word(struct token token, const char *word);
bool sallet_take_word(struct reader *reader, const char *word);
unsigned sallet_find_word(struct token token, const char *const *words, unsigned count);

/* The number must fill the text. */
bool sallet_read_digits(const char *at, size_t length, size_t most, int64_t *number);
bool sallet_read_signed(const char *at, size_t length, int64_t *number);
bool sallet_has_sign(const char *at, size_t length);

/* These leave the reason with the thread where they give false. */
bool sallet_fail_here(const struct reader *reader, enum failure failure);
bool sallet_read_priority(struct reader *reader, uint32_t *priority);
bool sallet_read_request(struct reader *reader, struct request *request);

#endif
