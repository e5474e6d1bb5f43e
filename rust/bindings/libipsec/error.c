/*
 * The reason of the last failure, one for each thread, and its words.
 * No policy may be read here.
 * Answers to: ipsec_strerror(3), whose texts the tools print bare.
 */
#include <stdio.h>

#include "policy.h"

enum { TEXT_BYTES = 96, TOKEN_BYTES_MAX = 48 };

static _Thread_local enum failure last;
static _Thread_local char syntax[TEXT_BYTES];

static const char *const TEXTS[] = {
	"Success",
	"Not supported",
	"Invalid argument",
	"Invalid sadb message",
	"Invalid version",
	"Invalid security policy",
	"Invalid address specification",
	"Invalid ipsec protocol",
	"Invalid ipsec mode",
	"Invalid ipsec level",
	"Invalid SA type",
	"Invalid message type",
	"Invalid extension type",
	"Invalid algorithm type",
	"Invalid key length",
	"Invalid address family",
	"Invalid prefix length",
	"Invalid direciton", /* as every library spells it */
	"SPI range violation",
	"No protocol specified",
	"No algorithm specified",
	"No buffers available",
	"Must get supported algorithms list first",
	"Protocol mismatch",
	"Family mismatch",
	"Too few arguments",
	NULL,
	"Priority out of range",
	"Policies carry no priority here",
	"Unknown error",
};

_Static_assert(sizeof(TEXTS) / sizeof(TEXTS[0]) == UNKNOWN_FAILURE + 1, "a text for every failure");

void sallet_fail(enum failure failure)
{
	last = failure;
}

void sallet_fail_at(const char *token, size_t length)
{
	int shown = length > TOKEN_BYTES_MAX ? TOKEN_BYTES_MAX : (int)length;

	last = SYNTAX;
	if (length)
		snprintf(syntax, sizeof(syntax), "syntax error at [%.*s]", shown, token);
	else
		snprintf(syntax, sizeof(syntax), "syntax error: the policy ends too early");
}

const char *sallet_failure_text(void)
{
	return last == SYNTAX ? syntax : TEXTS[last];
}
