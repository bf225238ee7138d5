#include "net/http_listener.h"

#include "base/fail.h"
#include "base/file.h"
#include "net/http_certificate.h"
#include "net/listen_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTION_MEMORY_BYTES ((size_t)16 * KIB) /* header limit; 16.6 KB per idle connection measured */
#define CONNECTIONS_DEFAULT     4096u
#define IDLE_S                  300u /* a kept connection without a request; above any scrape interval */
#define TLS_FILE_BYTES_MAX      MIB
/* A refused body is read to its end up to here, so that the client reads the refusal and not a reset. */
#define SWALLOW_BYTES_MAX    ((uint64_t)8 * MIB)
#define SEND_BYTES_PER_S_MIN (16 * KIB)        /* a client that reads an answer slower than this is cut off, */
#define SEND_MS_MAX          (INT64_C(600000)) /* and one that takes longer: large answers are kept in memory for it */

struct http_listener {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    struct loop_watch *watch;
    struct loop_timer turn_timer;
    bool kicked;
    bool certificate_required;
    bool stopping;
    unsigned port;
    struct buf cert, key, client_ca; /* PEM; GnuTLS has its own copies, ours live as long as the daemon */
    struct connection *connections;
};

struct connection {
    struct http_listener *listener;
    struct connection *previous, *next;
    struct MHD_Connection *mhd;
    int fd;
    struct loop_timer deadline; /* of reading a request, or of sending its answer */
    bool reading;               /* a request has begun */
    bool suspended;
    bool late; /* the exchange was detached: answer 503 */
    uint64_t swallowed_bytes;
    char *target; /* raw, of the request line */
    struct http_exchange *exchange;
    bool certificate_known;
    char common_name[HTTP_COMMON_NAME_BYTES_MAX]; /* "": no verified certificate */
};

/* ---- Turns of the daemon ---- */

static void rearm(struct http_listener *listener)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    if (listener->kicked)
        return;
    if (MHD_get_timeout(listener->daemon, &timeout_ms) == MHD_YES)
        loop_timer_start(&listener->turn_timer, (int64_t)MIN(timeout_ms, (MHD_UNSIGNED_LONG_LONG)INT32_MAX), 0);
    else
        loop_timer_stop(&listener->turn_timer);
}

static void turn(void *arg)
{
    struct http_listener *listener = arg;
    listener->kicked = false;
    MHD_run(listener->daemon);
    rearm(listener);
}

static void on_epoll(void *arg, int events)
{
    (void)events;
    turn(arg);
}

static void resume(struct connection *connection)
{
    if (!connection->suspended)
        return;
    connection->suspended = false;
    MHD_resume_connection(connection->mhd);
    connection->listener->kicked = true;
    loop_timer_start(&connection->listener->turn_timer, 0, 0);
}

/* ---- Answers ---- */

static enum MHD_Result queue_busy(struct connection *connection)
{
    static const char text[] = "no answer in time\n";
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof(text) - 1, (void *)text, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
    MHD_add_response_header(response, "Retry-After", "5");
    enum MHD_Result result = MHD_queue_response(connection->mhd, 503, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result queue_exchange(struct connection *connection)
{
    struct http_exchange *exchange = STEAL(connection->exchange);
    size_t body_len = exchange->answer_body_len;
    struct http_body *body = body_len ? http_exchange_take_body(exchange) : NULL;
    enum MHD_Result result = MHD_NO;
    struct MHD_Response *response =
        body_len ? MHD_create_response_from_buffer_with_free_callback_cls(body_len, body->data, http_body_free, body)
                 : MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (!response)
        http_body_free(body);
    if (response) {
        MHD_add_response_header(response, "Content-Type", exchange->content_type);
        for (size_t i = 0; i < exchange->answer_header_count; i++)
            MHD_add_response_header(response, exchange->answer_headers[i].name, exchange->answer_headers[i].value);
        result = MHD_queue_response(connection->mhd, (unsigned)exchange->status, response);
        MHD_destroy_response(response);
    }
    http_exchange_set_gone(exchange); /* its descriptor is no longer its own */
    http_exchange_free(exchange);
    int64_t send_ms =
        connection->listener->server->request_deadline_ms + (int64_t)(body_len / SEND_BYTES_PER_S_MIN) * 1000;
    loop_timer_start(&connection->deadline, MIN(send_ms, SEND_MS_MAX), 0);
    return result;
}

static void send_answer(struct http_exchange *exchange)
{
    resume(exchange->transport);
}

static void answer_late(struct http_exchange *exchange)
{
    struct connection *connection = exchange->transport;
    connection->exchange = NULL;
    connection->late = true;
    resume(connection);
}

/* ---- Requests ---- */

static void on_connection_deadline(void *arg)
{
    struct connection *connection = arg;
    connection->listener->server->stats.deadline_total++;
    shutdown(connection->fd, SHUT_RDWR); /* MHD sees the end and closes */
}

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                   const char *value, size_t value_len)
{
    (void)kind;
    http_exchange_add_header(arg, str_of(key, key_len), value ? str_of(value, value_len) : STR(""));
    return MHD_YES;
}

static struct str peer_text(struct MHD_Connection *mhd, char text[static INET6_ADDRSTRLEN])
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    text[0] = '\0';
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
    }
    struct str peer = str_from(text);
    if (str_starts_with(peer, STR("::ffff:")) && str_find(peer, '.') < peer.len)
        return str_of(peer.ptr + 7, peer.len - 7);
    return peer;
}

