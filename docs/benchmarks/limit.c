/* limit: how many frames a second one process can hand to N loopback sockets, if it does nothing else.
 *
 *   limit MODE [members=200] [messages=2000] [bytes=394]
 *
 * A chat server that tells a room of N sends each message N times: one send() for each member's socket. Whatever
 * else it does, it cannot be faster than this program, which only sends. So its figure is what a server's
 * deliveries a second are to be held against, on the same machine in the same minute.
 *
 *   sender, on CPU 0    keeps one ready frame and sends it to each member, message after message
 *   receiver, on CPU 1  is all the members: one epoll, one recv() for each socket that has something
 *
 * MODE  free           the sender goes on as fast as the sockets take it; it waits for one that is full
 *       one-at-a-time  the receiver asks for the next message, over the first member's socket and with as many
 *                      bytes as the frame has, once it has the whole of the last one from every socket
 *
 * Every socket is TCP over 127.0.0.1 with TCP_NODELAY. The clock is the receiver's: from its first request to the
 * last byte of the last frame. It prints one line of JSON; `sender_us` is the sender's CPU time for one delivery.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER = 1 << 16, LARGEST = 1 << 20 };

typedef struct {
    int one_at_a_time;
    long members, messages, bytes;
} Plan;

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        fprintf(stderr, "limit: not on CPU %d: %s\n", cpu, strerror(errno));
}

static double clock_seconds(clockid_t which) {
    struct timespec time;
    clock_gettime(which, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void send_at_once(int fd) {
    int on = 1;
    require(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
}

/* -- the sender: what is left of a server ------------------------------------------------------------------- */

static void deliver(int fd, const char *frame, long bytes) {
    while (bytes > 0) {
        ssize_t sent = send(fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            frame += sent;
            bytes -= sent;
        } else {
            require(errno == EAGAIN || errno == EINTR, "send");
            struct pollfd full = {.fd = fd, .events = POLLOUT};
            poll(&full, 1, -1);
        }
    }
}

static void wait_for_request(int fd, char *scratch, long bytes) {
    require(recv(fd, scratch, bytes, MSG_WAITALL) == bytes, "the receiver is gone");
}

/* Returns the CPU seconds that sending took. */
static double send_all(const Plan *plan, const int *sockets) {
    char *frame = malloc(plan->bytes), *scratch = malloc(plan->bytes);
    require(frame && scratch, "memory");
    memset(frame, 'x', plan->bytes);
    wait_for_request(sockets[0], scratch, plan->bytes);
    double before = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long message = 0; message < plan->messages; message++) {
        if (plan->one_at_a_time && message > 0)
            wait_for_request(sockets[0], scratch, plan->bytes);
        for (long member = 0; member < plan->members; member++)
            deliver(sockets[member], frame, plan->bytes);
    }
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
}

/* -- the receiver: all members ------------------------------------------------------------------------------ */

/* Receives until so many bytes have come, over all sockets. */
static void drain(int epoll, long wanted) {
    static char buffer[BUFFER];
    struct epoll_event events[EVENTS];
    while (wanted > 0) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            ssize_t got = recv(events[i].data.fd, buffer, BUFFER, MSG_DONTWAIT);
            require(got > 0 || (got < 0 && errno == EAGAIN), "the sender is gone");
            wanted -= got > 0 ? got : 0;
        }
    }
}

/* Returns the seconds that receiving took. */
static double receive_all(const Plan *plan, const struct sockaddr_in *address) {
    int epoll = epoll_create1(0), first = -1;
    for (long member = 0; member < plan->members; member++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        require(fd >= 0 && !connect(fd, (const struct sockaddr *)address, sizeof *address), "connect");
        send_at_once(fd);
        struct epoll_event readable = {.events = EPOLLIN, .data.fd = fd};
        require(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable), "epoll_ctl");
        first = first < 0 ? fd : first;
    }
    char *request = calloc(1, plan->bytes);
    require(request != NULL, "memory");
    double began = clock_seconds(CLOCK_MONOTONIC);
    long rounds = plan->one_at_a_time ? plan->messages : 1;
    for (long round = 0; round < rounds; round++) {
        require(send(first, request, plan->bytes, MSG_NOSIGNAL) == plan->bytes, "request");
        drain(epoll, plan->members * plan->bytes * (plan->messages / rounds));
    }
    return clock_seconds(CLOCK_MONOTONIC) - began;
}

/* -- both --------------------------------------------------------------------------------------------------- */

static int open_listener(struct sockaddr_in *address) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    require(listener >= 0 && !bind(listener, (struct sockaddr *)address, size) && !listen(listener, 4096), "listen");
    require(!getsockname(listener, (struct sockaddr *)address, &size), "getsockname");
    return listener;
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static long option(int count, char **words, const char *name, long otherwise) {
    size_t length = strlen(name);
    for (int i = 2; i < count; i++)
        if (!strncmp(words[i], name, length) && words[i][length] == '=')
            return atol(words[i] + length + 1);
    return otherwise;
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    Plan plan = {!strcmp(mode, "one-at-a-time"), option(count, words, "members", 200),
                 option(count, words, "messages", 2000), option(count, words, "bytes", 394)};
    int known = plan.one_at_a_time || !strcmp(mode, "free");
    if (!known || plan.members < 1 || plan.messages < 1 || plan.bytes < 1 || plan.bytes > LARGEST) {
        fprintf(stderr, "usage: limit free|one-at-a-time [members=N] [messages=N] [bytes=N]\n");
        return 2;
    }
    raise_descriptor_limit();
    struct sockaddr_in address;
    int listener = open_listener(&address), result[2];
    require(!pipe(result), "pipe");
    pid_t receiver = fork();
    require(receiver >= 0, "fork");
    if (receiver == 0) {
        pin(1);
        double seconds = receive_all(&plan, &address);
        return write(result[1], &seconds, sizeof seconds) != sizeof seconds;
    }
    close(result[1]);
    pin(0);
    int *sockets = calloc(plan.members, sizeof *sockets);
    require(sockets != NULL, "memory");
    for (long member = 0; member < plan.members; member++) {
        sockets[member] = accept(listener, NULL, NULL);
        require(sockets[member] >= 0, "accept");
        send_at_once(sockets[member]);
    }
    double cpu = send_all(&plan, sockets), seconds = 0;
    require(read(result[0], &seconds, sizeof seconds) == sizeof seconds, "the receiver failed");
    waitpid(receiver, NULL, 0);
    double deliveries = (double)plan.members * plan.messages;
    printf("{\"mode\":\"%s\",\"members\":%ld,\"messages\":%ld,\"bytes\":%ld,\"seconds\":%.3f,"
           "\"deliveries_per_s\":%.0f,\"sender_us\":%.2f}\n",
           mode, plan.members, plan.messages, plan.bytes, seconds, deliveries / seconds, cpu / deliveries * 1e6);
    return 0;
}
