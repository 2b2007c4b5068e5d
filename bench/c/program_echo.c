/* A component that is a program, for the row `call`: answers each line {"id":N,"params":{"data":X}} with X.
 *
 * Requests are lines of JSON on descriptor 3 (JSON-RPC 2.0), as tlsrt writes them: `id` before `params`, no blanks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 19 };

static char held[LINE_MAX_BYTES], answers[LINE_MAX_BYTES + 128];

static void write_all(const char *from, size_t bytes) {
    for (ssize_t sent; bytes; from += sent, bytes -= sent)
        if ((sent = write(3, from, bytes)) <= 0)
            exit(1);
}

static void answer(const char *line, const char *end) {
    const char *id = strstr(line, "\"id\":"), *data = strstr(line, "\"data\":");
    if (!id || !data)
        exit(1);
    data += 7;
    int head = sprintf(answers, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":", atol(id + 5));
    size_t size = end - data - 2; /* without the braces at the end */
    memcpy(answers + head, data, size);
    memcpy(answers + head + size, "}\n", 2);
    write_all(answers, head + size + 2);
}

int main(void) {
    size_t have = 0;
    for (ssize_t got; (got = read(3, held + have, sizeof held - have)) > 0;) {
        have += got;
        char *line = held, *end;
        while ((end = memchr(line, '\n', held + have - line))) {
            *end = 0;
            answer(line, end);
            line = end + 1;
        }
        have -= line - held;
        memmove(held, line, have);
    }
    return 0;
}
