"""The services of an inetd.conf: their sockets, their policies, their programs.

No word of the file may enter: `lang.inetd` reads it. Nothing here knows the daemon; a socket option does.
Answers to: inetd(8) of the BSDs.
"""
