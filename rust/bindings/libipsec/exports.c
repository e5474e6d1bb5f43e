/*
 * The calls of ipsec_set_policy(3), once for each dialect: the headers of a dialect choose its names.
 * No parsing may enter.
 * Answers to: ipsec_set_policy(3), ipsec_strerror(3).
 *
 * A program that was compiled with the headers of `sallet config --dialect kame` calls sallet_kame_ipsec_set_policy
 * under the name ipsec_set_policy. The bare names are for programs that declare the calls themselves: what is
 * compiled on Linux speaks Linux' dialect unless it says otherwise.
 */
#include <string.h>
#include <sys/types.h>

#include "policy.h"

#define EXPORTED __attribute__((visibility("default")))

static char *set_policy(const char *text, int length, const struct dialect *dialect)
{
	if (!text || length < 0) {
		sallet_fail(INVALID_ARGUMENT);
		return NULL;
	}
	return sallet_read_policy(text, strnlen(text, (size_t)length), dialect);
}

#define CALLS(prefix, dialect)                                                                                         \
	EXPORTED caddr_t prefix##ipsec_set_policy(const char *text, int length);                                       \
	EXPORTED char *prefix##ipsec_dump_policy(const void *policy, const char *delimiter);                           \
	EXPORTED char *prefix##ipsec_dump_policy_withports(const void *policy, const char *delimiter);                 \
	caddr_t prefix##ipsec_set_policy(const char *text, int length)                                                 \
	{                                                                                                              \
		return set_policy(text, length, &dialect);                                                             \
	}                                                                                                              \
	char *prefix##ipsec_dump_policy(const void *policy, const char *delimiter)                                     \
	{                                                                                                              \
		return sallet_show_policy(policy, delimiter, false, &dialect);                                         \
	}                                                                                                              \
	char *prefix##ipsec_dump_policy_withports(const void *policy, const char *delimiter)                           \
	{                                                                                                              \
		return sallet_show_policy(policy, delimiter, true, &dialect);                                          \
	}

CALLS(sallet_kame_, sallet_kame)
CALLS(sallet_netbsd_, sallet_netbsd)
CALLS(sallet_freebsd_, sallet_freebsd)
CALLS(sallet_linux_, sallet_linux)
CALLS(, sallet_linux)

EXPORTED int ipsec_get_policylen(const void *policy);
EXPORTED const char *ipsec_strerror(void);

int ipsec_get_policylen(const void *policy)
{
	if (!policy) {
		sallet_fail(INVALID_ARGUMENT);
		return -1;
	}
	return sallet_half(policy) * WORD_BYTES;
}

const char *ipsec_strerror(void)
{
	return sallet_failure_text();
}
