#include "services/agent/io/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#define MAP_SIZE ((size_t)1 << 32) /* address space only */
#define RESERVE (16 << 20)         /* bytes of the file that are its own from the start: WORKER_TASKS_MAX records fit */
#define GENERATIONS 1000000u       /* tables that one life of the agent may send */

struct records {
    MDB_env *env;
    MDB_dbi tasks, meta;
};

static int failed(struct sw_err *err, const char *what, int rc)
{
    return sw_fail(err, rc == MDB_MAP_FULL || rc == ENOSPC ? SW_LIMIT : SW_IO, "task records: %s: %s", what, mdb_strerror(rc));
}

static int tables_open(struct records *records, struct sw_err *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(records->env, NULL, 0, &txn);
    if (rc != 0)
        return failed(err, "begin", rc);
    rc = mdb_dbi_open(txn, "tasks", MDB_CREATE, &records->tasks);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &records->meta);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return failed(err, "open", rc);
    }
    rc = mdb_txn_commit(txn);
    return rc != 0 ? failed(err, "commit", rc) : 0;
}

/* Statuses must be kept also when containers, logs and images have filled the disk: an agent that cannot write them down ends. */
static void reserve(MDB_env *env, const char *dir)
{
    mdb_filehandle_t fd;
    if (mdb_env_get_fd(env, &fd) == 0 && fallocate(fd, 0, 0, RESERVE) != 0 && errno == ENOSPC)
        svc_log(SVC_WARN, "no room could be set aside for task records", "dir=%s", dir);
}

/* NOMETASYNC: a power cut may undo the last write, but it has also ended every container, and that is found out at start. */
int records_open(const char *state_dir, struct records **ret_records, struct sw_err *err)
{
    SW_AUTO(sw_free) char *dir = sw_strf("%s/agent/tasks", state_dir);
    if (svc_mkdirs(dir, 0700, err) != 0)
        return sw_wrap(err, "task records");
    struct records *records = sw_alloc0(sizeof *records);
    int rc = mdb_env_create(&records->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(records->env, 2);
    if (rc == 0)
        rc = mdb_env_set_mapsize(records->env, MAP_SIZE);
    if (rc == 0)
        rc = mdb_env_open(records->env, dir, MDB_NOMETASYNC, 0600);
    if (rc != 0) {
        records_close(records);
        return failed(err, dir, rc);
    }
    reserve(records->env, dir);
    if (tables_open(records, err) != 0) {
        records_close(records);
        return -(int)err->code;
    }
    *ret_records = records;
    return 0;
}

void records_close(struct records *records)
{
    if (records == NULL)
        return;
    mdb_env_close(records->env);
    free(records);
}

int records_each(struct records *records, void (*fn)(void *arg, const Swarm__Task *task), void *arg, struct sw_err *err)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = mdb_txn_begin(records->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return failed(err, "begin", rc);
    rc = mdb_cursor_open(txn, records->tasks, &cursor);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return failed(err, "cursor", rc);
    }
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct sw_err bad;
        SW_AUTO(sw_pb_free)
        Swarm__Task *task = sw_pb_unpack(&swarm__task__descriptor, value.mv_data, value.mv_size, 1u << 20, &bad);
        if (task != NULL)
            fn(arg, task);
        else
            svc_log(SVC_WARN, "a task record was left out", "id=%.*s err=\"%s\"", (int)key.mv_size, (const char *)key.mv_data,
                    bad.text);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : failed(err, "read", rc);
}

int records_generation(struct records *records, uint64_t floor, uint64_t *ret, struct sw_err *err)
{
    MDB_txn *txn;
    char name[] = "generation";
    MDB_val key = { sizeof name, name }, value;
    int rc = mdb_txn_begin(records->env, NULL, 0, &txn);
    if (rc != 0)
        return failed(err, "begin", rc);
    uint64_t base = 0;
    if (mdb_get(txn, records->meta, &key, &value) == 0 && value.mv_size == sizeof base)
        memcpy(&base, value.mv_data, sizeof base);
    if (base < floor)
        base = floor;
    uint64_t next = base + GENERATIONS;
    value = (MDB_val) { sizeof next, &next };
    rc = mdb_put(txn, records->meta, &key, &value, 0);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return failed(err, "write", rc);
    }
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return failed(err, "commit", rc);
    *ret = base;
    return 0;
}

int records_clear(struct records *records, struct sw_err *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(records->env, NULL, 0, &txn);
    if (rc != 0)
        return failed(err, "begin", rc);
    rc = mdb_drop(txn, records->tasks, 0);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return failed(err, "clear", rc);
    }
    rc = mdb_txn_commit(txn);
    return rc != 0 ? failed(err, "commit", rc) : 0;
}

static int put(struct records *records, MDB_txn *txn, const struct worker_effect *effect)
{
    MDB_val key = { strlen(effect->task_id), (void *)(uintptr_t)effect->task_id };
    if (effect->type == WORKER_FORGET) {
        int rc = mdb_del(txn, records->tasks, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(effect->task, &buf);
    MDB_val value = { buf.len, buf.data };
    return mdb_put(txn, records->tasks, &key, &value, 0);
}

int records_write(struct records *records, const struct worker_effect *effects, size_t count, struct sw_err *err)
{
    MDB_txn *txn = NULL;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (effects[i].type != WORKER_SAVE && effects[i].type != WORKER_FORGET)
            break; /* they come first */
        if (txn == NULL)
            rc = mdb_txn_begin(records->env, NULL, 0, &txn);
        if (rc == 0)
            rc = put(records, txn, &effects[i]);
    }
    if (txn != NULL && rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    return rc != 0 ? failed(err, "write", rc) : 0;
}