static int64_t content_length_of(const struct http_exchange *exchange)
{
    uint64_t length = 0;
    struct str text = http_exchange_header(exchange, "Content-Length");
    if (!text.ptr || str_to_u64(text, &length))
        return -1;
    return (int64_t)MIN(length, (uint64_t)INT64_MAX);
}

static void check_certificate(struct connection *connection)
{
    if (!connection->listener->certificate_required || connection->certificate_known)
        return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    connection->certificate_known = true;
    if (!info || http_certificate_verify(info->tls_session, connection->common_name))
        connection->common_name[0] = '\0';
}

/* Headers are there. */
static enum MHD_Result begin_request(struct connection *connection, const char *method)
{
    struct http_listener *listener = connection->listener;
    char peer[INET6_ADDRSTRLEN];
    struct http_exchange *exchange = http_exchange_new(listener->server, str_from(method),
                                                       peer_text(connection->mhd, peer), connection->fd, connection);
    exchange->send = send_answer;
    exchange->expired = answer_late;
    connection->exchange = exchange;
    connection->swallowed_bytes = 0;
    connection->late = false;
    MHD_get_connection_values_n(connection->mhd, MHD_HEADER_KIND, copy_header, exchange);
    check_certificate(connection);
    int64_t content_length = content_length_of(exchange);
    exchange->certificate =
        connection->common_name[0] ? arena_str(&exchange->arena, str_from(connection->common_name)) : STR_NULL;
    if (listener->certificate_required && !exchange->certificate.ptr)
        http_exchange_refuse(exchange, 403);
    else
        http_exchange_begin(exchange, str_from(connection->target), content_length);
    if (!exchange->answered)
        return MHD_YES;
    bool unread = content_length > 0 && (uint64_t)content_length > SWALLOW_BYTES_MAX;
    if (unread || http_exchange_header(exchange, "Expect").ptr)
        return queue_exchange(connection);
    return MHD_YES; /* refused: read the body to its end first */
}

static enum MHD_Result take_body(struct connection *connection, const char *data, size_t len)
{
    if (connection->exchange->answered) {
        connection->swallowed_bytes += len;
        return connection->swallowed_bytes > SWALLOW_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    http_exchange_add_body(connection->exchange, data, len);
    return MHD_YES;
}

static enum MHD_Result end_request(struct connection *connection)
{
    if (connection->late) {
        connection->late = false;
        loop_timer_start(&connection->deadline, connection->listener->server->request_deadline_ms, 0);
        return queue_busy(connection);
    }
    struct http_exchange *exchange = connection->exchange;
    if (!exchange)
        return MHD_NO;
    if (!exchange->in_worker && !exchange->answered) {
        loop_timer_stop(&connection->deadline);
        http_exchange_run(exchange);
    }
    if (http_exchange_is_ready(exchange))
        return queue_exchange(connection);
    connection->suspended = true;
    MHD_suspend_connection(connection->mhd);
    return MHD_YES;
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* MHD calls this with the headers, with each piece of the body, and with nothing when the request is whole or the
 * connection was resumed. */
static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *data_len, void **request)
{
    (void)arg, (void)url, (void)version;
    struct connection *connection = connection_of(mhd);
    if (!connection || !connection->target || connection->listener->stopping)
        return MHD_NO;
    if (!*request) {
        *request = connection;
        return begin_request(connection, method);
    }
    if (*data_len == 0)
        return end_request(connection);
    enum MHD_Result result = take_body(connection, data, *data_len);
    *data_len = 0;
    return result;
}

static void *on_request_line(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct connection *connection = connection_of(mhd);
    if (!connection)
        return NULL;
    struct http_listener *listener = arg;
    mem_free(connection->target);
    connection->target = mem_strdup(target);
    if (!connection->reading) /* the first request of a connection has its deadline from the start of that */
        loop_timer_start(&connection->deadline, listener->server->request_deadline_ms, 0);
    connection->reading = true;
    return NULL;
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode why)
{
    (void)request, (void)why;
    struct http_listener *listener = arg;
    struct connection *connection = connection_of(mhd);
    if (!connection)
        return;
    struct http_exchange *exchange = STEAL(connection->exchange);
    if (exchange && exchange->deadline.active) { /* a handler still has to answer it */
        http_exchange_set_gone(exchange);
        http_exchange_detach(exchange);
    } else {
        http_exchange_free(exchange);
    }
    mem_free(STEAL(connection->target));
    connection->reading = false;
    connection->late = false;
    /* Idle from now on. A next request line that dribbles in is bounded too. */
    loop_timer_start(&connection->deadline, IDLE_S * 1000 + listener->server->request_deadline_ms, 0);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_listener *listener = arg;
    struct connection *connection = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        connection = mem_zalloc(sizeof(*connection));
        connection->listener = listener;
        connection->mhd = mhd;
        connection->fd = info ? info->connect_fd : -1;
        connection->reading = true;
        connection->next = listener->connections;
        if (connection->next)
            connection->next->previous = connection;
        listener->connections = connection;
        loop_timer_init(&connection->deadline, listener->server->loop, on_connection_deadline, connection);
        loop_timer_start(&connection->deadline, listener->server->request_deadline_ms, 0);
        listener->server->stats.connections++;
        *context = connection;
        return;
    }
    if (!connection)
        return;
    *(connection->previous ? &connection->previous->next : &listener->connections) = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    listener->server->stats.connections--;
    loop_timer_stop(&connection->deadline);
    mem_free(connection->target);
    mem_free(connection);
    *context = NULL;
}

