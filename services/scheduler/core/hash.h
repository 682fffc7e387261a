/* hash - uthash as a core may use it: out of memory aborts, as everywhere. Iteration is in the order of insertion. */
#ifndef SCHED_HASH_H
#define SCHED_HASH_H

#include <stdlib.h>
#define uthash_fatal(msg) abort()
#define HASH_FUNCTION(key, size, hash) HASH_FNV(key, size, hash) /* keys are short */
#include <uthash.h>

#endif
