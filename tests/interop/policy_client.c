/*
 * What a program does whose SYNOPSIS stands before this text: one protected flow, and one that is not.
 * No header of one system may enter: they come from its manual page.
 * Answers to: ipsec(4), ipsec_set_policy(3), setsockopt(2).
 */
#include <sys/socket.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int family, level, option;

static int set(int descriptor, const char *text)
{
	char *policy = ipsec_set_policy((char *)text, (int)strlen(text));
	int outcome;

	if (!policy) {
		printf("%s: %s\n", text, ipsec_strerror());
		exit(1);
	}
	outcome = setsockopt(descriptor, level, option, policy, (socklen_t)ipsec_get_policylen(policy));
	free(policy);
	return outcome;
}

/* The buffer comes with the direction. */
static char *get(int descriptor, int direction)
{
	static char buffer[512];
	struct sadb_x_policy *asked = (struct sadb_x_policy *)(void *)buffer;
	socklen_t length = sizeof(buffer);

	memset(buffer, 0, sizeof(buffer));
	asked->sadb_x_policy_len = 2;
	asked->sadb_x_policy_exttype = SADB_X_EXT_POLICY;
	asked->sadb_x_policy_dir = (unsigned char)direction;
	if (getsockopt(descriptor, level, option, buffer, &length) < 0)
		return strerror(errno);
	return ipsec_dump_policy(buffer, " ");
}

static int reach(int descriptor, const char *address, int port)
{
	struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	struct sockaddr_in6 inet6 = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};

	inet_pton(AF_INET, address, &inet.sin_addr);
	inet_pton(AF_INET6, address, &inet6.sin6_addr);
	return family == AF_INET ? connect(descriptor, (struct sockaddr *)&inet, sizeof(inet))
				 : connect(descriptor, (struct sockaddr *)&inet6, sizeof(inet6));
}

static void exchange(int descriptor, const char *name, const char *text)
{
	char answer[256] = "";

	if (write(descriptor, text, strlen(text)) < 0 || read(descriptor, answer, sizeof(answer) - 1) < 0)
		printf("%s: %s\n", name, strerror(errno));
	else
		printf("%s %s\n", name, strcmp(answer, text) == 0 ? "came back" : "was changed");
}

static int opened(void)
{
	struct timeval patience = {.tv_sec = 5};
	int descriptor = socket(family, SOCK_STREAM, 0);

	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return descriptor;
}

int main(int count, char **words)
{
	int one, other;

	if (count < 6)
		return 2;
	family = strchr(words[1], ':') ? AF_INET6 : AF_INET;
	level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	option = family == AF_INET ? IP_IPSEC_POLICY : IPV6_IPSEC_POLICY;
	one = opened();
	other = opened();
	if (strcmp(get(one, IPSEC_DIR_OUTBOUND), "out entrust") == 0)
		puts("entrust at first");
	if (set(one, "out ipsec esp/transport//require") || set(one, "in ipsec esp/transport//require"))
		perror("set");
	puts(get(one, IPSEC_DIR_OUTBOUND));
	puts(get(one, IPSEC_DIR_INBOUND));
	if (reach(one, words[1], atoi(words[2])) || reach(other, words[1], atoi(words[3])))
		perror("connect");
	exchange(one, "protected", words[4]);
	exchange(other, "clear", words[5]);
	for (int each = 0; each < 2; each++) {
		const char *name = each ? "none" : "discard";
		char text[32];
		snprintf(text, sizeof(text), "out %s", name);
		printf("%s: %s\n", name, set(other, text) ? strerror(errno) : "taken");
	}
	if (setuid(65534) < 0)
		perror("setuid");
	printf("bypass without privilege: %s\n", set(other, "out bypass") ? strerror(errno) : "taken");
	return 0;
}
