/*
 * Calls libipsec as programs do: a question a line on standard input, an answer a line on standard output.
 * Linked with the library's own sources, so that a sanitizer sees both. `--threads N` asks from N threads at once.
 *
 *   S DIALECT HEX   the bytes of the policy whose text HEX is, in hexadecimal
 *   D DIALECT HEX   the text of the policy whose bytes HEX is, its rules behind a '|'
 * A failure answers `! ` and ipsec_strerror(3).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct calls {
	const char *name;
	caddr_t (*set)(const char *, int);
	char *(*dump)(const void *, const char *);
};

#define DECLARE(prefix)                                                                                                \
	caddr_t prefix##ipsec_set_policy(const char *, int);                                                           \
	char *prefix##ipsec_dump_policy(const void *, const char *);
DECLARE(sallet_kame_)
DECLARE(sallet_netbsd_)
DECLARE(sallet_freebsd_)
DECLARE(sallet_linux_)
DECLARE()
int ipsec_get_policylen(const void *);
const char *ipsec_strerror(void);

static const struct calls CALLS[] = {
	{"kame", sallet_kame_ipsec_set_policy, sallet_kame_ipsec_dump_policy},
	{"netbsd", sallet_netbsd_ipsec_set_policy, sallet_netbsd_ipsec_dump_policy},
	{"freebsd", sallet_freebsd_ipsec_set_policy, sallet_freebsd_ipsec_dump_policy},
	{"linux", sallet_linux_ipsec_set_policy, sallet_linux_ipsec_dump_policy},
	{"bare", ipsec_set_policy, ipsec_dump_policy},
};

static const struct calls *find(const char *name)
{
	for (size_t at = 0; at < sizeof(CALLS) / sizeof(CALLS[0]); at++)
		if (!strcmp(CALLS[at].name, name))
			return &CALLS[at];
	fprintf(stderr, "no dialect %s\n", name);
	exit(2);
}

/* As long as what it holds, so that a sanitizer sees a step past its end. */
static char *from_hex(const char *hex, size_t *length)
{
	*length = strlen(hex) / 2;
	char *bytes = malloc(*length ? *length : 1);
	if (!bytes)
		exit(2);
	for (size_t at = 0; at < *length; at++) {
		unsigned value;
		if (sscanf(hex + 2 * at, "%2x", &value) != 1)
			exit(2);
		bytes[at] = (char)value;
	}
	return bytes;
}

static void answer(const char *line)
{
	char verb, dialect[16];
	int at = 0;
	size_t length;
	if (sscanf(line, "%c %15s %n", &verb, dialect, &at) != 2 || !at)
		exit(2);
	const struct calls *calls = find(dialect);
	char *bytes = from_hex(line + at, &length), *made;
	if (verb == 'S') {
		made = calls->set(bytes, (int)length);
		for (int byte = 0; made && byte < ipsec_get_policylen(made); byte++)
			printf("%02x", (unsigned char)made[byte]);
	} else {
		made = calls->dump(bytes, "|");
		if (made)
			fputs(made, stdout);
	}
	if (made)
		puts("");
	else
		printf("! %s\n", ipsec_strerror());
	free(made);
	free(bytes);
}

/* Every thread fails in its own way, and must find its own words. */
static void *disagree(void *number)
{
	static const char *const WORDS[] = {"Invalid ipsec mode", "Invalid ipsec level", "Family mismatch", "Success"};
	static const char *const TEXTS[] = {
		"in ipsec esp/no",
		"in ipsec esp/transport//no",
		"in ipsec esp/tunnel/::1-192.0.2.1",
		"in ipsec esp/transport//use",
	};
	size_t kind = (size_t)number % 4;
	for (int round = 0; round < 2000; round++) {
		char *made = ipsec_set_policy(TEXTS[kind], (int)strlen(TEXTS[kind]));
		if (strcmp(ipsec_strerror(), WORDS[kind]))
			exit(3);
		free(made);
	}
	return NULL;
}

static int threads(size_t count)
{
	pthread_t started[64];
	for (size_t at = 0; at < count; at++)
		if (pthread_create(&started[at], NULL, disagree, (void *)at))
			return 2;
	for (size_t at = 0; at < count; at++)
		pthread_join(started[at], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static char line[1 << 20];
	if (argc == 3 && !strcmp(argv[1], "--threads"))
		return threads((size_t)atoi(argv[2]) % 65);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(line);
		fflush(stdout);
	}
	return 0;
}
