/* The floor: a TLS 1.3 server of one thread on epoll and OpenSSL, in C.
 *
 *   tls_floor tls PORT CERTIFICATE KEY [CLIENT_CA]   with CLIENT_CA clients must show a certificate of it
 *   tls_floor plain PATH                             the same without TLS on a unix socket: the backend of terminators
 *
 * A request is u32 BE length | body of at most 4 KiB; the first four bytes of the body say how many bytes (u32 BE, 64 KiB
 * at most) the answer's body has. No tickets.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, ANSWER_MAX = 65536, EVENTS = 64 };

struct connection {
    SSL *ssl; /* NULL without TLS */
    int fd;
    int open; /* the handshake is done */
    unsigned held;
    unsigned char in[2 * REQUEST_MAX];
};

static unsigned char out[ANSWER_MAX + 4];

static void check(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static unsigned number(const unsigned char *at) {
    unsigned value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static SSL_CTX *make_context(char **argv, const char *authority) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_read_ahead(context, 1);
    check(SSL_CTX_use_certificate_chain_file(context, argv[0]) == 1, "certificate");
    check(SSL_CTX_use_PrivateKey_file(context, argv[1], SSL_FILETYPE_PEM) == 1, "key");
    if (authority) {
        check(SSL_CTX_load_verify_locations(context, authority, NULL) == 1, "client CA");
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return context;
}

static int listen_tcp(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(bind(fd, (void *)&address, sizeof address) == 0, "bind");
    return fd;
}

static int listen_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    unlink(path);
    check(bind(fd, (void *)&address, sizeof address) == 0, "bind");
    return fd;
}

static void accept_all(int epoll, int listener, SSL_CTX *context) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = malloc(sizeof *c);
        c->fd = fd;
        c->held = 0;
        c->open = !context;
        c->ssl = NULL;
        if (context) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            c->ssl = SSL_new(context);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Returns 0 if the connection must end. */
static int answer(struct connection *c) {
    unsigned at = 0;
    while (c->held - at >= 8) {
        unsigned length = number(c->in + at), wanted = number(c->in + at + 4);
        if (length > REQUEST_MAX || wanted > ANSWER_MAX)
            return 0;
        if (c->held - at - 4 < length)
            break;
        unsigned prefix = htonl(wanted);
        memcpy(out, &prefix, 4);
        int sent = c->ssl ? SSL_write(c->ssl, out, wanted + 4) : (int)write(c->fd, out, wanted + 4);
        if (sent != (int)wanted + 4)
            return 0;
        at += 4 + length;
    }
    memmove(c->in, c->in + at, c->held - at);
    c->held -= at;
    return 1;
}

static int serve(struct connection *c) {
    for (;;) {
        if (!c->open) {
            int done = SSL_accept(c->ssl);
            if (done != 1)
                return SSL_get_error(c->ssl, done) == SSL_ERROR_WANT_READ;
            c->open = 1;
        }
        int room = sizeof c->in - c->held;
        int got = c->ssl ? SSL_read(c->ssl, c->in + c->held, room) : (int)read(c->fd, c->in + c->held, room);
        if (got <= 0)
            return c->ssl ? SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ : got < 0;
        c->held += got;
        if (!answer(c))
            return 0;
        if (!c->ssl || !SSL_has_pending(c->ssl))
            return 1;
    }
}

int main(int argc, char **argv) {
    check(argc >= 3, "usage");
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int tls = !strcmp(argv[1], "tls");
    SSL_CTX *context = tls ? make_context(argv + 3, argc > 5 ? argv[5] : NULL) : NULL;
    int listener = tls ? listen_tcp(atoi(argv[2])) : listen_unix(argv[2]);
    check(listen(listener, 1024) == 0, "listen");
    int epoll = epoll_create1(0);
    struct epoll_event first = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_all(epoll, listener, context);
            else if (!serve(c)) {
                if (c->ssl) {
                    SSL_shutdown(c->ssl);
                    SSL_free(c->ssl);
                }
                close(c->fd);
                free(c);
            }
        }
    }
}
