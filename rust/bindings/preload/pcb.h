/*
 * Asking the daemon about a socket.
 * No call of the program's may enter.
 * Answers to: pcb_protocol.h.
 */
#ifndef SALLET_PCB_H
#define SALLET_PCB_H

#include "preload.h"
#include "pcb_protocol.h"

/*
 * Sends one request with its descriptors and waits for the reply: 0, or an errno, which is EHOSTUNREACH if there
 * is no daemon. Policy bytes of the reply go to `answer`, whose size goes in and whose use comes out.
 */
int pcb_ask(struct pcb_request *request, const void *policy, const int *descriptors, int count, void *answer,
	    size_t *answer_bytes);

/* Keeps a way to the daemon for a process that is about to change its root or its user. */
void pcb_stay_reachable(void);

/* Reads the bits of a socket's mark that are ours; 0 for what is no socket. */
uint32_t pcb_mark(int descriptor);

/* Says whether the daemon holds a policy for this socket. */
bool pcb_has_policy(int descriptor);

/* Fills in where a packet is about to go, if the family is one that has policies. */
void pcb_remote(struct pcb_request *request, const struct sockaddr *remote, socklen_t length);

/*
 * Sees to it that a socket with a policy has a port and that the daemon has confirmed its rule, before a packet
 * can leave: 0, or -1 and errno. `remote` is where a connection goes, or NULL.
 */
int pcb_confirm(int descriptor, const struct sockaddr *remote, socklen_t length);

/* Tells the daemon that a socket with a policy has got its port: 0, or -1 and errno. */
int pcb_tell_bound(int descriptor, const struct sockaddr *remote, socklen_t length);

/* As `pcb_confirm` without a destination, but asks only once for each socket. */
int pcb_confirm_once(int descriptor);

/* Says whether a rule was confirmed for what this descriptor was last; costs no system call. */
bool pcb_was_confirmed(int descriptor);

/* Says whether the daemon that did so is still there. */
bool pcb_stands(int descriptor);

#endif
