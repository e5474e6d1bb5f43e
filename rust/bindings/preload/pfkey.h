/*
 * What PF_KEY sockets ask of the calls that other files own.
 * No implementation may enter.
 * Answers to: RFC 2367 section 1.3.
 */
#ifndef SALLET_PFKEY_H
#define SALLET_PFKEY_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Says whether a descriptor is a PF_KEY socket of ours. */
bool pfkey_is(int descriptor);

/* Says what a PF_KEY socket answers to SO_DOMAIN, SO_TYPE or SO_PROTOCOL; false for every other option. */
bool pfkey_option(int level, int option, int *value);

/* Gives `sent` back, the outcome of sending `parts`; if they were a PF_KEY request, when its reply is there. */
ssize_t pfkey_sent(int descriptor, const struct iovec *parts, int count, ssize_t sent);

#endif
