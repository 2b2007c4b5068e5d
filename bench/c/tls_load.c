/* The load: a TLS 1.3 client of all servers on 127.0.0.1, in C, so that its own cost is small and the same for all.
 *
 *   tls_load PORT frame|http|tlsrt|web GROUP [ALPN|- [CERTIFICATE KEY]]
 *
 * Orders come as lines on stdin, each is answered by one line of JSON:
 *   handshakes PARALLEL SECONDS    full handshakes, each ended by close_notify and the server's own end
 *   open COUNT                     have so many connections open from now on
 *   requests COUNT SIZE SECONDS    one request under way on each of so many connections, answers of SIZE bytes
 * A frame is u32 BE length | body (see tls_floor.c); http is GET /SIZE, kept alive. With tlsrt, payloads are made by
 * the caller, who opens sessions through us (numbers are those of connections):
 *   say NUMBER LENGTH + bytes      send these bytes
 *   hear NUMBER                    answered by {"bytes": N} and the N bytes of the next payload
 *   load NUMBER LENGTH + bytes     the requests that this connection shall send, one after the other
 *   replay COUNT WINDOW SECONDS    the same as requests, but only WINDOW of them are under way at a time, and who has
 *                                  been answered waits for its next turn; "other" counts answers of another length
 * With web, the same payloads are in messages of WebSocket (RFC 6455), which the caller has masked, after
 *   upgrade NUMBER LENGTH + bytes  send this request, which has to be answered by 101
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LENGTH_SLACK = 16 }; /* answers of one burst: numbers in their headers grow */
enum { CONNECTIONS_MAX = 2048, THREADS_MAX = 64, HEAD_MAX = 4096, EVENTS = 64, STALL_MS = 5000, SAMPLES_MAX = 1 << 22 };
typedef enum { FRAME, HTTP, TLSRT, WEB } Protocol;

struct connection {
    SSL *ssl;
    int fd;
    long need; /* bytes of the answer that are still to come; -1 until its head is known */
    int held;
    char head[HEAD_MAX];
    long long sent;        /* when, ns */
    char *load;            /* tlsrt, web: requests to come */
    long load_bytes, load_at;
};

static SSL_CTX *context;
static int port, opened;
static Protocol protocol;
static struct connection connections[CONNECTIONS_MAX];
static long long samples[SAMPLES_MAX];
static long count, other, first_length;
static double limit_s;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "tls_load: %s: %s\n", what, ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error()) : strerror(errno));
    exit(1);
}

static int by_value(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return x < y ? -1 : x > y;
}

