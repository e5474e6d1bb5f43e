/*
 * PF_KEY v2 in the dialect of Linux, which is the one of this system's own header.
 * Answers to: <linux/pfkeyv2.h>.
 */
#ifndef SALLET_LINUX_PFKEYV2_H
#define SALLET_LINUX_PFKEYV2_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <linux/pfkeyv2.h>

#endif
