/*
 * The calls of libipsec. SALLET_PREFIX names the dialect whose layout they speak; the names in the library begin
 * with it, so that one library serves programs of every dialect, each with the numbers that it was compiled with.
 * Answers to: ipsec_set_policy(3), ipsec_strerror(3).
 */
#ifndef SALLET_SHARED_POLICY_CALLS_H
#define SALLET_SHARED_POLICY_CALLS_H

#define SALLET_CALL(name) __asm__(SALLET_PREFIX #name)

#ifdef __cplusplus
extern "C" {
#endif

/* Makes a policy of a text of that length; the caller frees it. NULL: ipsec_strerror() says why. */
char *ipsec_set_policy(const char *policy, int length) SALLET_CALL(ipsec_set_policy);

/* Gives the length of a policy in bytes. */
int ipsec_get_policylen(const void *policy);

/* Makes a text of a policy, with the delimiter (NULL: a blank) before each rule; the caller frees it. */
char *ipsec_dump_policy(const void *policy, const char *delimiter) SALLET_CALL(ipsec_dump_policy);

/* The same with the ports of every end, also where they are 0. */
char *ipsec_dump_policy_withports(const void *policy, const char *delimiter) SALLET_CALL(ipsec_dump_policy_withports);

/* Says why the last call of this thread failed. */
const char *ipsec_strerror(void);

#ifdef __cplusplus
}
#endif

#endif
