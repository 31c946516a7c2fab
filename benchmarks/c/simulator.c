/* Modbus TCP devices by the hundred: simulator PORT COUNT
 *
 * Listens on COUNT ports of 127.0.0.1 from PORT on; every unit number behind each of them has 65536 holding and
 * input registers. Pipelined requests are answered in order, many in one write. A register reads as a base of its
 * own (1000 to 1999) plus a little noise, so that filters and detectors have the work a real value gives them.
 * Prints "ready" once it listens; ends when its standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 8192, REPLY = 262 };

struct line {
    int fd, listens;
    size_t held;
    uint8_t in[ROOM];
};

static uint32_t noise = 12345;

static size_t answer(const uint8_t *ask, size_t length, uint8_t *out)
{
    uint8_t unit = ask[6], function = ask[7];
    unsigned address = ask[8] << 8 | ask[9], count = ask[10] << 8 | ask[11];
    memcpy(out, ask, 4);
    out[6] = unit;
    if (length != 6 || (function != 3 && function != 4) || count < 1 || count > 125) {
        out[4] = 0, out[5] = 3, out[7] = function | 0x80, out[8] = 1;
        return 9;
    }
    out[4] = 0, out[5] = 3 + 2 * count, out[7] = function, out[8] = 2 * count;
    for (unsigned i = 0; i < count; i++) {
        noise = noise * 1664525u + 1013904223u;
        unsigned value = 1000 + (unit * 31 + (address + i) * 17) % 1000 + (noise >> 28) % 8 + (noise >> 20) % 8;
        out[9 + 2 * i] = value >> 8, out[10 + 2 * i] = value;
    }
    return 9 + 2 * count;
}

static int served(struct line *line)
{
    static uint8_t out[(ROOM / 12 + 1) * REPLY];
    ssize_t got = read(line->fd, line->in + line->held, ROOM - line->held);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    line->held += got;
    size_t at = 0, made = 0;
    while (line->held - at >= 12) {
        const uint8_t *ask = line->in + at;
        size_t length = ask[4] << 8 | ask[5];
        if (ask[2] || ask[3] || length < 2 || length > 254)
            return 0;
        if (line->held - at < 6 + length)
            break;
        made += answer(ask, length, out + made);
        at += 6 + length;
    }
    memmove(line->in, line->in + at, line->held - at);
    line->held -= at;
    for (size_t sent = 0; sent < made;) {
        ssize_t some = write(line->fd, out + sent, made - sent);
        if (some < 0 && errno != EAGAIN)
            return 0;
        sent += some > 0 ? some : 0;
    }
    return 1;
}

static void watch(int epoll, int fd, int listens)
{
    struct line *line = calloc(1, sizeof *line);
    line->fd = fd, line->listens = listens;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "simulator PORT COUNT\n"), 2;
    struct rlimit files = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &files);
    int port = atoi(argv[1]), count = atoi(argv[2]), on = 1, epoll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port + i)};
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&where, sizeof where) || listen(fd, 16))
            return perror("bind"), 1;
        watch(epoll, fd, 1);
    }
    struct epoll_event owner = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &owner);
    puts("ready");
    fflush(stdout);
    for (struct epoll_event events[64];;) {
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct line *line = events[i].data.ptr;
            if (!line) {
                char rest[64];
                if (read(0, rest, sizeof rest) <= 0)
                    return 0;
            } else if (line->listens) {
                int fd = accept4(line->fd, NULL, NULL, SOCK_NONBLOCK);
                if (fd >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    watch(epoll, fd, 0);
                }
            } else if (!served(line)) {
                close(line->fd);
                free(line);
            }
        }
    }
}
