#include "services/ingress-lb/io/shell.h"

#include "common/bus/bus.h"
#include "services/ingress-lb/core/lb.h"
#include "services/ingress-lb/io/flows.h"
#include "services/ingress-lb/io/nft.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METRIC "swarm_ingress_lb_"

struct shell {
    struct svc *svc;
    uint64_t check_interval_ms;
    struct bus *bus;
    struct bus_server *server;
    struct nft *nft;
    struct svc_timer *timer;
    struct lb lb;
    const Swarm__EndpointTable *message; /* the one being handled, else NULL */
    const struct bus_sender *sender;     /* who waits for its answer; NULL for the saved table */
    struct sw_buf saved;                 /* encoding of the wanted table */
    bool unsaved;                        /* it is not on the disk yet */
    struct sw_err failure;               /* why the kernel did not take the last transaction; code 0 = it did */
    struct svc_histogram *apply_seconds;
    double *applies, *failures, *repairs, *flows, *refused, *save_failures;
};

static void step(struct shell *shell, struct lb_event event);

static char *state_path(const char *state_dir)
{
    return sw_strf("%s/ingress/table", state_dir);
}

/* Answers to 127.0.0.1 come in through the bridge: without this the kernel calls them martians. The rules that keep others
 * from using it are in our table already whenever this runs. */
static void allow_localnet(const struct lb_table *table)
{
    for (size_t i = 0; table != NULL && i < table->network_count; i++) {
        SW_AUTO(sw_free) char *path = sw_strf("/proc/sys/net/ipv4/conf/%s/route_localnet", table->networks[i].bridge);
        char now = '0';
        SW_AUTO(sw_close) int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || (read(fd, &now, 1) == 1 && now == '1'))
            continue; /* no such bridge yet: the next look tries again */
        if (pwrite(fd, "1", 1, 0) != 1)
            svc_log(SVC_WARN, "127.0.0.1 will not reach published ports", "file=%s err=\"%s\"", path, strerror(errno));
    }
}

static void apply(struct shell *shell, const char *text)
{
    struct lb_event event = { .type = LB_EV_APPLIED };
    struct sw_err err = { 0 };
    int64_t from = svc_wall_ns();
    int rc = nft_apply(shell->nft, text, &err);
    svc_observe(shell->apply_seconds, (double)(svc_wall_ns() - from) / 1e9);
    if (rc == 0)
        rc = nft_generation(shell->nft, &event.kernel_generation, &err);
    ++*(rc == 0 ? shell->applies : shell->failures);
    shell->failure = err;
    event.ok = rc == 0;
    if (rc < 0)
        svc_log(SVC_ERROR, "the kernel did not take the rules", "err=\"%s\"", err.text);
    step(shell, event);
}

static void list(struct shell *shell)
{
    struct lb_event event = { .type = LB_EV_LISTED };
    event.ok = nft_hash(shell->nft, shell->lb.name, &event.hash);
    if (nft_generation(shell->nft, &event.kernel_generation, NULL) == 0)
        step(shell, event);
}

static void forget_udp(struct shell *shell)
{
    struct sw_err err;
    int gone = flows_forget(shell->lb.flows, shell->lb.flow_count, &err);
    if (gone < 0)
        svc_log(SVC_WARN, "stale UDP flows stay until they time out", "err=\"%s\"", err.text);
    else
        *shell->flows += gone;
}

/* Written once a turn, after the answer: a crash in between leaves the older table, which the agent replaces on connecting. */
static void write_saved(void *arg)
{
    struct shell *shell = arg;
    struct sw_err err;
    SW_AUTO(sw_free) char *path = state_path(svc_state_dir(shell->svc));
    shell->unsaved = false;
    if (svc_file_write(path, shell->saved.data, shell->saved.len, 0600, &err) < 0) {
        ++*shell->save_failures;
        svc_log(SVC_ERROR, "cannot keep the endpoint table", "err=\"%s\"", err.text);
    }
}

static void save(struct shell *shell)
{
    assert(shell->message != NULL);
    if (shell->sender == NULL)
        return; /* it came from the disk */
    sw_buf_reset(&shell->saved);
    sw_pb_pack(shell->message, &shell->saved);
    shell->unsaved = true;
    svc_soon(shell->svc, write_saved, shell);
}

static void acknowledge(struct shell *shell, uint64_t generation)
{
    Swarm__EndpointTableAck ack = SWARM__ENDPOINT_TABLE_ACK__INIT;
    ack.generation = generation;
    allow_localnet(shell->lb.table);
    if (shell->sender != NULL && bus_reply(shell->sender, &ack) < 0)
        svc_log(SVC_WARN, "answer not sent", "generation=%llu", (unsigned long long)generation);
    svc_log(SVC_DEBUG, "endpoint table applied", "generation=%llu", (unsigned long long)generation);
}

