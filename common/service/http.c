/* /metrics and /healthz over HTTP/1.1, one answer a connection. Two fixed pages and GET need little; libmicrohttpd, the packaged
 * choice for more than that, brings GnuTLS and with it 2.5 MiB of resident memory to each daemon (docs/adr/0009-memory.md).
 */
#include "common/base/units.h"
#include "common/service/svc_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define CONNECTIONS_MAX 32
#define IDLE_MS 10000u
#define HEAD_MAX 8192u /* bytes of request line and headers */

struct connection {
    struct svc_http *http;
    int fd;
    struct svc_watch *watch;
    uint64_t end_ms;
    struct sw_buf head, answer;
    size_t sent; /* of answer */
    struct connection *prev, *next;
};

struct svc_http {
    struct svc *svc;
    int fd;
    struct svc_watch *watch;
    struct svc_timer *timer; /* off while nobody is connected */
    struct connection *connections;
    size_t count;
};

static void drop(struct connection *connection)
{
    struct svc_http *http = connection->http;
    svc_watch_del(connection->watch);
    (void)close(connection->fd);
    DL_DELETE(http->connections, connection);
    http->count--;
    sw_buf_deinit(&connection->head);
    sw_buf_deinit(&connection->answer);
    free(connection);
}

static void on_idle(void *arg)
{
    struct svc_http *http = arg;
    uint64_t now = svc_mono_ms();
    struct connection *connection;
    struct connection *next;
    DL_FOREACH_SAFE(http->connections, connection, next)
    {
        if (connection->end_ms <= now)
            drop(connection);
    }
    if (http->connections != NULL)
        svc_timer_at(http->timer, http->connections->end_ms); /* the oldest stands first */
}

static void answer(struct connection *connection, const char *status, const char *type, const char *text, size_t len)
{
    sw_buf_addf(&connection->answer,
                "HTTP/1.1 %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                type, len);
    sw_buf_add(&connection->answer, text, len);
}

static void answer_text(struct connection *connection, const char *status, const char *text)
{
    answer(connection, status, "text/plain", text, strlen(text));
}

static void answer_metrics(struct connection *connection)
{
    struct svc *svc = connection->http->svc;
    if (svc->program->scrape != NULL)
        svc->program->scrape(svc, svc->program->state);
    SW_AUTO_BUF text = { 0 };
    svc_metrics_write(svc->metrics, &text);
    answer(connection, "200 OK", "text/plain; version=0.0.4", sw_buf_str(&text), text.len);
}

static void answer_health(struct connection *connection)
{
    struct svc *svc = connection->http->svc;
    char why[256] = "";
    bool ok = svc->program->healthy == NULL || svc->program->healthy(svc, svc->program->state, why, sizeof why);
    SW_AUTO(sw_free) char *text = ok ? sw_strdup("ok\n") : sw_strf("%s\n", why);
    answer_text(connection, ok ? "200 OK" : "503 Service Unavailable", text);
}

/* "GET /metrics?x HTTP/1.1": only method and path decide; headers and a query say nothing that would change the page. */
static void answer_request(struct connection *connection)
{
    char *line = connection->head.data;
    line[strcspn(line, "\r\n")] = '\0';
    char *save = NULL;
    const char *method = strtok_r(line, " ", &save);
    char *path = strtok_r(NULL, " ", &save);
    const char *version = strtok_r(NULL, " ", &save);
    if (method == NULL || path == NULL || version == NULL || strncmp(version, "HTTP/1.", 7) != 0) {
        answer_text(connection, "400 Bad Request", "not an HTTP/1 request\n");
        return;
    }
    path[strcspn(path, "?")] = '\0';
    if (strcmp(method, "GET") != 0)
        answer_text(connection, "405 Method Not Allowed", "only GET\n");
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(connection);
    else if (strcmp(path, "/healthz") == 0)
        answer_health(connection);
    else
        answer_text(connection, "404 Not Found", "only /metrics and /healthz\n");
}

/* false = the connection is over */
static bool send_answer(struct connection *connection)
{
    const struct sw_buf *text = &connection->answer;
    while (connection->sent < text->len) {
        ssize_t count = send(connection->fd, text->data + connection->sent, text->len - connection->sent, MSG_NOSIGNAL);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
        connection->sent += (size_t)count;
    }
    return false;
}

/* false = the connection is over */
static bool read_head(struct connection *connection)
{
    char chunk[2048];
    ssize_t count = recv(connection->fd, chunk, sizeof chunk, 0);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR;
    if (count == 0 || memchr(chunk, '\0', (size_t)count) != NULL)
        return false;
    sw_buf_add(&connection->head, chunk, (size_t)count);
    if (strstr(sw_buf_str(&connection->head), "\r\n\r\n") != NULL)
        answer_request(connection);
    else if (connection->head.len > HEAD_MAX)
        answer_text(connection, "431 Request Header Fields Too Large", "the request is too long\n");
    else
        return true;
    svc_watch_set(connection->watch, EPOLLOUT);
    return send_answer(connection);
}

static void on_connection(void *arg, int fd, uint32_t events)
{
    struct connection *connection = arg;
    (void)fd;
    bool more = (events & EPOLLERR) == 0 && (connection->answer.len > 0 ? send_answer(connection) : read_head(connection));
    if (!more)
        drop(connection);
}

static void on_listener(void *arg, int fd, uint32_t events)
{
    struct svc_http *http = arg;
    (void)events;
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0)
        return;
    if (http->count == CONNECTIONS_MAX) {
        (void)close(accepted);
        return;
    }
    struct connection *connection = sw_alloc0(sizeof *connection);
    *connection = (struct connection) { .http = http, .fd = accepted, .end_ms = svc_mono_ms() + IDLE_MS };
    connection->watch = svc_watch_add(http->svc, accepted, EPOLLIN, on_connection, connection);
    DL_APPEND(http->connections, connection);
    if (http->count++ == 0)
        svc_timer_at(http->timer, connection->end_ms);
}

