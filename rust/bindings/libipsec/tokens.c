/*
 * Cuts a policy string into tokens, and reads numbers.
 * No word of the grammar may enter.
 * Answers to: ipsec_set_policy(3) of KAME, NetBSD, FreeBSD and ipsec-tools.
 */
#include <string.h>

#include "reader.h"

static bool is_blank(char character)
{
	return character && strchr(" \t\r\f\v\n", character);
}

static bool ends_word(char character)
{
	return is_blank(character) || strchr("#;\"/[],", character);
}

/* Where the token that begins here ends; a quotation mark that never closes stands alone. */
static const char *token_end(const char *at, const char *end)
{
	const char *behind = at + 1;

	if (*at == '"') {
		while (behind < end && *behind != '"' && *behind != '\n')
			behind++;
		return behind < end && *behind == '"' ? behind + 1 : at + 1;
	}
	if (ends_word(*at))
		return behind;
	while (behind < end && !ends_word(*behind))
		behind++;
	return behind;
}

/* Blanks separate, and a comment reaches to the end of its line. */
struct token sallet_take_token(const char **next, const char *end)
{
	struct token token = {end, 0};
	const char *at = *next;

	for (;;) {
		while (at < end && is_blank(*at))
			at++;
		if (at >= end || *at != '#')
			break;
		while (at < end && *at != '\n')
			at++;
	}
	if (at < end) {
		token.at = at;
		at = token_end(at, end);
		token.length = (size_t)(at - token.at);
	}
	*next = at;
	return token;
}

void sallet_step(struct reader *reader)
{
	reader->token = reader->following;
	reader->following = sallet_take_token(&reader->next, reader->end);
}

bool sallet_is_word(struct token token, const char *word)
{
	return token.length == strlen(word) && !memcmp(token.at, word, token.length);
}

bool sallet_fail_here(const struct reader *reader, enum failure failure)
{
	if (failure == SYNTAX)
		sallet_fail_at(reader->token.at, reader->token.length);
	else
		sallet_fail(failure);
	return false;
}

bool sallet_take_word(struct reader *reader, const char *word)
{
	if (!sallet_is_word(reader->token, word))
		return false;
	sallet_step(reader);
	return true;
}

/* The place of a word in a list, or the length of the list. */
unsigned sallet_find_word(struct token token, const char *const *words, unsigned count)
{
	unsigned number = 0;

	while (number < count && !sallet_is_word(token, words[number]))
		number++;
	return number;
}

/* Reads 1 to `most` digits that fill the text. */
bool sallet_read_digits(const char *at, size_t length, size_t most, int64_t *number)
{
	*number = 0;
	if (!length || length > most)
		return false;
	for (; length; at++, length--) {
		if (*at < '0' || *at > '9')
			return false;
		*number = *number * 10 + (*at - '0');
	}
	return true;
}

bool sallet_has_sign(const char *at, size_t length)
{
	return length && (*at == '+' || *at == '-');
}

bool sallet_read_signed(const char *at, size_t length, int64_t *number)
{
	size_t sign = sallet_has_sign(at, length);

	if (!sallet_read_digits(at + sign, length - sign, DIGITS_MAX, number))
		return false;
	if (sign && *at == '-')
		*number = -*number;
	return true;
}
