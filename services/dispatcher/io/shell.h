/* shell - the dispatcher's outside: sockets, timer, identity. Turns them into events of core/dispatch.h and performs its effects.
 */
#ifndef DISPATCHER_SHELL_H
#define DISPATCHER_SHELL_H

int shell_main(int argc, char **argv);

#endif