static SSL *dial(int *fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(*fd, (void *)&address, sizeof address)) {
        close(*fd);
        return NULL;
    }
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, *fd);
    SSL_set_tlsext_host_name(ssl, "localhost");
    if (SSL_connect(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    close(*fd);
    return NULL;
}

/* -- handshakes -- */

struct worker {
    long done, failed;
    char group[32];
};

static void *shake_hands(void *argument) {
    struct worker *worker = argument;
    long long end = now() + (long long)(limit_s * 1e9);
    char byte;
    while (now() < end) {
        int fd;
        SSL *ssl = dial(&fd);
        if (!ssl) {
            worker->failed++;
            usleep(1000);
            continue;
        }
        worker->done++;
        strncpy(worker->group, SSL_get0_group_name(ssl), sizeof worker->group - 1);
        struct timeval patience = {.tv_sec = 2};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        SSL_shutdown(ssl);
        while (SSL_read(ssl, &byte, 1) > 0) /* until the server has ended too: it has seen our whole handshake */
            ;
        SSL_free(ssl);
        struct linger reset = {1, 0}; /* leaves no TIME_WAIT behind */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    return NULL;
}

static void handshakes(int parallel) {
    pthread_t threads[THREADS_MAX];
    static struct worker workers[THREADS_MAX];
    memset(workers, 0, sizeof workers);
    long long begin = now();
    for (int i = 0; i < parallel; i++)
        pthread_create(threads + i, NULL, shake_hands, workers + i);
    long done = 0, failed = 0;
    for (int i = 0; i < parallel; i++) {
        pthread_join(threads[i], NULL);
        done += workers[i].done;
        failed += workers[i].failed;
    }
    printf("{\"count\":%ld,\"failed\":%ld,\"seconds\":%.6f,\"group\":\"%s\"}\n", done, failed, (now() - begin) / 1e9,
           workers[0].group);
}

/* -- requests -- */

static void open_connections(int wanted) {
    for (; opened < wanted; opened++) {
        struct connection *c = connections + opened;
        if (!(c->ssl = dial(&c->fd)))
            die("cannot connect");
    }
    printf("{\"open\":%d,\"group\":\"%s\"}\n", opened, SSL_get0_group_name(connections[0].ssl));
}

/* Returns 0 if there is nothing more to send. */
static int send_request(struct connection *c, const char *request, int length) {
    if (protocol == TLSRT || protocol == WEB) {
        unsigned size;
        if (c->load_at + 4 > c->load_bytes)
            return 0;
        request = c->load + c->load_at;
        memcpy(&size, request, 4);
        length = ntohl(size) + 4;
        c->load_at += length;
        if (protocol == WEB) { /* a message of WebSocket has a length of its own */
            request += 4;
            length -= 4;
        }
    }
    c->need = -1;
    c->held = 0;
    c->sent = now();
    if (SSL_write(c->ssl, request, length) != length)
        die("cannot send");
    return 1;
}

/* Returns how many bytes stand before the content of a server's WebSocket frame, 0 if they are not all there yet. */
static int web_head(const unsigned char *head, int held, long *size) {
    int bytes = held < 2 ? 2 : (head[1] & 127) == 126 ? 4 : (head[1] & 127) == 127 ? 10 : 2;
    if (held < bytes)
        return 0;
    if (head[0] != 0x82)
        die("the server says something else than a whole binary message");
    *size = bytes == 2 ? head[1] & 127 : 0;
    for (int i = 2; i < bytes; i++)
        *size = *size << 8 | head[i];
    return bytes;
}

static void judge(unsigned char kind, long length) {
    if (kind < 0xc4 || kind > 0xc6) /* control messages start with a str, frames with a bin */
        die("the server says something else than an answer");
    if (!first_length)
        first_length = length;
    other += labs(length - first_length) > LENGTH_SLACK;
}

/* Learns from the first bytes of an answer how many are to come after these. */
static void learn(struct connection *c) {
    if (protocol == HTTP) {
        char *end, *length;
        c->head[c->held] = 0;
        if (!(end = strstr(c->head, "\r\n\r\n")))
            return;
        if (strncmp(c->head + 9, "200", 3) || !(length = strcasestr(c->head, "content-length:")))
            die("not an answer");
        c->need = (end + 4 - c->head) + atol(length + 15) - c->held;
    } else if (protocol == WEB) {
        long size;
        int bytes = web_head((unsigned char *)c->head, c->held, &size);
        if (!bytes || c->held < bytes + 2)
            return;
        c->need = bytes + size - c->held;
        judge(c->head[bytes + 1], size);
    } else if (c->held >= 4) {
        unsigned length;
        memcpy(&length, c->head, 4);
        c->need = (long)ntohl(length) + 4 - c->held;
        if (protocol == TLSRT && c->held >= 6)
            judge(c->head[5], ntohl(length));
    }
}

/* Returns 1 when the answer is whole. Nothing comes unasked, so no byte belongs to another answer. */
static int take(struct connection *c, const char *data, int bytes) {
    if (c->need < 0) {
        int room = HEAD_MAX - 1 - c->held, some = bytes < room ? bytes : room;
        memcpy(c->head + c->held, data, some);
        c->held += some;
        learn(c);
        if (c->need >= 0)
            c->need -= bytes - some;
        else if (bytes > some)
            die("head too long");
    } else
        c->need -= bytes;
    return c->need == 0;
}

static void requests(int wanted, int window, const char *request, int length) {
    static char buffer[1 << 17];
    struct epoll_event events[EVENTS];
    static struct connection *idle[CONNECTIONS_MAX]; /* a ring of those whose turn comes, longest idle first */
    int epoll = epoll_create1(0), live = window, first = 0;
    if (wanted > opened)
        die("not open");
    for (int i = 0; i < wanted; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connections + i};
        fcntl(connections[i].fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
    }
    count = other = first_length = 0;
    for (int i = window; i < wanted; i++)
        idle[i - window] = connections + i;
    long long begin = now(), end = begin + (long long)(limit_s * 1e9);
    for (int i = 0; i < window; i++)
        if (!send_request(connections + i, request, length))
            die("nothing to send");
    while (live) {
        int ready = epoll_wait(epoll, events, EVENTS, STALL_MS);
        if (ready == 0)
            die("no answer");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            int got;
            while ((got = SSL_read(c->ssl, buffer, sizeof buffer)) > 0) {
                if (!take(c, buffer, got))
                    continue;
                long long at = now();
                if (count < SAMPLES_MAX)
                    samples[count++] = at - c->sent;
                int last = (first + wanted - window) % wanted;
                idle[last] = c;
                if (at >= end || !send_request(idle[first], request, length)) {
                    live--;
                    break;
                }
                first = (first + 1) % wanted;
            }
            if (got <= 0 && SSL_get_error(c->ssl, got) != SSL_ERROR_WANT_READ)
                die("closed by the server");
        }
    }
    double seconds = (now() - begin) / 1e9;
    close(epoll);
    for (int i = 0; i < wanted; i++)
        fcntl(connections[i].fd, F_SETFL, 0);
    qsort(samples, count, sizeof *samples, by_value);
    printf("{\"count\":%ld,\"seconds\":%.6f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"other\":%ld,\"length\":%ld}\n", count,
           seconds, samples[count / 2] / 1e3, samples[count * 99 / 100] / 1e3, other, first_length);
}

/* -- payloads of the caller -- */

static void read_exactly(struct connection *c, char *to, int bytes) {
    for (int got, at = 0; at < bytes; at += got)
        if ((got = SSL_read(c->ssl, to + at, bytes - at)) <= 0)
            die("closed by the server");
}

static void hear(struct connection *c) {
    unsigned prefix;
    long length;
    if (protocol == WEB) {
        unsigned char head[10];
        int held = 0;
        do
            read_exactly(c, (char *)head + held, 1), held++;
        while (!web_head(head, held, &length));
    } else {
        read_exactly(c, (char *)&prefix, 4);
        length = ntohl(prefix);
    }
    char *payload = malloc(length);
    read_exactly(c, payload, length);
    printf("{\"bytes\":%ld}\n", length);
    fwrite(payload, 1, length, stdout);
    free(payload);
}

static void say(struct connection *c, long length, int later) {
    char *bytes = malloc(length);
    if (fread(bytes, 1, length, stdin) != (size_t)length)
        die("order cut");
    if (later) {
        free(c->load);
        c->load = bytes;
        c->load_bytes = length;
        c->load_at = 0;
    } else {
        if (SSL_write(c->ssl, bytes, length) != length)
            die("cannot send");
        free(bytes);
    }
    printf("{\"took\":%ld}\n", length);
}

static void upgrade(struct connection *c, long length) {
    char *request = malloc(length), answer[HEAD_MAX];
    int held = 0;
    if (fread(request, 1, length, stdin) != (size_t)length || SSL_write(c->ssl, request, length) != length)
        die("order cut");
    free(request);
    do {
        read_exactly(c, answer + held++, 1);
        answer[held] = 0;
    } while (held < HEAD_MAX - 1 && !strstr(held > 4 ? answer + held - 4 : answer, "\r\n\r\n"));
    printf("{\"status\":%d}\n", held > 12 ? atoi(answer + 9) : 0);
}

static void obey(const char *line) {
    static char request[512];
    int number, size, length = 0;
    long bytes;
    if (sscanf(line, "handshakes %d %lf", &number, &limit_s) == 2 && number <= THREADS_MAX)
        handshakes(number);
    else if (sscanf(line, "open %d", &number) == 1 && number <= CONNECTIONS_MAX)
        open_connections(number);
    else if (sscanf(line, "requests %d %d %lf", &number, &size, &limit_s) == 3) {
        if (protocol == HTTP)
            length = sprintf(request, "GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n", size);
        else {
            unsigned prefix = htonl(64), wanted = htonl(size);
            memcpy(request, &prefix, 4);
            memcpy(request + 4, &wanted, 4);
            length = 68;
        }
        requests(number, number, request, length);
    } else if (sscanf(line, "say %d %ld", &number, &bytes) == 2 && number < opened)
        say(connections + number, bytes, 0);
    else if (sscanf(line, "upgrade %d %ld", &number, &bytes) == 2 && number < opened)
        upgrade(connections + number, bytes);
    else if (sscanf(line, "hear %d", &number) == 1 && number < opened)
        hear(connections + number);
    else if (sscanf(line, "load %d %ld", &number, &bytes) == 2 && number < opened)
        say(connections + number, bytes, 1);
    else if (sscanf(line, "replay %d %d %lf", &number, &size, &limit_s) == 3 && size <= number)
        requests(number, size, NULL, 0);
    else
        die("unknown order");
    fflush(stdout);
}

int main(int argc, char **argv) {
    char line[256];
    if (argc < 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    port = atoi(argv[1]);
    protocol = !strcmp(argv[2], "http") ? HTTP : !strcmp(argv[2], "tlsrt") ? TLSRT : !strcmp(argv[2], "web") ? WEB : FRAME;
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (SSL_CTX_set1_groups_list(context, argv[3]) != 1)
        die("unknown group");
    if (argc > 4 && strcmp(argv[4], "-")) {
        unsigned char name[64];
        int length = snprintf((char *)name + 1, sizeof name - 1, "%s", argv[4]);
        name[0] = length;
        SSL_CTX_set_alpn_protos(context, name, length + 1);
    }
    if (argc > 6 && (SSL_CTX_use_certificate_chain_file(context, argv[5]) != 1 ||
                     SSL_CTX_use_PrivateKey_file(context, argv[6], SSL_FILETYPE_PEM) != 1))
        die("certificate");
    while (fgets(line, sizeof line, stdin))
        obey(line);
    return 0;
}
