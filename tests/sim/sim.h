/* sim.h: a small world around the broker's core, all from one seed: clients, workers that crash and fall silent, a network that loses,
 * delays and repeats, a journal with a full disk, and a broker that is killed and started again. sim.c moves it, check.c watches it. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "broker/core.h"
#include "broker/table.h"

enum { SIM_WORKERS = 4, SIM_HELD = 64, SIM_TOPICS = 4096, SIM_JOBS = 8 };

struct sim_body { struct mmq_body body; struct sim *sim; uint8_t bytes[]; };  /* bytes: record; answers: and the lease */

struct sim_record {             /* one thing that a client wants */
	uint8_t op, job[16];
	uint16_t size;          /* of its body */
	bool durable, wait, poison, accepted, has_job;
	uint32_t crashes_alone, sends;
	struct mmq_lease last;  /* of its last handing-out */
	uint32_t number;        /* of the version that it was granted; 0: none yet */
};
struct sim_send { uint32_t record, life; uint8_t op, answers; int64_t due_us; };  /* due: deadline of a plain one; 0: none */

struct sim_held { struct mmq_lease lease; uint32_t record; int64_t until_us; uint8_t kind; };
struct sim_worker {
	enum mmq_worker_kind kind;
	bool is_alive, is_welcome;
	uint32_t record_granted; /* record + 1 that waits for a number */
	uint32_t life;          /* what was scheduled for an earlier one is void */
	uint64_t route, beat;
	uint8_t session[16];
	int64_t paused_us;
	uint32_t last_alone;    /* record + 1 of the last message, if it held one item */
	struct sim_held held[SIM_HELD];
	size_t held_count;
};

struct sim_topic { char name[MMQ_JOURNAL_TOPIC]; uint64_t n; };

struct sim {
	uint64_t seed, random;
	int64_t now_us, disk_us, full_until_us, wall_shift_ms;
	uint32_t life, requests_left, failures;
	bool is_healing, is_broken, stop_wanted, was_1970;   /* broken: the journal fails from here on; stop: the core asked for the end */
	uint32_t numbers[3][4096];                  /* record + 1 that has this version of the model */
	struct mmq_core *core;
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	struct core_heap schedule;
	struct sim_worker workers[SIM_WORKERS];
	uint64_t routes;
	struct sim_record *records;
	struct sim_send *sends;
	size_t records_count, sends_count;
	struct sim_topic topics[SIM_TOPICS];
	struct mmq_journal_command *batch;
	size_t batch_count, bodies;
	uint64_t crashes, strikes, dead, adopted, redelivered, late, events;
};

uint64_t sim_random(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned per_mille);
struct sim_body *sim_body_new(struct sim *sim, uint32_t record, size_t size);
void sim_fail(struct sim *sim, const char *law, uint64_t number);
int sim_run(uint64_t seed, uint32_t requests, bool is_loud);   /* failures of laws */

/* check.c: the laws. */
void sim_check_answer(struct sim *sim, const struct mmq_core_answer *answer);
void sim_check_publish(struct sim *sim, const struct mmq_core_publish *publish);
void sim_check_work(struct sim *sim, const struct sim_worker *worker, const struct mmq_core_item *items, size_t count);
void sim_check_granted(struct sim *sim, const struct mmq_core_action *action, uint32_t record);
void sim_check_deadlines(struct sim *sim);
void sim_check_limits(struct sim *sim);
bool sim_is_quiet(struct sim *sim);
void sim_check_end(struct sim *sim);

#endif
