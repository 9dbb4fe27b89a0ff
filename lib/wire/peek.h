/* peek.h: a request's header, read without allocating or copying, and the table of operations.
 *
 * This is all of a request that the broker ever looks at. The whole frame is walked once, so that a worker that gets it
 * later meets only well-formed bytes; features and parameters are not looked into. All texts point into the frame. */
#ifndef MMQ_WIRE_PEEK_H
#define MMQ_WIRE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "mpack/reader.h"
#include "util/buf.h"
#include "util/err.h"

enum {
	MMQ_PROTOCOL_VERSION = 1,
	MMQ_TOP_KEYS_MAX = 64,            /* keys of a request's map */
	MMQ_ANY_ORDER_BYTES_MAX = 65536,  /* larger frames bring the header keys before any value above MMQ_HEAD_VALUE_BYTES_MAX */
	MMQ_HEAD_VALUE_BYTES_MAX = 4096,
	MMQ_ID_BYTES_MAX = 64,
	MMQ_KEY_BYTES_MAX = 64,
	MMQ_TRACE_BYTES_MAX = 128,
	MMQ_PRIORITY_DEFAULT = 5,
	MMQ_JOB_ID_CHARS = 32,            /* 128 bits in lower-case hexadecimal */
	MMQ_FINGERPRINT_BYTES = 16,
	MMQ_FINGERPRINT_KEY_BYTES = 32,
};
#define MMQ_DEADLINE_MS_MAX INT64_C(2592000000) /* 30 days */

/* Who serves an operation. BROKER: answered from the broker's own state and journal. STORE: served at once by a trainer's socket side. */
enum mmq_service { MMQ_BY_BROKER, MMQ_BY_PREDICTOR, MMQ_BY_TRAINER, MMQ_BY_STORE, MMQ_BY_COUNT };

/* X(enum, wire name, who serves it, always journalled, needs `model`) */
#define MMQ_OPS(X)                                                                   \
	X(MMQ_OP_NONE,         "",             MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_PREDICT,      "predict",      MMQ_BY_PREDICTOR, false, true)        \
	X(MMQ_OP_TRAIN,        "train",        MMQ_BY_TRAINER,   true,  true)        \
	X(MMQ_OP_TRAIN_CHECK,  "train.check",  MMQ_BY_STORE,   false, false)       \
	X(MMQ_OP_JOB_GET,      "job.get",      MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_JOB_LIST,     "job.list",     MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_JOB_CANCEL,   "job.cancel",   MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_JOB_WAIT,     "job.wait",     MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_DEAD_LIST,    "dead.list",    MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_DEAD_REQUEUE, "dead.requeue", MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_DEAD_DROP,    "dead.drop",    MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_MODEL_LIST,   "model.list",   MMQ_BY_STORE,   false, false)       \
	X(MMQ_OP_MODEL_GET,    "model.get",    MMQ_BY_STORE,   false, true)        \
	X(MMQ_OP_MODEL_ALIAS,  "model.alias",  MMQ_BY_STORE,   true,  true)        \
	X(MMQ_OP_MODEL_DELETE, "model.delete", MMQ_BY_STORE,   true,  true)        \
	X(MMQ_OP_ENGINE_LIST,  "engine.list",  MMQ_BY_STORE,   false, false)       \
	X(MMQ_OP_ENGINE_GET,   "engine.get",   MMQ_BY_STORE,   false, false)       \
	X(MMQ_OP_CANCEL,       "cancel",       MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_RESULTS,      "results",      MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_PING,         "ping",         MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_STATUS,       "status",       MMQ_BY_BROKER,  false, false)       \
	X(MMQ_OP_MODEL_IMPORT, "model.import", MMQ_BY_STORE,   true,  true)        \
	X(MMQ_OP_MODEL_EXPORT, "model.export", MMQ_BY_STORE,   false, true)

enum mmq_op {
#define X(op, name, work, journalled, model) op,
	MMQ_OPS(X)
#undef X
	MMQ_OP_COUNT
};

