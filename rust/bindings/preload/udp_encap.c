/*
 * UDP_ENCAP: makes a program's UDP socket an endpoint of NAT traversal, where ESP in UDP goes to the daemon.
 * No datagram may be looked at: the kernel sorts them, by the program of the daemon's SO_REUSEPORT group.
 * Answers to: udp(7) of Linux, udp(4) of the BSDs; RFC 3948 section 2.2.
 *
 * That a socket is one is a bit of its mark, so it is known in whatever process the socket comes to.
 */
#include "udp_encap.h"
#include "pcb.h"

#include <netinet/in.h>
#include <string.h>

#define ESP_IN_UDP 2

/* FreeBSD's number is UDP_CORK here, so the value has to be right as well: nobody corks with a 2. */
static const int OPTIONS[] = {
	[PCB_DIALECT_LINUX] = 100,
	[PCB_DIALECT_KAME] = -1,
	[PCB_DIALECT_NETBSD] = 100,
	[PCB_DIALECT_FREEBSD] = 1,
};

static bool names_encap(int level, int option)
{
	return level == IPPROTO_UDP && option == OPTIONS[dialect()];
}

bool udp_encap_is_set(int descriptor, int level, int option, const void *value, socklen_t length)
{
	int wanted;

	if (!value || length != sizeof(wanted) || !names_encap(level, option))
		return false;
	memcpy(&wanted, value, sizeof(wanted));
	/* Other values are other protocols, which are the kernel's. */
	return wanted == ESP_IN_UDP || (wanted == 0 && pcb_mark(descriptor) & PCB_MARK_ENCAP);
}

static int ask(int descriptor, uint32_t value)
{
	struct pcb_request request = {.kind = PCB_ENCAP, .level = IPPROTO_UDP, .value = value};
	int reason = pcb_ask(&request, NULL, &descriptor, 1, NULL, NULL);

	return reason ? refused(reason) : 0;
}

int udp_encap_set(int descriptor, const void *value)
{
	int wanted;

	memcpy(&wanted, value, sizeof(wanted));
	return ask(descriptor, (uint32_t)wanted);
}

bool udp_encap_is_asked(int descriptor, int level, int option, int *value)
{
	if (!names_encap(level, option) || !(pcb_mark(descriptor) & PCB_MARK_ENCAP))
		return false;
	*value = ESP_IN_UDP;
	return true;
}

int udp_encap_bound(int descriptor)
{
	return pcb_mark(descriptor) & PCB_MARK_ENCAP ? ask(descriptor, ESP_IN_UDP) : 0;
}
