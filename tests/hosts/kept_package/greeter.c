/* A static server: greets each client from a child of its own, which also tries another port and another host. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in place(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int main(int count, char **words)
{
    struct sockaddr_in own = place(atoi(words[1])), other = place(atoi(words[2]));
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (count != 3 || bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 5)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int client = accept(listener, 0, 0);
        if (client < 0) {
            perror("accept");
            return 2;
        }
        if (fork() == 0) {
            int more = socket(AF_INET, SOCK_STREAM, 0);
            int bound = bind(more, (struct sockaddr *)&other, sizeof other) ? errno : 0;
            int connected = connect(more, (struct sockaddr *)&other, sizeof other) ? errno : 0;
            int turned = connect(client, (struct sockaddr *)&other, sizeof other) ? errno : 0;
            dprintf(client, "hello bind=%d connect=%d turned=%d\n", bound, connected, turned);
            _exit(0);
        }
        close(client);
    }
}
