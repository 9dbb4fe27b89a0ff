/* sim.h: a small world around the broker's core, all from one seed: clients, workers that crash and fall silent, a network that loses,
 * delays and repeats, a journal with a full disk, and a broker that is killed and started again. sim.c moves it, clients.c and workers.c
 * live in it, acts.c does what the core wants, check.c and turns.c hold the laws. */
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
	int64_t arrived_us;     /* turns.c from here on */
	uint64_t handed_route;  /* who has it as far as can be seen; 0: nobody */
	bool is_suspect, is_unsure;
};
struct sim_send { uint32_t record, life; uint8_t op, answers; bool is_accepted; int64_t due_us; };  /* accepted: plain, and not refused at once. due: deadline of a plain one; 0: none */

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

/* Of all runs. ended: accepted requests by how they ended, with their answers in the same life. */
struct sim_totals {
	uint64_t requests, sends, events, starts, crashes, refused, turns, alone, deadlines;
	struct { uint64_t answered, dead, cancelled, expired; } ended;
};

struct sim_topic { char name[MMQ_JOURNAL_TOPIC]; uint64_t n; };

enum thing_kind { T_CLIENT, T_EVENT, T_BEAT, T_FINISH, T_WORKER_FAULT, T_BROKER_CRASH, T_FULL, T_JOURNAL, T_HELLO, T_CLOCK, T_BROKEN, T_STEP };

struct thing {
	struct core_timer timer;
	enum thing_kind kind;
	uint32_t life;                      /* of the broker it is meant for; 0: any */
	uint32_t worker, worker_life, record;
	struct mmq_core_event event;
	struct mmq_lease *leases;           /* owned copies */
	struct mmq_journal_command *commands;
	size_t commands_count;
	struct mmq_journal_read read;
};

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
	uint32_t *waiting;                          /* records, see turns.c */
	size_t waiting_count;
	struct sim_totals *totals;
};

uint64_t sim_random(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned per_mille);
struct sim_body *sim_body_new(struct sim *sim, uint32_t record, size_t size);
void sim_fail(struct sim *sim, const char *law, uint64_t number);
int sim_run(uint64_t seed, uint32_t requests, bool is_loud, struct sim_totals *totals);   /* failures of laws; totals are added to */

static inline int sim_priority(uint32_t record) { return (int)(record % 3) + 4; }
static inline bool sim_is_other_tenant(uint32_t record) { return record % 11 == 0; }

struct thing *sim_thing_new(struct sim *sim, enum thing_kind kind, int64_t delay_us);
int64_t sim_wall_ms(const struct sim *sim);
int64_t sim_net_us(struct sim *sim);           /* how long a message takes */

/* acts.c */
void sim_feed(struct sim *sim, struct mmq_core_event *event);
void sim_actions_do(struct sim *sim);
void sim_journal_flush(struct sim *sim, const struct mmq_journal_read *read);
struct sim_worker *sim_worker_at(struct sim *sim, uint64_t route);
struct thing *sim_worker_message(struct sim *sim, struct sim_worker *worker, enum mmq_event_kind kind);
void sim_gone_tell(struct sim *sim, uint64_t route);
void sim_hello_later(struct sim *sim, struct sim_worker *worker, int64_t delay_us);
void sim_step_later(struct sim *sim, struct sim_worker *worker, const struct mmq_lease *lease, uint32_t record);
void sim_held_forget(struct sim_worker *worker, const struct mmq_lease *lease);

/* clients.c, workers.c */
void sim_client_new(struct sim *sim);
void sim_worker_crash(struct sim *sim, struct sim_worker *worker);
void sim_worker_hello(struct sim *sim, struct sim_worker *worker);
void sim_worker_beat(struct sim *sim, struct thing *was);
void sim_worker_step(struct sim *sim, struct thing *was);
void sim_worker_finish(struct sim *sim, struct thing *was);

/* turns.c */
bool sim_turn_is_watched(const struct sim_record *record);
void sim_turn_waits(struct sim *sim, uint32_t record);
bool sim_turn_forget(struct sim *sim, uint32_t record);
void sim_turn_handed(struct sim *sim, uint64_t route, const struct mmq_core_item *items, size_t count);
void sim_turn_dropped(struct sim *sim, const struct mmq_lease *lease);
void sim_turn_unknown(struct sim *sim, uint64_t route);
void sim_turn_moved(struct sim *sim, const struct sim_worker *worker, uint64_t was);
void sim_turn_after(struct sim *sim, const struct mmq_core_event *event, const struct mmq_core_status *before, uint32_t answered);
void sim_turn_start(struct sim *sim);

/* check.c: the laws. */
void sim_check_answer(struct sim *sim, const struct mmq_core_answer *answer);
void sim_check_publish(struct sim *sim, const struct mmq_core_publish *publish);
void sim_check_work(struct sim *sim, const struct mmq_core_item *items, size_t count);
void sim_check_granted(struct sim *sim, const struct mmq_core_action *action, uint32_t record);
void sim_check_deadlines(struct sim *sim);
void sim_check_limits(struct sim *sim);
bool sim_is_quiet(struct sim *sim);
void sim_check_end(struct sim *sim);

#endif
