/* shell - the scheduler process around its core: the feed of the local manager-raft in, commits out.
 *
 * Idle     until the node's identity says manager; ends with 0 when that is over or becomes another node's.
 * Turn     feed events only go into the core; it decides once, when all events at hand are in.
 */
#ifndef SCHEDULER_SHELL_H
#define SCHEDULER_SHELL_H

int shell_main(int argc, char **argv);

#endif
