/* /metrics and /healthz by libmicrohttpd, run from our loop: its epoll descriptor sits in ours. */
#include "common/base/units.h"
#include "common/service/svc_internal.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define CONNECTIONS_MAX 32
#define IDLE_SECONDS 10

struct svc_http {
    struct svc *svc;
    struct MHD_Daemon *mhd;
    struct svc_watch *watch;
    struct svc_timer *timer;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type, const char *text, size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_metrics(struct svc *svc, struct MHD_Connection *connection)
{
    if (svc->program->scrape != NULL)
        svc->program->scrape(svc, svc->program->state);
    SW_AUTO_BUF text = { 0 };
    svc_metrics_write(svc->metrics, &text);
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", sw_buf_str(&text), text.len);
}

static enum MHD_Result answer_health(struct svc *svc, struct MHD_Connection *connection)
{
    char why[256] = "";
    bool ok = svc->program->healthy == NULL || svc->program->healthy(svc, svc->program->state, why, sizeof why);
    SW_AUTO(sw_free) char *text = ok ? sw_strdup("ok\n") : sw_strf("%s\n", why);
    return answer(connection, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **request)
{
    struct svc_http *http = arg;
    (void)version, (void)upload, (void)upload_size, (void)request;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "only GET\n", 9);
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(http->svc, connection);
    if (strcmp(url, "/healthz") == 0)
        return answer_health(http->svc, connection);
    return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", "only /metrics and /healthz\n", 27);
}

static void run(void *arg)
{
    struct svc_http *http = arg;
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    (void)MHD_run(http->mhd);
    if (MHD_get_timeout(http->mhd, &wait_ms) == MHD_YES)
        svc_timer_at(http->timer, svc_mono_ms() + wait_ms);
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd, (void)events;
    run(arg);
}

static int parse_address(const char *text, struct sockaddr_in *ret, struct sw_err *err)
{
    char host[64] = "";
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    if (colon != NULL && (size_t)(colon - text) < sizeof host)
        memcpy(host, text, (size_t)(colon - text));
    *ret = (struct sockaddr_in){ .sin_family = AF_INET };
    if (colon == NULL || inet_pton(AF_INET, host, &ret->sin_addr) != 1 || !sw_parse_u64(colon + 1, &port) || port > 65535)
        return sw_fail(err, SW_INVALID, "--metrics-address: '%s' is not IP:PORT or off", text);
    ret->sin_port = htons((uint16_t)port);
    return 0;
}

int svc_http_open(struct svc *svc, struct sw_err *err)
{
    struct sockaddr_in address;
    if (svc->metrics_address == NULL || strcmp(svc->metrics_address, "off") == 0)
        return 0;
    int rc = parse_address(svc->metrics_address, &address, err);
    if (rc < 0)
        return rc;
    struct svc_http *http = sw_alloc0(sizeof *http);
    http->svc = svc;
    http->mhd = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR, &address,
                                 MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
    if (http->mhd == NULL) {
        free(http);
        return sw_fail(err, SW_IO, "--metrics-address: cannot listen on %s: %s", svc->metrics_address, strerror(errno));
    }
    int epoll_fd = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    http->watch = svc_watch_add(svc, epoll_fd, EPOLLIN, on_ready, http);
    http->timer = svc_timer_new(svc, run, http);
    svc->http = http;
    const union MHD_DaemonInfo *port = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_BIND_PORT);
    svc_log(SVC_INFO, "metrics", "port=%u", port != NULL ? port->port : 0U);
    return 0;
}

void svc_http_close(struct svc *svc)
{
    if (svc->http == NULL)
        return;
    svc_watch_del(svc->http->watch);
    MHD_stop_daemon(svc->http->mhd);
    free(svc->http);
    svc->http = NULL;
}