/* ---- Lifecycle ---- */

static int read_tls_file(const char *path, struct buf *buf)
{
    buf_init(buf, TLS_FILE_BYTES_MAX);
    int error = file_read_whole(file_system_real(), path, buf);
    return error ? error : buf_append_byte(buf, '\0');
}

static int read_tls(struct http_listener *listener, const struct http_server_options *options)
{
    if (!options->cert_file != !options->key_file || (options->client_ca_file && !options->cert_file))
        return -EINVAL;
    int error = 0;
    if (options->cert_file)
        error = read_tls_file(options->cert_file, &listener->cert);
    if (!error && options->key_file)
        error = read_tls_file(options->key_file, &listener->key);
    if (!error && options->client_ca_file)
        error = read_tls_file(options->client_ca_file, &listener->client_ca);
    if (!error && options->client_ca_file &&
        !http_certificates_sound((const char *)listener->client_ca.data, listener->client_ca.len - 1))
        error = -EINVAL;
    listener->certificate_required = options->client_ca_file != NULL;
    return error;
}

static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg, (void)mhd;
    return strlen(text); /* decoded by http_form from the raw target, the same for both transports */
}

static int start_daemon(struct http_listener *listener, const struct http_server_options *options, int fd)
{
    struct MHD_OptionItem more[8];
    size_t count = 0;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
    if (options->connections_per_address_max)
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                                (intptr_t)options->connections_per_address_max, NULL};
    if (options->cert_file) {
        flags |= MHD_USE_TLS;
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, listener->cert.data};
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, listener->key.data};
        more[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"};
    }
    if (options->client_ca_file)
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, listener->client_ca.data};
    more[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    listener->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, listener, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        options->connections_max ? options->connections_max : CONNECTIONS_DEFAULT, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_S, MHD_OPTION_NOTIFY_COMPLETED, on_completed, listener, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        listener, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, listener, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        NULL, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    return listener->daemon ? 0 : options->cert_file ? -EINVAL : -EIO;
}

int http_listener_new(struct http_server *server, const struct http_server_options *options,
                      struct http_listener **ret_listener)
{
    struct http_listener *listener = mem_zalloc(sizeof(*listener));
    listener->server = server;
    int fd = -1;
    int error = read_tls(listener, options);
    if (!error)
        error = listen_socket_open(options->listen, &fd, &listener->port);
    if (!error)
        error = start_daemon(listener, options, fd);
    if (error) {
        if (fd >= 0 && fcntl(fd, F_GETFD) >= 0) /* some failures of MHD close it */
            close(fd);
        http_listener_free(listener);
        return error;
    }
    loop_timer_init(&listener->turn_timer, server->loop, turn, listener);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info);
    listener->watch = loop_watch_new(server->loop, info->epoll_fd, LOOP_READ, on_epoll, listener);
    rearm(listener);
    *ret_listener = listener;
    return 0;
}

void http_listener_free(struct http_listener *listener)
{
    if (!listener)
        return;
    listener->stopping = true;
    for (struct connection *connection = listener->connections; connection; connection = connection->next)
        resume(connection); /* MHD must not be stopped with a suspended one */
    loop_watch_free(listener->watch);
    if (listener->daemon)
        MHD_stop_daemon(listener->daemon);
    loop_timer_stop(&listener->turn_timer);
    if (listener->key.data)
        explicit_bzero(listener->key.data, listener->key.len);
    buf_done(&listener->cert);
    buf_done(&listener->key);
    buf_done(&listener->client_ca);
    mem_free(listener);
}

unsigned http_listener_port(const struct http_listener *listener)
{
    return listener->port;
}