static void refuse(struct shell *shell)
{
    ++*shell->refused;
    if (shell->sender != NULL)
        (void)bus_reply_error(shell->sender, &shell->failure);
}

static void perform(struct shell *shell, const struct lb_effect *fx)
{
    switch (fx->type) {
    case LB_FX_APPLY:
        apply(shell, fx->text);
        break;
    case LB_FX_LIST:
        list(shell);
        break;
    case LB_FX_ACK:
        acknowledge(shell, fx->generation);
        break;
    case LB_FX_REFUSE:
        refuse(shell);
        break;
    case LB_FX_SAVE:
        save(shell);
        break;
    case LB_FX_FORGET_UDP:
        forget_udp(shell);
        break;
    case LB_FX_REPAIR:
        ++*shell->repairs;
        svc_log(SVC_WARN, "our nft table was changed or gone: building it again", "table=%s", shell->lb.name);
        break;
    }
}

/* Effects that answer with a further event (apply, list) come last, so that nested steps may reuse the core's list. */
static void step(struct shell *shell, struct lb_event event)
{
    lb_step(&shell->lb, &event);
    struct lb_effect effects[LB_EFFECTS_MAX];
    size_t count = shell->lb.effect_count;
    memcpy(effects, shell->lb.effects, sizeof effects);
    for (size_t i = 0; i < count; i++)
        perform(shell, &effects[i]);
}

static int take_table(struct shell *shell, const struct bus_sender *sender, const Swarm__EndpointTable *message,
                      struct sw_err *err)
{
    struct lb_table *table = NULL;
    int rc = lb_table_new(message, &table, err);
    if (rc < 0) {
        ++*shell->refused;
        return rc;
    }
    shell->message = message;
    shell->sender = sender;
    step(shell, (struct lb_event) { .type = LB_EV_TABLE, .table = table });
    shell->message = NULL;
    shell->sender = NULL;
    return 0;
}

static int on_endpoint_table(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    return take_table(self, sender, body, err);
}

static const struct bus_spec specs[] = {
    { &swarm__endpoint_table__descriptor, BUS_LOCAL, BUS_SIZE_MAX, on_endpoint_table },
};

static void on_tick(void *arg)
{
    struct shell *shell = arg;
    struct lb_event event = { .type = LB_EV_TICK };
    struct sw_err err;
    if (nft_generation(shell->nft, &event.kernel_generation, &err) == 0)
        step(shell, event);
    else
        svc_log(SVC_WARN, "cannot compare with the kernel", "err=\"%s\"", err.text);
    allow_localnet(shell->lb.table);
    svc_timer_at(shell->timer, svc_mono_ms() + shell->check_interval_ms);
}

static void metrics_init(struct shell *shell)
{
    struct svc_metrics *m = svc_metrics(shell->svc);
    shell->apply_seconds = svc_histogram(m, METRIC "apply_seconds", "Time of one transaction in the kernel.");
    shell->applies = svc_metric(m, SVC_COUNTER, METRIC "applies_total", "", "Transactions that the kernel took.");
    shell->failures = svc_metric(m, SVC_COUNTER, METRIC "apply_failures_total", "", "Transactions that the kernel refused.");
    shell->repairs = svc_metric(m, SVC_COUNTER, METRIC "repairs_total", "", "Times our table was found changed and built again.");
    shell->flows =
        svc_metric(m, SVC_COUNTER, METRIC "udp_flows_forgotten_total", "", "Stale UDP entries taken out of conntrack.");
    shell->refused = svc_metric(m, SVC_COUNTER, METRIC "tables_refused_total", "", "Endpoint tables answered with an error.");
    shell->save_failures = svc_metric(m, SVC_COUNTER, METRIC "save_failures_total", "", "Failures to keep the table on disk.");
}

/* The table of before our restart: the containers behind it are alive, whether or not the agent is here yet. */
static int restore(struct shell *shell, struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = state_path(svc_state_dir(shell->svc));
    SW_AUTO(sw_free) char *dir = sw_strf("%s/ingress", svc_state_dir(shell->svc));
    SW_AUTO(sw_free) char *data = NULL;
    size_t len = 0;
    int rc = svc_mkdirs(dir, 0700, err);
    if (rc == 0)
        rc = svc_file_read(path, BUS_SIZE_MAX, &data, &len, err);
    if (rc < 0)
        return rc == -SW_NOT_FOUND ? 0 : rc;
    SW_AUTO(sw_pb_free)
    Swarm__EndpointTable *message = sw_pb_unpack(&swarm__endpoint_table__descriptor, data, len, BUS_SIZE_MAX, err);
    if (message == NULL || take_table(shell, NULL, message, err) < 0)
        svc_log(SVC_WARN, "saved endpoint table not used: waiting for the agent's", "file=%s err=\"%s\"", path, err->text);
    return 0;
}

