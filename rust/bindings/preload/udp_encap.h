/*
 * What UDP_ENCAP asks of the calls that other files own.
 * No implementation may enter.
 * Answers to: udp(7), RFC 3948 section 2.2.
 */
#ifndef SALLET_UDP_ENCAP_H
#define SALLET_UDP_ENCAP_H

#include "preload.h"

/* Says whether setsockopt() asks for ESP in UDP, or for its end at a socket that has it. */
bool udp_encap_is_set(int descriptor, int level, int option, const void *value, socklen_t length);

/* Does so: 0, or -1 and errno. */
int udp_encap_set(int descriptor, const void *value);

/* Says whether getsockopt() asks about a socket that has ESP in UDP; if so, `*value` is the answer. */
bool udp_encap_is_asked(int descriptor, int level, int option, int *value);

/* Lets an endpoint begin that was asked for before its socket had a port: 0, or -1 and errno. */
int udp_encap_bound(int descriptor);

#endif