const char *mmq_op_name(enum mmq_op op);
enum mmq_op mmq_op_from_name(const char *name, size_t size);  /* MMQ_OP_NONE when unknown */
enum mmq_service mmq_op_service(enum mmq_op op);
bool mmq_op_is_journalled(enum mmq_op op);                    /* durable whatever the request says */

enum mmq_payload { MMQ_PAYLOAD_NONE, MMQ_PAYLOAD_TENSOR, MMQ_PAYLOAD_CSV, MMQ_PAYLOAD_JSONL, MMQ_PAYLOAD_MSGPACK,
	MMQ_PAYLOAD_FILE };        /* a file of another program, as it is */

struct mmq_head {
	enum mmq_op op;
	struct mmq_text id;        /* at == NULL: none was sent, or it was wrong */
	bool id_is_binary;         /* 16 bytes of bin, to be echoed as bin */
	struct mmq_text model;     /* at == NULL: none */
	int64_t version;           /* 1.. ; 0: by alias */
	struct mmq_text alias;     /* at == NULL: none was sent (then `production` where a version is needed) */
	int64_t deadline_ms;       /* > 0, relative to arrival; 0: none was sent */
	int priority;              /* 0..9 */
	bool durable;              /* as sent, or because the op is always journalled */
	bool sink, wait;           /* wait: true unless sent as false */
	struct mmq_text trace, key;
	enum mmq_payload payload;
	struct mmq_text request;   /* cancel: id of the prediction; the request's own id when it was not sent */
	bool request_is_binary;
	struct mmq_text job;       /* job.get|cancel|wait: 32 hexadecimal digits; at == NULL: none */
};

/* Read a request of `frames` frames (1, or 2 with a payload; envelope frames not counted), whose first is frame (size bytes).
 * Borrows the frame for as long as head is used. -1: err says why (INVALID_ARGUMENT, or DEADLINE_EXCEEDED for a deadline_ms that
 * is not positive); head->id is then still set when a valid id could be read, so that the refusal can be correlated. */
int mmq_peek(struct mmq_head *head, const void *frame, size_t size, unsigned frames, struct mmq_err *err);

/* Several requests in one frame: a list of maps, each a request without a payload. packed: *reader_out then stands before the first of *count_out.
 * next: as mmq_peek for the map at the reader, which then stands behind it; is_last: it is the last of the list, nothing may follow. *broken_out:
 * the bytes make no sense from here on, there is no next one. */
enum { MMQ_PACKED_BYTES_MAX = 65536 };
bool mmq_peek_is_packed(const void *frame, size_t size);
int mmq_peek_packed(struct mmq_reader *reader_out, const void *frame, size_t size, uint32_t *count_out, struct mmq_err *err);
int mmq_peek_next(struct mmq_head *head, struct mmq_reader *reader, bool is_last, bool *broken_out, struct mmq_err *err);

/* The value of a top-level key of a frame that mmq_peek accepted: reader_out stands before it. false: not there or nil. */
bool mmq_peek_find(const void *frame, size_t size, const char *key, struct mmq_reader *reader_out);

/* What a request means: BLAKE2b with the key over the sorted hashes of the top-level (key, raw value) pairs except id, deadline_ms,
 * priority and trace, then the payload (NULL, 0: none). Two requests with one id are the same request if these are equal.
 * The frame must have passed mmq_peek. Independent of key order. */
void mmq_fingerprint(uint8_t hash_out[MMQ_FINGERPRINT_BYTES], const uint8_t key[MMQ_FINGERPRINT_KEY_BYTES], const void *frame, size_t size,
    const void *payload, size_t payload_size);

/* `id` as it came (string, bin or nil), for an answer. */
void mmq_head_put_id(struct mmq_buf *out, const struct mmq_head *head);

/* Hexadecimal digits and dashes, as in a W3C traceparent: what may stand in a log without quotes. */
bool mmq_trace_is_plain(const char *trace, size_t size);

bool mmq_job_id_is_valid(const char *text, size_t size);
void mmq_job_id_format(const uint8_t bytes[16], char text_out[MMQ_JOB_ID_CHARS + 1]);

#endif