static int serve(struct shell *shell, struct sw_err *err)
{
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/ingress.sock", svc_run_dir(shell->svc));
    const char *const endpoints[] = { endpoint, NULL };
    struct bus_server_spec spec = {
        .endpoints = endpoints,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = shell,
    };
    int rc = bus_new(shell->svc, &shell->bus, err);
    return rc < 0 ? rc : bus_server_open(shell->bus, &spec, &shell->server, err);
}

static int check_options(const struct shell_options *options, struct sw_err *err)
{
    if (!rules_name_valid(options->table))
        return sw_fail(err, SW_INVALID, "--table '%.40s': want a letter, then letters, digits or '_', at most %d", options->table,
                       LB_NAME_MAX);
    return 0;
}

int shell_open(struct svc *svc, const struct shell_options *options, struct shell **ret_shell, struct sw_err *err)
{
    int rc = check_options(options, err);
    if (rc < 0)
        return rc;
    struct shell *shell = sw_alloc0(sizeof *shell);
    shell->svc = svc;
    shell->check_interval_ms = options->check_interval_ms;
    lb_init(&shell->lb, options->table);
    metrics_init(shell);
    rc = nft_open(&shell->nft, err);
    if (rc == 0)
        rc = restore(shell, err);
    if (rc == 0)
        rc = serve(shell, err);
    if (rc < 0) {
        shell_close(shell);
        return rc;
    }
    shell->timer = svc_timer_new(svc, on_tick, shell);
    svc_timer_at(shell->timer, svc_mono_ms() + shell->check_interval_ms);
    *ret_shell = shell;
    return 0;
}

void shell_close(struct shell *shell)
{
    if (shell == NULL)
        return;
    if (shell->unsaved)
        write_saved(shell);
    svc_timer_free(shell->timer);
    bus_server_close(shell->server);
    if (shell->bus != NULL)
        bus_free(shell->bus);
    nft_close(shell->nft);
    lb_deinit(&shell->lb);
    sw_buf_deinit(&shell->saved);
    free(shell);
}

void shell_scrape(struct shell *shell)
{
    size_t ready = 0, draining = 0;
    const struct lb_table *table = shell->lb.table;
    for (size_t i = 0; table != NULL && i < table->port_count; i++) {
        size_t up = lb_port_ready(&table->ports[i], false) + lb_port_ready(&table->ports[i], true);
        ready += up;
        draining += table->ports[i].backend_count - up;
    }
    struct svc_metrics *m = svc_metrics(shell->svc);
    *svc_metric(m, SVC_GAUGE, METRIC "generation", "", "Generation of the endpoint table in the kernel.") =
        table != NULL ? (double)table->generation : 0;
    *svc_metric(m, SVC_GAUGE, METRIC "ports", "", "Published ports on this node.") =
        table != NULL ? (double)table->port_count : 0;
    static const char help[] = "Backends of published ports by state.";
    *svc_metric(m, SVC_GAUGE, METRIC "backends", "state=\"ready\"", help) = (double)ready;
    *svc_metric(m, SVC_GAUGE, METRIC "backends", "state=\"draining\"", help) = (double)draining;
}

bool shell_healthy(const struct shell *shell, char *why, size_t why_size)
{
    if (shell->failure.code == 0)
        return true;
    (void)snprintf(why, why_size, "%s", shell->failure.text);
    return false;
}

int shell_cleanup(const struct shell_options *options, const char *state_dir, struct sw_err *err)
{
    SW_AUTO(nft_close) struct nft *nft = NULL;
    SW_AUTO_BUF text = { 0 };
    int rc = check_options(options, err);
    if (rc == 0)
        rc = nft_open(&nft, err);
    if (rc < 0)
        return rc;
    rules_delete(options->table, &text);
    if ((rc = nft_apply(nft, text.data, err)) < 0)
        return rc;
    SW_AUTO(sw_free) char *path = state_path(state_dir);
    if (unlink(path) != 0 && errno != ENOENT)
        return sw_fail(err, SW_IO, "remove %s: %s", path, strerror(errno));
    return 0;
}
