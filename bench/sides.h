/* sides.h: the least that libzmq can do between a client and a worker, to measure beside the broker: a loop of our own that moves
 * frames between two ROUTERs in bursts and knows nothing, and zmq_proxy. Each side is two processes: the middle and a worker that echoes. */
#ifndef MMQ_BENCH_SIDES_H
#define MMQ_BENCH_SIDES_H

#include <stdbool.h>
#include <sys/types.h>

struct bench_side {
	char front[128], back[128];          /* endpoints of clients and of the worker */
	pid_t middle, worker;
};

/* A socket with room for every message of a run; a client's gives up after 10 s without an answer. Leaves the program on failure. */
void *bench_socket(void *context, int type, const char *endpoint, bool bind);

void bench_side_name(struct bench_side *side, bool tcp, int number);   /* endpoints of its own for each number */
pid_t bench_fork(void);                                                /* the child dies with this process */
void bench_loop_start(struct bench_side *side);
void bench_proxy_start(struct bench_side *side);
void bench_side_stop(struct bench_side *side);

double bench_cpu_us(pid_t pid);                                        /* of all its threads; 0: not there */
double bench_pss_bytes(pid_t pid);

/* Start a daemon (argv ends with "--ready-fd", then a place for its number) and wait until it says that it is ready. */
pid_t bench_daemon_start(const char *program, const char **argv, size_t argc);

#endif
