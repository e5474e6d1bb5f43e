/*
 * The calls after which the daemon's directory is out of reach: another root, another user.
 * No right may be won or kept by it: each request shows the daemon who asks.
 * Answers to: chroot(2), setresuid(2); daemons that drop their privilege and keep their sockets.
 */
#include "preload.h"
#include "pcb.h"

EXPORTED int chroot(const char *path)
{
	pcb_stay_reachable();
	return next(chroot)(path);
}

EXPORTED int setuid(uid_t user)
{
	pcb_stay_reachable();
	return next(setuid)(user);
}

EXPORTED int setreuid(uid_t real, uid_t effective)
{
	pcb_stay_reachable();
	return next(setreuid)(real, effective);
}

EXPORTED int setresuid(uid_t real, uid_t effective, uid_t saved)
{
	pcb_stay_reachable();
	return next(setresuid)(real, effective, saved);
}
