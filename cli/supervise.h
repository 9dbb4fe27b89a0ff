/* supervise.h: keeps child processes running: starts them, hears when they are ready, starts dead ones again, stops them. */
#ifndef MMQ_CLI_SUPERVISE_H
#define MMQ_CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_ARGS_MAX = 24, CHILDREN_MAX = 256, CHILD_CONFIG_EXIT_OLD = 2 };

struct child {
	const char *name;                   /* "broker"; borrowed */
	int rank;                           /* ranks are stopped from the highest down; the broker is 0 */
	const char *args[CHILD_ARGS_MAX];   /* args[0] is the path; borrowed; NULL-terminated, with room for two more pairs */
	pid_t pid;                          /* 0: not running */
	int ready_fd;                       /* -1: said ready, or not running */
	bool is_ready, is_given_up;
	unsigned failures;                  /* in a row; a run of ten seconds forgives them */
	int64_t started_us, start_again_us; /* start_again_us: 0 when it is not waiting for its back-off */
};

struct supervisor {
	struct child children[CHILDREN_MAX];
	size_t count;
	int signal_fd;
	bool is_stopping;
};

/* Catch TERM, INT, HUP and CHLD. -1: errno. */
int supervisor_init(struct supervisor *supervisor);
struct child *supervisor_add(struct supervisor *supervisor, const char *name, int rank);
void child_arg(struct child *child, const char *arg);
/* Start what is not running and not waiting, from rank on down to 0. */
void supervisor_start(struct supervisor *supervisor, int rank_max);
/* Look after the children until all of rank_max and below are ready (until_ready), or TERM came (is_stopping), or a child's
 * configuration is wrong. 0, or the exit code of the child that cannot start. timeout_ms: -1 for no limit; past it 0 with some not ready. */
int supervisor_run(struct supervisor *supervisor, bool until_ready, int rank_max, int timeout_ms);
bool supervisor_is_ready(const struct supervisor *supervisor, int rank_max);
/* TERM to the highest rank, wait, then the next; KILL to what is left after grace_ms each. */
void supervisor_stop(struct supervisor *supervisor, int grace_ms);

#endif
