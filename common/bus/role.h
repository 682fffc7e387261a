/* role - who may send a message: one bit each, so that a table row names a set. Travels in certificates: never renumber. */
#ifndef BUS_ROLE_H
#define BUS_ROLE_H

enum bus_role {
    BUS_NOBODY = 0,
    BUS_WORKER = 1u << 0,
    BUS_MANAGER = 1u << 1,
    BUS_ADMIN = 1u << 2,
    BUS_JOINER = 1u << 3, /* any key at all: may only ask to join */
    BUS_LOCAL = 1u << 4   /* whoever can open the local socket: its directory is 0700 */
};

#endif