static int parse_address(const char *text, struct sockaddr_in *ret, struct sw_err *err)
{
    char host[64] = "";
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    if (colon != NULL && (size_t)(colon - text) < sizeof host)
        memcpy(host, text, (size_t)(colon - text));
    *ret = (struct sockaddr_in) { .sin_family = AF_INET };
    if (colon == NULL || inet_pton(AF_INET, host, &ret->sin_addr) != 1 || !sw_parse_u64(colon + 1, &port) || port > 65535)
        return sw_fail(err, SW_INVALID, "--metrics-address: '%s' is not IP:PORT or off", text);
    ret->sin_port = htons((uint16_t)port);
    return 0;
}

static int listen_on(const struct sockaddr_in *address, unsigned *ret_port)
{
    SW_AUTO(sw_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    const int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 || listen(fd, CONNECTIONS_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return -1;
    *ret_port = ntohs(bound.sin_port);
    int taken = fd;
    fd = -1;
    return taken;
}

int svc_http_open(struct svc *svc, struct sw_err *err)
{
    struct sockaddr_in address;
    unsigned port = 0;
    if (svc->metrics_address == NULL || strcmp(svc->metrics_address, "off") == 0)
        return 0;
    int rc = parse_address(svc->metrics_address, &address, err);
    if (rc < 0)
        return rc;
    int fd = listen_on(&address, &port);
    if (fd < 0)
        return sw_fail(err, SW_IO, "--metrics-address: cannot listen on %s: %s", svc->metrics_address, strerror(errno));
    struct svc_http *http = sw_alloc0(sizeof *http);
    *http = (struct svc_http) { .svc = svc, .fd = fd };
    http->watch = svc_watch_add(svc, fd, EPOLLIN, on_listener, http);
    http->timer = svc_timer_new(svc, on_idle, http);
    svc->http = http;
    svc_log(SVC_INFO, "metrics", "port=%u", port);
    return 0;
}

void svc_http_close(struct svc *svc)
{
    struct svc_http *http = svc->http;
    if (http == NULL)
        return;
    while (http->connections != NULL)
        drop(http->connections);
    svc_watch_del(http->watch);
    svc_timer_free(http->timer);
    (void)close(http->fd);
    free(http);
    svc->http = NULL;
}
