/* inner.h: the worker as its own files see it: worker.c (session), worker_next.c (events), worker_send.c (what leaves). */
#ifndef MMQ_WORK_INNER_H
#define MMQ_WORK_INNER_H

#include <zmq.h>

#include "work/frame.h"

enum { PACK_COUNT_MAX = 64, PACK_BODY_MAX = 4096, PACK_BYTES_MAX = 65536, SPARE_MAX = 1024, CONTROL_MAX = 1024, REPEAT_US = 1000000, RETRY_MS = 5, GATHER_US = 100, POLL_US = 2000 };

/* A received message, kept while an item points into it. */
struct frame {
	unsigned references;
	unsigned count;
	zmq_msg_t parts[3];
};

struct held {
	struct mmq_work_item item;         /* first member: an item is its held */
	struct held *previous, *next;
	struct frame *frame;
	bool taken;                        /* the caller has it */
	bool lost;                         /* its lease is gone: nothing about it is sent any more */
	bool cancel_waiting;               /* a CANCEL event is due */
	enum mmq_code cancel_code;
	bool grant_wanted;
	enum mmq_grant_kind grant_what;
	uint32_t grant_above;
	int64_t grant_sent_us;             /* 0: not sent yet */
	struct mmq_buf progress;           /* the latest one, not sent yet if its size is not 0 */
	uint64_t checkpoint;
};

/* An answer on its way out. */
struct outgoing {
	struct outgoing *next;
	size_t room;                       /* for bytes */
	struct mmq_lease lease;
	struct mmq_work_result result;
	size_t size;
	uint8_t bytes[];
};

/* A control message on its way out, and an event that carries no item. */
struct control { struct control *next; size_t size; uint8_t bytes[]; };
struct note { struct note *next; struct mmq_work_event event; };

struct mmq_worker {
	void *context, *socket;
	int fd;                            /* of the socket */
	enum mmq_worker_kind kind;
	char *endpoint, *build, name[MMQ_WORKER_NAME_MAX];
	struct mmq_work_usage usage;
	bool curve;
	char secret_key[41], public_key[41], server_key[41];
	int64_t message_bytes_max;
	uint8_t session[16];

	bool welcome, greeted;             /* greeted: HELLO left on this connection */
	uint32_t heartbeat_ms, lease_ms;
	int64_t heard_us, hello_us, heartbeat_us, opened_us, upkeep_us, polled_us;
	uint64_t heartbeat_n;

	uint32_t window[MMQ_WORK_KINDS];
	bool window_changed;
	struct held *first;                /* all items here, oldest last */
	struct held *last;
	struct held *untaken;              /* the oldest that the caller has not got: older ones are all taken */
	struct held *spare;                /* freed ones for the next items, linked by next */
	size_t spare_count;
	size_t held_count, untaken_count, cancel_count;
	struct outgoing *out_first, **out_last, *out_spare;
	size_t out_count, out_spare_count;
	struct control *control_first, **control_last;
	size_t control_count;
	struct note *note_first, **note_last;
	int watches[MMQ_WORK_WATCH_MAX];
	int watches_count;
	struct mmq_buf scratch;
};

/* worker_send.c. Everything here is DONTWAIT; true: nothing of its kind is left to send. */
bool worker_hello_send(struct mmq_worker *worker);
bool worker_flush(struct mmq_worker *worker);
void worker_heartbeat_send(struct mmq_worker *worker);
void worker_outgoing_keep(struct mmq_worker *worker, const struct mmq_work_span *keep); /* forget answers of lost leases */
void worker_outgoing_fini(struct mmq_worker *worker);

/* worker.c */
int worker_socket_open(struct mmq_worker *worker, struct mmq_err *err);   /* or open it anew */
bool worker_receive(struct mmq_worker *worker);
bool lease_is_in(const struct mmq_lease *lease, const struct mmq_work_span *span);
void worker_held_free(struct mmq_worker *worker, struct held *held);

#endif
